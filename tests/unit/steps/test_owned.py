"""What steps and stores declare as theirs is complete, includes earlier versions, and agrees with docs/hosts.md."""

from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

from provisioner.steps import OWNED
from provisioner.steps.daemon import _wanted
from provisioner.system import firewall
from provisioner.system.owned import PARTIAL, RECORD, Owned, together

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs/hosts.md").read_text()
TABLES = [
    line for line in DOCUMENT.partition("## Files\n")[2].partition("\n## ")[0].splitlines() if line.startswith("|")
]
PLACES = (*OWNED.files, *OWNED.unit_files, *OWNED.folders, *OWNED.programs, *(data.folder for data in OWNED.data))
# Not declared: paths of the engine, of a run or of a store's data, and files whose names come from an inventory.
BESIDE = (
    "/etc/docker/daemon.json*",
    "/etc/docker/plugins/NAME.spec",
    "/run/provisioner",
    "/var/lib/provisioner/record",
    "/var/lib/consul/*",
)
# All paths that revision f482ccd wrote, from its docs/hosts.md and its constants.
EARLIER = [
    "/etc/systemd/system/docker.service.d/provisioner.conf",
    "/etc/systemd/system/docker.service.d/provisioner-dns.conf",
    "/etc/provisioner/tls/ca.pem",
    "/etc/provisioner/tls/cert.pem",
    "/etc/provisioner/tls/key.pem",
    "/etc/provisioner/tls/ca-key.pem",
    "/etc/provisioner/plugins/anything",
    "/etc/provisioner/store-wait.pl",
    "/etc/etcd/provisioner.json",
    "/etc/systemd/system/etcd.service",
    "/var/lib/etcd/provisioner",
    "/etc/zookeeper/provisioner.cfg",
    "/etc/systemd/system/zookeeper.service",
    "/var/lib/zookeeper/provisioner",
    "/etc/provisioner/zookeeper-proxy.pl",
    "/etc/systemd/system/provisioner-zookeeper.service",
    "/etc/consul.d/provisioner.json",
    "/etc/consul.d/provisioner-tokens.json",
    "/etc/consul.d/provisioner-management.json",
    "/etc/consul.d/provisioner-tls/authority.pem",
    "/etc/consul.d/provisioner-tls/authority-key.pem",
    "/etc/consul.d/provisioner-tls/agent.pem",
    "/etc/consul.d/provisioner-tls/agent-key.pem",
    "/etc/systemd/system/consul.service",
    "/var/lib/consul",
    "/etc/provisioner/firewall.sh",
    "/etc/systemd/system/provisioner-firewall.service",
    "/etc/provisioner/gossip.pl",
    "/etc/systemd/system/provisioner-gossip.service",
    "/etc/provisioner/containers.sh",
    "/etc/systemd/system/provisioner-containers.service",
    "/usr/local/bin/consul",
    "/run/provisioner-consul.loaded",
    "/run/provisioner-etcd.loaded",
    "/run/provisioner-zookeeper.loaded",
    "/run/provisioner-engine.loaded",
    "/run/provisioner-engine-tls.loaded",
    "/run/provisioner-engine.started",
    "/run/provisioner-engine-again",
    "/var/lib/provisioner-plugin-x.tar",
]


def owned(path: str) -> bool:
    return any(fnmatch(path, place) for place in PLACES)


@pytest.mark.parametrize("path", EARLIER)
def test_paths_of_an_earlier_version_are_declared(path):
    assert owned(path)


def test_earlier_chains_and_users():
    assert OWNED.chains == ("PROVISIONER",)
    assert OWNED.tables == ("inet provisioner",)
    assert set(OWNED.users) == {"consul", "etcd", "zookeeper"}


def documented() -> set[str]:
    """Return the paths in the first column, and the files of a folder that the second column names."""
    found = set()
    for line in TABLES:
        first, text = line.strip("|").split("|", 1)
        for path in re.findall(r"`(/[^`]+)`", first):
            found.add(path.rstrip("/"))
            if path.endswith("/"):
                found |= {path + name for name in re.findall(r"`([a-z-]+\.pem)`", text)}
    return found


def test_the_document_names_every_place():
    """A folder in the table includes its contents. Unfinished files have one name in all folders."""
    paths = documented()
    for place in (place for place in PLACES if Path(place).name != PARTIAL):
        upwards = [str(parent) for parent in Path(place).parents]
        named = any(fnmatch(place, path) for path in paths) or paths & {place, *upwards}
        below = any(path.startswith(f"{place}/") for path in paths)  # a folder that is created for its contents
        assert named or below, place


def test_every_place_in_the_document_is_declared():
    for path in documented():
        declared = (
            owned(path) or any(fnmatch(path, beside) for beside in BESIDE) or any(fnmatch(p, path) for p in PLACES)
        )
        assert declared, path
    for unit in OWNED.units:
        assert unit in DOCUMENT


def test_the_document_names_every_key_user_and_package():
    for name in (*OWNED.keys, *OWNED.users, *OWNED.packages):
        assert f"`{name}`" in DOCUMENT, name


def test_literals_in_the_code_are_declared():
    """Every path in the code with our name in it is declared."""
    for file in (ROOT / "provisioner").rglob("*.py"):
        if {"lab", "labs.py"} & set(file.parts):  # these run on the controller
            continue
        for path in re.findall(r'"(/(?:etc|var|usr|run)/[^"{} ]*provisioner[^"{} ]*)"', file.read_text()):
            fits = owned(path) or owned(str(Path(path).parent)) or path.rstrip("/") in {"/run/provisioner", RECORD}
            assert fits or any(place.startswith(path) for place in PLACES), f"{file.name}: {path}"


def test_what_up_writes_is_declared(site):
    for name in ("node1", "node2", "node3"):
        found = site()
        engine, service = _wanted(found, name), found.backend.service(found, name)
        paths = {
            *engine.files,
            *(f.path for f in engine.secrets),
            *(f.path for f in (*service.files, *service.secrets)),
        }
        for path in {*paths, *firewall.FILES, *service.folders, *service.guarded}:
            assert owned(path) or any(path.startswith(f"{data.folder}/") for data in OWNED.data), path
        assert service.user in OWNED.users
        assert {service.unit, *engine.units} <= {*OWNED.units, "docker.service"}
        assert set(engine.settings) <= set(OWNED.keys)


def test_together_has_each_thing_once_and_sorted():
    both = together([Owned(files=("/b", "/a")), Owned(files=("/a",), users=("u",))])
    assert both == Owned(files=("/a", "/b"), users=("u",))
