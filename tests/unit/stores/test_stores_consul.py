"""The parts of Consul's backend that need no running Consul: its URL, its program, and the program's path."""

from __future__ import annotations

import hashlib
import zipfile
from types import SimpleNamespace

import pytest

from provisioner.errors import ProvisionerError
from provisioner.stores.consul import Consul
from provisioner.stores.consul_program import UPLOADED, program


@pytest.fixture
def store(inventory):
    return lambda words="": inventory(store=words).store


def test_engines_use_their_own_agent(store):
    assert Consul(store()).url(None) == "consul://127.0.0.1:8500"
    assert Consul(store(", prefix: lab/one")).url(None) == "consul://127.0.0.1:8500/lab/one"


def host(programs):
    return SimpleNamespace(programs=programs)


@pytest.mark.parametrize("path", ["/usr/bin/consul", "/opt/consul-1.8.7/bin/consul_1"])
def test_an_installed_program_is_used(store, path):
    assert Consul(store())._program(host({"consul": path})) == path


@pytest.mark.parametrize(
    "path", ["", "consul", "alias consul='rm'", "/usr/bin/con sul", "/a'b", "/a%b", "/a\nb", "/$(id)"]
)
def test_an_odd_path_is_ignored(store, path):
    assert Consul(store())._program(host({"consul": path})) == "/usr/bin/consul"
    assert Consul(store(", binary: consul"))._program(host({"consul": path})) == UPLOADED


class TestProgram:
    content = b"\x7fELF program"
    digest = hashlib.sha256(content).hexdigest()

    def test_as_it_is(self, store, tmp_path):
        (tmp_path / "consul").write_bytes(self.content)
        assert program(store(", binary: consul")) == (tmp_path / "consul", self.digest)

    def test_out_of_a_zip(self, store, tmp_path):
        with zipfile.ZipFile(tmp_path / "consul.zip", "w") as archive:
            archive.writestr("LICENSE.txt", "text")
            archive.writestr("consul", self.content)
        outer = hashlib.sha256((tmp_path / "consul.zip").read_bytes()).hexdigest()
        path, digest = program(store(f", binary: consul.zip, sha256: {outer}"))
        assert (path.read_bytes(), digest) == (self.content, self.digest)

    def test_a_zip_without_it(self, store, tmp_path):
        with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
            archive.writestr("../consul", self.content)
        with pytest.raises(ProvisionerError, match="contains no file `consul`"):
            program(store(", binary: other.zip"))

    def test_another_sum(self, store, tmp_path):
        (tmp_path / "odd").write_bytes(self.content)
        with pytest.raises(ProvisionerError, match="has the SHA-256 sum"):
            program(store(f", binary: odd, sha256: {'0' * 64}"))
        assert program(store(f", binary: odd, sha256: {self.digest}"))[1] == self.digest

    def test_none(self, store):
        with pytest.raises(ProvisionerError, match=r"no store\.binary"):
            program(store())
