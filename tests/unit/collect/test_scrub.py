"""Secrets are removed from texts, wherever they are; what is needed to find causes is kept."""

from __future__ import annotations

import base64
import json
import re
import time
import urllib.parse

import pytest

from provisioner.collect import scrub
from provisioner.collect.scrub import REMOVED, Scrubber

PEM = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIBplantedplantedplanted\nshort==\n-----END EC PRIVATE KEY-----"


@pytest.mark.parametrize(("text", "secret"), [
    (PEM, "planted"),
    (json.dumps({"key": PEM}), "planted"),
    (PEM.partition("-----END")[0], "planted"),
    ("docker swarm join --token SWMTKN-1-3pu6hszjas19xyp7ghgosyx9k8atbfcr8p2is99znpy26u2lkl-1awxwuwd3z9j1z3puu7rcgdbx", "3pu6h"),
    ("docker swarm unlock-key: SWMKEY-1-7c37Cc8654o6p38HnroywCi19pllOnGtbdZEgtKxZu8", "7c37C"),
    ("GET http://user:plan:ted@proxy.example:3128/", "plan"),
    ("postgres://app:plan%40ted@db/x", "plan"),
    ("https://planted@registry.example/", "planted"),
    ("Authorization: Basic cGxhbnRlZA==", "cGxhbnR"),
    ('{"Authorization":"Bearer planted12345"}', "planted"),
    ("curl -H 'authorization: token planted' x", "planted"),
    ("bearer planted-token.of_mine", "planted"),
    ("X-Consul-Token: planted", "planted"),
    ("level=info CONSUL_HTTP_TOKEN=planted", "planted"),
    ('the setting {"password": "plan\\"ted", "a": 1}', "plan"),
    ("DB_PASSWORD='plan ted'", "plan"),
    (r'{\"secret\":\"planted\"}', "planted"),
    ("mysql --password planted -u x", "planted"),
    ("--label vault=planted", "planted"),
    ("net.ipv6.conf.eth0.stable_secret = 2001:db8::planted", "planted"),
    ('"encrypt": "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s="', "pUqJ"),
    ("key pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s= was used", "pUqJ"),
    ("aead rfc4106(gcm(aes)) 0x4fb0a8f7c1b2d3e4f5061728394a5b6c7d8e9f00 128", "4fb0a8f7c1b2"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N", "eyJzdWI"),
])  # fmt: skip
def test_what_looks_like_a_secret_is_removed(text, secret):
    cleared = Scrubber()(text)
    assert secret not in cleared
    assert REMOVED in cleared


@pytest.mark.parametrize("text", [
    "4789: inet 192.168.56.11/24 brd 192.168.56.255 scope global eth0",
    "8f1d0a3e5c0c7b1e4c2b6f4c1c0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b",
    '-A INPUT -p udp -m udp --dport 4789 -m u32 --u32 "0x0>>0x16&0x3c@0xc&0xffffff00=0x100100" -j DROP',
    "src 192.168.56.11 dst 192.168.56.12 proto esp spi 0x7d5a3b1c(2103065372) reqid 13681891(0x00d0c4e3) mode transport",
    'time="2026-11-29T05:00:00Z" level=warning msg="grpc: addrConn.createTransport failed" error="context deadline exceeded"',
    "02:42:0a:63:00:02 dst 192.168.56.12 link-netnsid 0 self permanent",
    "/var/lib/docker/overlay2/8f1d0a3e5c0c7b1e4c2b6f4c1c0f1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b/merged",
    "Encrypt: false, TLS-Outgoing: true, Auto-Encrypt-TLS: false",
    "mon9x1c3y5k8m2w4q6e7r9t0u Ready Active Leader",
])  # fmt: skip
def test_evidence_is_kept(text):
    assert Scrubber()(text) == text


@pytest.mark.parametrize("before", ["", "x", "xy"])
def test_a_known_secret_is_found_in_every_form(before):
    secret = 'pl"anted/sécret+value 1'
    forms = [
        secret,
        json.dumps(secret),
        json.dumps(secret, ensure_ascii=False),
        urllib.parse.quote(secret, safe=""),
        secret.encode().hex(),
        base64.b64encode(f"{before}{secret} and more".encode()).decode(),
        base64.urlsafe_b64encode(f"{before}{secret}".encode()).decode(),
    ]
    for form in forms:
        cleared = Scrubber([secret])(f"a {form} b")
        assert cleared.startswith("a ")
        plain = [cleared, *(_decoded(word) for word in re.findall(r"[A-Za-z0-9+/_=-]{4,}", cleared))]
        assert not any("anted" in text or "cret+v" in text for text in plain), form


def _decoded(word: str) -> str:
    """Decode a part of a base64 text at every offset."""
    plain = word.replace("-", "+").replace("_", "/").replace("=", "")
    cuts = (plain[start:][: len(plain[start:]) // 4 * 4] for start in range(4))
    return " ".join(base64.b64decode(cut).decode(errors="replace") for cut in cuts)


def test_short_values_are_not_searched():
    assert Scrubber(["node1", "", "1234567"])("node1 1234567") == "node1 1234567"


def test_json_stays_json():
    found = {
        "token": "planted",
        "list": ["http://u:planted@x/", 1, None],
        "secret": False,
        "password": {"a": "b"},
        "x": "token=planted",
    }
    assert Scrubber().json(found) == {
        "token": REMOVED,
        "list": [f"http://{REMOVED}@x/", 1, None],
        "secret": False,
        "password": {"a": "b"},
        "x": f"token={REMOVED}",
    }


def test_secret_files_are_taken_apart():
    assert scrub.values('{"acl": {"tokens": {"agent": "11111111-2222", "default": "x"}}}') == {"11111111-2222"}
    assert scrub.values('["pUqJrVyVRj5jsiYEkM==", "short"]') == {"pUqJrVyVRj5jsiYEkM=="}
    assert scrub.values("CONSUL_HTTP_TOKEN=planted-token\n") == {"planted-token"}
    assert scrub.values(PEM) == set()


def test_units_keep_the_names_of_variables():
    unit = (
        "# /etc/systemd/system/docker.service.d/x.conf\n[Service]\n"
        "Environment=\"A=planted one\" B=planted \\\n  'C=planted' HTTP_PROXY=http://proxy:3128 D\n"
        'SetCredential=k:planted\n  Environment="broken\nEnvironmentFile=/etc/x\nExecStart=/usr/bin/dockerd -H fd://\n'
    )
    text = scrub.of_units(unit)
    assert "planted" not in text
    assert "broken" not in text
    assert f"A={REMOVED} B={REMOVED} C={REMOVED} HTTP_PROXY=http://proxy:3128 {REMOVED}" in text
    assert "EnvironmentFile=/etc/x\nExecStart=/usr/bin/dockerd -H fd://\n" in text


def test_values_of_the_environment_are_secret_by_name_or_look():
    entries = [
        "DB_PASSWORD=planted-1",
        "SIGNING_KEY=planted-2",
        "X=a8F3kP0qLmZ7vN2w",
        "ADVERTISE=192.168.56.11",
        "MODE=production",
    ]
    assert set(scrub.of_environment(entries)) == {"planted-1", "planted-2", "a8F3kP0qLmZ7vN2w"}


@pytest.mark.parametrize(
    "text",
    ["-", "a", "token=", 'token="', "A1b", "://", "-----BEGIN PRIVATE KEY-----", "--secret ", '=\\"', "authorization:"],
)
def test_no_text_takes_long(text):
    began = time.perf_counter()
    Scrubber(["planted-secret"])(text * (400_000 // len(text)))
    assert time.perf_counter() - began < 15
