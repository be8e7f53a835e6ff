"""The captures themselves: they contain no secret, and a change of their shape is detected."""

from __future__ import annotations

import json

import pytest
from captured import CAPTURES, HOSTS, capture, printed, with_file, with_http, with_raw, with_system
from shapes import differences

from provisioner.stores.consul_security import FILES, MANAGEMENT
from provisioner.system import certificates
from provisioner.system.facts import parse
from tests.unit.system.capture import redacted

SECRET = "5c0e2c4a-3a0e-4f0e-9a44-0f5a7c1f6d0b"
KEY = "uDBV4e+LbFW3019YKPxIrLYFyPjaBFJlm1nA+rAYF1U="


def test_secrets_are_taken_out_and_the_rest_stays():
    pair = certificates.authority("x")
    texts = {
        "/k.pem": pair.key,
        "/c.pem": pair.certificate,
        "/t.json": f'{{"a": "{SECRET}"}}\n',
        "/g.json": f'["{KEY}",\n"{KEY}"]\n',
    }
    lines = [f"{path}:{line}" for path, text in texts.items() for line in text.splitlines()]
    found = redacted({"secrets": "\n".join([*lines, "=600 root:root /k.pem"]) + "\n", "files": "/a:b\n"})
    assert found["files"] == "/a:b\n"
    assert not [word for word in (SECRET, KEY, pair.key.splitlines()[1]) if word in found["secrets"]]
    facts = parse(printed(found))
    assert facts.secrets["/c.pem"] == pair.certificate
    assert facts.secrets["/k.pem"].splitlines()[1:-1] == ["redacted"] * (len(pair.key.splitlines()) - 2)
    assert json.loads(facts.secrets["/t.json"]) == {"a": "redacted"}
    assert json.loads(facts.secrets["/g.json"]) == ["redacted", "redacted"]
    assert facts.modes == {"/k.pem": "600 root:root"}


def test_nothing_is_written_that_may_hold_one():
    with pytest.raises(ValueError, match="would be left"):
        redacted({"http:swarm": "200 SWMTKN-1-x"})


@pytest.mark.parametrize("path", sorted(CAPTURES.glob("*.txt")), ids=lambda path: path.stem)
def test_no_capture_holds_a_secret(path):
    raw = parse(path.read_bytes()).raw
    assert redacted(raw) == dict(raw)


@pytest.mark.parametrize("host", HOSTS)
def test_a_secured_consul_is_captured_with_its_files(host):
    assert set(capture(f"secured-{host}").secrets) == set(FILES)
    assert MANAGEMENT in capture(f"secured-{host}").guarded


class TestShapes:
    host = capture("settled-node1")

    def differing(self, facts):
        return differences(self.host.raw, facts.raw)

    def test_hosts_of_one_cluster_are_alike(self):
        assert differences(capture("zookeeper-node2").raw, capture("zookeeper-node2").raw) == []
        assert self.differing(with_system(with_file(self.host, "/etc/os-release", "x\n"), "hostname=", "other")) == []

    def test_what_is_noticed(self):
        raw = dict(self.host.raw)
        assert self.differing(with_file(self.host, "/etc/docker/daemon.json", "")) == [
            "files: /etc/docker/daemon.json is gone"
        ]
        assert self.differing(with_raw(self.host, more="x")) == ["more: something is new", "the section more is new"]
        del raw["http:leader"]
        assert "the section http:leader is gone" in differences(self.host.raw, raw)
        assert self.differing(with_http(self.host, "leader", "403 no")) == [
            "http:leader: 200 is gone",
            "http:leader: 403 is new",
        ]
        members = [{**member, "Renamed": 1} for member in self.host.http("members").body]
        assert self.differing(with_http(self.host, "members", members)) == ["http:members: [].Renamed is new"]
        assert self.differing(with_system(self.host, "raft=", None)) == ["system: raft is gone"]
