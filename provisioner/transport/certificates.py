"""Certificates of hosts (PROTOCOL.certkeys of OpenSSH), which an authority on record signs in place of a recorded key."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import time
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificate,
    SSHCertificateType,
    load_ssh_public_identity,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    import paramiko

KINDS = tuple(
    f"{kind}-cert-v01@openssh.com"
    for kind in (
        "ssh-ed25519",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "rsa-sha2-512",
        "rsa-sha2-256",
    )
)
NONE = "it has no certificate"


def plain(key: paramiko.PKey) -> bytes:
    """The public key alone, without a certificate."""
    certificate = _certificate(key)
    return _blob(certificate.public_key()) if certificate else key.asbytes()


def fault(key: paramiko.PKey, authorities: Collection[bytes], name: str) -> str:
    """Return why a host's key is not certified for this name by one of the authorities; "": it is."""
    certificate = _certificate(key)
    if certificate is None:
        return NONE
    if _blob(certificate.signature_key()) not in authorities:
        return "the authority of its certificate is not on record"
    if certificate.type is not SSHCertificateType.HOST or certificate.critical_options:
        return "its certificate is not one of a host"
    principals = [principal.decode("utf-8", "replace").lower() for principal in certificate.valid_principals]
    if not any(fnmatch.fnmatchcase(name.lower(), principal.replace("[", "[[]")) for principal in principals):
        return f"its certificate is not for {name}"
    if not certificate.valid_after <= time.time() < certificate.valid_before:
        return "its certificate is not valid at this time"
    return _signature_fault(certificate)


def _signature_fault(certificate: SSHCertificate) -> str:
    try:
        certificate.verify_cert_signature()
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return "the signature of its certificate is wrong"
    weak = getattr(certificate, "_inner_sig_type", b"") in {b"ssh-rsa", b"ssh-dss"}
    return "its certificate is signed with SHA-1" if weak else ""


def _certificate(key: paramiko.PKey) -> SSHCertificate | None:
    held = getattr(key, "public_blob", None)
    if held is None:
        return None
    try:
        found = load_ssh_public_identity(held.key_type.encode() + b" " + base64.b64encode(held.key_blob))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return found if isinstance(found, SSHCertificate) else None


def _blob(key: object) -> bytes:
    text: bytes = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)  # type: ignore[attr-defined]  # any kind of key
    return binascii.a2b_base64(text.split()[1])
