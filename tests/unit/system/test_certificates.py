"""The cluster's own certificates: issued, read and checked. OpenSSL verifies them too."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from provisioner.system import certificates
from provisioner.system.certificates import Pair, authority, authority_fault, belongs, contents, fault, issue, signed_by

NAMES, ADDRESSES = ("node1", "localhost"), ("127.0.0.1", "192.0.2.11")
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def ca() -> Pair:
    return authority("lab: authority of the store")


@pytest.fixture(scope="module")
def pair(ca) -> Pair:
    return issue(ca, "node1", names=NAMES, addresses=ADDRESSES)


def test_an_authority(ca):
    says = contents(ca.certificate)
    assert says.authority
    assert says.issuer == says.subject == "CN=lab: authority of the store"
    assert timedelta(days=3649) < says.ends - NOW < timedelta(days=3651)
    assert authority_fault(ca, now=NOW) == ""
    assert "PRIVATE" not in repr(ca)


def test_a_host_s_certificate(ca, pair):
    says = contents(pair.certificate)
    assert (says.subject, says.issuer) == ("CN=node1", "CN=lab: authority of the store")
    assert (says.names, says.addresses) == (frozenset(NAMES), frozenset(ADDRESSES))
    assert not says.authority
    assert belongs(pair.certificate, pair.key)
    assert signed_by(pair.certificate, [ca.certificate])
    assert fault(pair, [ca.certificate], now=NOW, names=NAMES, addresses=ADDRESSES) == ""
    assert fault(pair, [ca.certificate], now=NOW.timestamp(), names=["node1"]) == ""


def test_faults(ca, pair):
    other, twin = authority("lab: authority of the store"), issue(ca, "node1", names=NAMES, addresses=ADDRESSES)

    def judged(pair: Pair, above: Pair = ca, now: datetime = NOW, **words) -> str:
        return fault(pair, [above.certificate], now=now, **words)

    assert judged(Pair("", "")) == judged(Pair("nonsense", pair.key)) == "no certificate"
    assert judged(Pair(pair.certificate, twin.key)) == judged(Pair(pair.certificate, "")) == "the key does not match"
    assert judged(pair, other) == "signed by another authority"
    assert fault(pair, [other.certificate, ca.certificate], now=NOW) == ""
    assert judged(pair, names=["node1", "node9"], addresses=["192.0.2.99"]) == "without 192.0.2.99, node9"
    ends = contents(pair.certificate).ends
    assert judged(pair, now=ends - timedelta(days=61)) == ""
    assert (
        judged(pair, now=ends - timedelta(days=59))
        == judged(pair, now=ends + timedelta(days=9))
        == f"ends on {ends:%Y-%m-%d}"
    )
    assert authority_fault(pair, now=NOW) == "not an authority's certificate"
    assert authority_fault(Pair(ca.certificate, other.key), now=NOW) == "the key does not match"
    assert authority_fault(ca, now=NOW + timedelta(days=3600)).startswith("ends on ")


def test_a_bundle_is_taken_apart(ca):
    other = authority("another")
    assert certificates.each(ca.certificate + other.certificate) == [ca.certificate, other.certificate]
    assert certificates.each("") == []


def test_an_error_holds_nothing_of_a_key(pair):
    with pytest.raises(ValueError, match="not a readable private key") as caught:
        issue(Pair(pair.certificate, pair.key[:100]), "node1", names=(), addresses=())
    assert pair.key[40:80] not in repr(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("purpose", ["sslserver", "sslclient"])
def test_openssl_takes_them_for_both_purposes(ca, pair, tmp_path, purpose):
    (tmp_path / "ca.pem").write_text(ca.certificate)
    (tmp_path / "host.pem").write_text(pair.certificate)
    ask = [
        "openssl",
        "verify",
        "-x509_strict",
        "-purpose",
        purpose,
        "-CAfile",
        "ca.pem",
        "-verify_ip",
        "192.0.2.11",
        "host.pem",
    ]
    done = subprocess.run(ask, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "host.pem: OK\n"), done.stderr


def test_cryptography_is_loaded_when_it_is_needed():
    code = (
        "import sys, provisioner.system.certificates; sys.exit(any(m.startswith('cryptography') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
