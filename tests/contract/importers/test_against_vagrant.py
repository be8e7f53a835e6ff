"""`inventory import vagrant` on the output of the real `vagrant ssh-config`, compared with `ssh -G` on the same output.

The machines exist only in a provider that the Vagrantfile brings along. tests/vagrant starts real ones.
"""

from __future__ import annotations

import json
import os
import shutil
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import ssh_oracle

from provisioner.inventory.importers import vagrant

if TYPE_CHECKING:
    from pathlib import Path

SEED = int(os.environ.get("PROVISIONER_SEED", "1"))
VAGRANTFILE = """require "json"
MACHINES = JSON.parse(File.read("machines.json"), symbolize_names: true)

module Stated
  class Provider < Vagrant.plugin("2", :provider)
    def initialize(machine)
      @machine = machine
    end

    def state
      Vagrant::MachineState.new(:running, "running", "running")
    end

    def ssh_info
      MACHINES.fetch(@machine.name)
    end

    def machine_id_changed; end
  end

  class Plugin < Vagrant.plugin("2")
    name "stated"
    provider(:stated, box_optional: true, parallel: true) { Provider }
  end
end

Vagrant.configure("2") do |config|
  MACHINES.each_key { |name| config.vm.define(name) { |machine| machine.vm.provider :stated } }
end
"""

pytestmark = [
    pytest.mark.skipif(not shutil.which("vagrant"), reason="vagrant is not installed"),
    pytest.mark.skipif("PROVISIONER_NO_VAGRANT" in os.environ, reason="PROVISIONER_NO_VAGRANT is set"),
]


def stated(folder: Path) -> dict[str, dict[str, Any]]:
    """Machines made from a seed, and odd ones. Their keys exist."""
    random = Random(SEED)
    found = {
        f"node{n}": {
            "host": f"192.168.121.{n}",
            "port": random.randint(1, 9999),
            "username": random.choice(["vagrant", "root"]),
        }
        for n in range(1, 9)
    }
    found["web_1"] = {"host": "127.0.0.1", "port": 2222, "username": "vagrant"}
    found["Db.Example"] = {"host": "db.example", "port": 22, "username": "a.b-c_d"}
    for name, machine in found.items():
        key = folder / ".vagrant" / "machines" / name / random.choice(["a", "b c"]) / "private_key"
        key.parent.mkdir(parents=True)
        key.touch()
        machine |= {"private_key_path": [str(key)], "forward_agent": random.choice([True, False])}
    return found


def test_vagrant_ssh_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machines = stated(tmp_path)
    (tmp_path / "machines.json").write_text(json.dumps(machines))
    (tmp_path / "Vagrantfile").write_text(VAGRANTFILE)
    for name, value in {
        "DEFAULT_PROVIDER": "stated",
        "HOME": str(tmp_path / "home"),
        "CHECKPOINT_DISABLE": "1",
    }.items():
        monkeypatch.setenv(f"VAGRANT_{name}", value)
    monkeypatch.chdir(tmp_path)
    text = vagrant.printed()
    (tmp_path / "config").write_text(text)
    found = {machine.name: machine for machine in vagrant.machines(text, "vagrant ssh-config").machines}
    assert set(found) == set(machines)
    for name, machine in found.items():
        wanted = ssh_oracle.expected(tmp_path / "config", name, machine, explicit=True)
        assert (machine.address, machine.port, machine.user, machine.key) == (
            wanted.address, wanted.port, wanted.user, wanted.key,
        )  # fmt: skip
        assert (machine.key, machine.known_hosts) == (
            machines[name]["private_key_path"][0],
            str(tmp_path / ".vagrant" / "known_hosts"),
        )
