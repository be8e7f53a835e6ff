"""Certificates for the cluster's own servers: a certificate authority, and one certificate per host. Pure: PEM texts.

A certificate on a host is kept while it fits; `fault` says why one must be replaced. Keys are EC P-256. A host's
certificate serves as server and client certificate, since the members of a store are both. `cryptography` is imported
only when it is needed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import IPv4Address, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

AUTHORITY_DAYS, DAYS, RENEW_DAYS = 3650, 730, 60
_BEFORE = timedelta(days=1)  # a new certificate is already valid on hosts whose clock is a little behind
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, both PEM."""

    certificate: str
    key: str = field(repr=False)


@dataclass(frozen=True)
class Contents:
    """The contents of a certificate. names: DNS names. ends: when it expires. fingerprint: SHA-256, hexadecimal."""

    subject: str
    issuer: str
    names: frozenset[str]
    addresses: frozenset[str]
    ends: datetime
    authority: bool
    fingerprint: str


def authority(name: str, *, days: int = AUTHORITY_DAYS) -> Pair:
    """Return a new authority. It can sign host certificates, but no further authorities."""
    from cryptography import x509

    key = _new_key()
    subject = _name(name)
    builder = _builder(subject, subject, key.public_key(), days)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(authority=True), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return _signed(builder, key, key)


def issue(
    signer: Pair, name: str, *, names: Iterable[str], addresses: Iterable[str | IPv4Address], days: int = DAYS
) -> Pair:
    """Return a new host certificate with these DNS names and IP addresses. Raises ValueError if the signer is invalid."""
    from cryptography import x509

    above, above_key = x509.load_pem_x509_certificate(signer.certificate.encode()), _key(signer.key)
    key = _new_key()
    builder = _builder(_name(name), above.subject, key.public_key(), days)
    alternative = [
        *(x509.DNSName(word) for word in sorted(set(names))),
        *(x509.IPAddress(address) for address in sorted({ip_address(str(word)) for word in addresses}, key=str)),
    ]
    usage = [x509.ObjectIdentifier("1.3.6.1.5.5.7.3.1"), x509.ObjectIdentifier("1.3.6.1.5.5.7.3.2")]  # server, client
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(authority=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
    builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(above_key.public_key()), critical=False
    )
    return _signed(builder, key, above_key)


@cache
def contents(certificate: str) -> Contents | None:
    """Return the contents of the first certificate in a PEM text; None if there is no readable one."""
    found = _certificate(certificate)
    try:
        return None if found is None else _contents(found)
    except _unreadable():
        return None


def each(bundle: str) -> list[str]:
    """Return the certificates in a PEM bundle, in order."""
    return [pem.rstrip("\n") + "\n" for pem in _PEM.findall(bundle)]


@cache
def belongs(certificate: str, key: str) -> bool:
    """Whether the private key matches the certificate."""
    found = _certificate(certificate)
    try:
        return found is not None and found.public_key() == _key(key).public_key()
    except _unreadable():
        return False


def signed_by(certificate: str, authorities: Sequence[str]) -> bool:
    """Whether one of these authorities has signed the certificate."""
    return any(_directly(certificate, above) for above in authorities)


def fault(
    pair: Pair,
    authorities: Sequence[str],
    *,
    now: datetime | float,
    names: Iterable[str] = (),
    addresses: Iterable[str | IPv4Address] = (),
    renew_days: int = RENEW_DAYS,
) -> str:
    """Return why a host's certificate must be replaced; "" if it still fits. It may have more names than requested.

    now: the host's clock, as a datetime or in seconds since 1970.
    """
    moment = now if isinstance(now, datetime) else datetime.fromtimestamp(now, UTC)
    cert = contents(pair.certificate)
    if cert is None:
        return "no certificate"
    if not belongs(pair.certificate, pair.key):
        return "the key does not match"
    if not signed_by(pair.certificate, authorities):
        return "signed by another authority"
    missing = (set(names) - cert.names) | ({str(address) for address in addresses} - cert.addresses)
    if missing:
        return "without " + ", ".join(sorted(missing))
    return _ending(cert, moment, renew_days)


def authority_fault(pair: Pair, *, now: datetime | float, renew_days: int = RENEW_DAYS) -> str:
    """Return why an authority must be replaced; "" if it can still sign."""
    moment = now if isinstance(now, datetime) else datetime.fromtimestamp(now, UTC)
    cert = contents(pair.certificate)
    if cert is None or not cert.authority:
        return "not an authority's certificate"
    return _ending(cert, moment, renew_days) if belongs(pair.certificate, pair.key) else "the key does not match"


def _ending(cert: Contents, moment: datetime, renew_days: int) -> str:
    return f"ends on {cert.ends:%Y-%m-%d}" if cert.ends - moment < timedelta(days=renew_days) else ""


def _certificate(pem: str) -> x509.Certificate | None:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except _unreadable():
        return None


def _unreadable() -> tuple[type[Exception], ...]:
    """Return the exceptions that `cryptography` raises for a malformed or unsupported certificate or key."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm

    return (
        ValueError,
        TypeError,
        UnsupportedAlgorithm,
        x509.InvalidVersion,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    )


def _contents(found: x509.Certificate) -> Contents:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    def extension(kind: type[x509.ExtensionType]) -> x509.ExtensionType | None:
        try:
            return found.extensions.get_extension_for_class(kind).value
        except x509.ExtensionNotFound:
            return None

    names, constraints = extension(x509.SubjectAlternativeName), extension(x509.BasicConstraints)
    alternative = names if isinstance(names, x509.SubjectAlternativeName) else None
    return Contents(
        subject=found.subject.rfc4514_string(),
        issuer=found.issuer.rfc4514_string(),
        names=frozenset(alternative.get_values_for_type(x509.DNSName) if alternative else ()),
        addresses=frozenset(str(ip) for ip in (alternative.get_values_for_type(x509.IPAddress) if alternative else ())),
        ends=found.not_valid_after_utc,
        authority=isinstance(constraints, x509.BasicConstraints) and constraints.ca,
        fingerprint=found.fingerprint(hashes.SHA256()).hex(),
    )


@cache  # checked many times in one run
def _directly(certificate: str, authority: str) -> bool:
    from cryptography.exceptions import InvalidSignature

    found, above = _certificate(certificate), _certificate(authority)
    failures: tuple[type[Exception], ...] = (*_unreadable(), InvalidSignature)
    if found is None or above is None:
        return False
    try:
        found.verify_directly_issued_by(above)
    except failures:
        return False
    return True


def _new_key() -> ec.EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _key(pem: str) -> ec.EllipticCurvePrivateKey:
    """Load a private key. Raises ValueError, whose text never contains any part of the key."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("it is not a readable private key") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("it is not an EC key")  # noqa: TRY004  the text's content is wrong, not its type
    return key


def _name(name: str) -> x509.Name:
    from cryptography import x509

    return x509.Name([x509.NameAttribute(x509.ObjectIdentifier("2.5.4.3"), name[:64])])  # common name


def _usage(*, authority: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    from cryptography import x509

    now = datetime.now(UTC).replace(microsecond=0)
    return x509.CertificateBuilder(
        subject_name=subject,
        issuer_name=issuer,
        public_key=public,
        serial_number=x509.random_serial_number(),
        not_valid_before=now - _BEFORE,
        not_valid_after=now + timedelta(days=days),
    )


def _signed(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey
) -> Pair:
    from cryptography.hazmat.primitives import hashes, serialization

    certificate = builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    plain = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Pair(certificate, plain.decode())
