"""Requests to a store over TLS: to a real server that requires a client certificate, and with unusable files."""

from __future__ import annotations

import http.server
import socket
import ssl
import subprocess
import threading

import pytest

from provisioner.errors import ProvisionerError
from provisioner.inventory import Tls
from provisioner.stores.asking import HttpClient, context
from provisioner.system import certificates
from provisioner.system.request import Request

HEALTH = Request("health", "localhost", "/health")


class Connection:
    """A host whose network is this machine's."""

    name = "node1"

    def socket(self, port, host, *, timeout):
        return socket.create_connection((host, port), timeout)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"x" * 100_000 if self.path == "/much" else b'{"health": "true"}')

    def log_message(self, *_):
        pass


def files(folder, ca, pair):
    texts = {"ca": ca.certificate, "cert": pair.certificate, "key": pair.key}
    for name, text in texts.items():
        (folder / f"{name}.pem").write_text(text)
    return Tls.model_construct(**{name: folder / f"{name}.pem" for name in texts})


@pytest.fixture(scope="module")
def ca():
    return certificates.authority("theirs")


@pytest.fixture(scope="module")
def where(ca, tmp_path_factory):
    """A server's ADDRESS:PORT."""
    own = files(
        tmp_path_factory.mktemp("server"), ca, certificates.issue(ca, "s", names=["s"], addresses=["127.0.0.1"])
    )
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(own.cert, own.key)
    tls.load_verify_locations(own.ca)
    tls.verify_mode = ssl.CERT_REQUIRED
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()


@pytest.fixture
def guest(ca, tmp_path):
    return files(tmp_path, ca, certificates.issue(ca, "guest", names=["guest"], addresses=[]))


def test_with_the_right_files(where, guest):
    client = HttpClient(Connection(), where, context(guest))
    assert client("/health") == (200, '{"health": "true"}')
    assert len(client("/much")[1]) == 100_000
    assert client.report(HEALTH) == '200 {"health": "true"}'


def test_another_authority_s_certificate(where, guest, tmp_path):
    other = certificates.authority("other")
    (tmp_path / "ca.pem").write_text(other.certificate)
    assert (
        HttpClient(Connection(), where, context(guest)).report(HEALTH).startswith("000 its certificate is rejected: ")
    )


def test_a_guest_that_the_server_does_not_know(where, ca, tmp_path):
    other = certificates.authority("other")
    stranger = files(tmp_path, ca, certificates.issue(other, "guest", names=["guest"], addresses=[]))
    assert HttpClient(Connection(), where, context(stranger)).report(HEALTH).startswith("000 ")


def test_without_tls_the_answer_is_not_http(where):
    assert HttpClient(Connection(), where).report(HEALTH).startswith("000 ")


def test_nobody_listens():
    assert HttpClient(Connection(), "127.0.0.1:9").report(HEALTH) == "000 Connection refused"


def test_unusable_files(guest, ca, tmp_path):
    (tmp_path / "key.pem").write_text(certificates.issue(ca, "x", names=["x"], addresses=[]).key)
    with pytest.raises(ProvisionerError, match="are not a certificate and its key: key values mismatch"):
        context(guest)
    (tmp_path / "ca.pem").write_text("nonsense")
    with pytest.raises(ProvisionerError, match=r"ca\.pem contains no usable certificate"):
        context(guest)


def test_a_key_with_a_password(guest, tmp_path):
    locked = tmp_path / "locked.pem"
    subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-in", guest.key, "-out", locked, "-passout", "pass:word"], check=True
    )
    guest.key.write_text(locked.read_text())
    with pytest.raises(ProvisionerError, match="is encrypted; engines can't use"):
        context(guest)
