"""The private keys for the login: the named file, or else the agent's keys and the default files."""

from __future__ import annotations

import binascii
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificate,
    load_ssh_public_identity,
)
from paramiko.pkey import UnknownKeyType

from provisioner.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from provisioner.model import SshTarget

_OPENSSH, _MAGIC = b"BEGIN OPENSSH PRIVATE KEY", b"openssh-key-v1\0"  # PROTOCOL.key of OpenSSH
_DEFAULTS = ("id_ed25519", "id_ecdsa", "id_rsa")  # below ~/.ssh


@dataclass(frozen=True, slots=True)
class Identity:
    """A private key, or the public half of one that only the agent can use. `label` names it in messages.

    certificates: files with certificates of the key, each with its blob.
    """

    label: str
    key: paramiko.PKey | None = None
    agent_only: bytes = b""
    encrypted: bool = False
    certificates: tuple[tuple[str, paramiko.pkey.PublicBlob], ...] = ()

    @property
    def public(self) -> bytes:
        """The public key in SSH's wire format; b"" if it is not known."""
        return self.key.asbytes() if self.key is not None else self.agent_only


def load(target: SshTarget, passphrases: Mapping[Path, str]) -> tuple[Identity, ...]:
    """Load the named key, or else the keys of OpenSSH's configuration, or the default keys. (`offers` adds the agent's keys.)

    Raises Refused, before anything is sent, if the named key can't be used.
    """
    if target.key is not None:
        found = [_named(target.key.expanduser(), passphrases)]
    else:
        found = list(filter(None, (_if_usable(path, passphrases) for path in files(target))))
    return tuple(_certified(identity, target.certificates) for identity in found)


def files(target: SshTarget) -> tuple[Path, ...]:
    """The files of keys to try: the named one, or else those of OpenSSH's configuration, or the default ones."""
    if target.key is not None:
        return (target.key.expanduser(),)
    return tuple(Path.home() / ".ssh" / name for name in _DEFAULTS) if target.keys is None else target.keys


def offers(identities: tuple[Identity, ...], agent: tuple[paramiko.PKey, ...], target: SshTarget) -> Iterator[Identity]:
    """Yield the keys to try, in ssh's order: the agent's that are listed, its other ones, and then files.

    A certificate of a key is tried before the key. A named key is the only one.
    """
    held = {key.asbytes(): key for key in agent}
    for identity in identities:
        if identity.public in held:
            yield from _each(replace(identity, key=held[identity.public]))
    listed = {identity.public for identity in identities}
    for blob, key in held.items() if target.key is None and not target.keys_only else ():
        if blob not in listed:
            yield Identity(f"the agent's {key.get_name()} key", key)
    for identity in identities:
        if identity.key is not None and identity.public not in held:
            yield from _each(identity)


def _each(identity: Identity) -> Iterator[Identity]:
    for label, blob in identity.certificates:
        key = copy(identity.key)
        assert key is not None  # noqa: S101  the caller's condition
        key.public_blob = blob
        yield Identity(label, key)
    yield identity


def _certified(identity: Identity, files: tuple[Path, ...]) -> Identity:
    """The identity with its certificates: of the file next to it, and of OpenSSH's CertificateFile."""
    found = []
    for path in (Path(f"{identity.label}-cert.pub"), *files):
        try:
            text = path.expanduser().read_bytes()
            certificate = load_ssh_public_identity(text)
            if not isinstance(certificate, SSHCertificate):
                continue
            public = certificate.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
            if binascii.a2b_base64(public.split()[1]) == identity.public:
                found.append((str(path), paramiko.pkey.PublicBlob.from_string(text.decode())))
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
            continue  # as in ssh, the key is tried without it
    return replace(identity, certificates=tuple(dict(found).items()))


def unlocks(path: Path, passphrase: str) -> bool:
    """Whether the passphrase is the one of an encrypted file."""
    try:
        _loaded(path, passphrase)
    except (OSError, ValueError, TypeError, paramiko.SSHException, UnknownKeyType):
        return False
    return True


def _if_usable(path: Path, passphrases: Mapping[Path, str]) -> Identity | None:
    """The key of a file, or its public half, which chooses one of the agent's keys. As in ssh, an invalid file is skipped."""
    with suppress(Refused, OSError):
        return _named(path, passphrases)
    with suppress(OSError, IndexError, ValueError):
        public = path if path.suffix == ".pub" else Path(f"{path}.pub")
        return Identity(str(public), agent_only=binascii.a2b_base64(public.read_text("utf-8").split()[1]))
    return None


def _named(path: Path, passphrases: Mapping[Path, str]) -> Identity:
    if path.suffix == ".pub":
        raise _refuse(path, "is the public half of a key", f"name the private key: {path.with_suffix('')}")
    try:
        text = path.read_bytes()
        return Identity(str(path), _loaded(path, passphrases.get(path)))
    except FileNotFoundError as error:
        raise _refuse(path, "does not exist", "name the private key that the hosts accept") from error
    except OSError as error:
        raise _refuse(path, f"can't be read ({error.strerror})", "make it readable for your user") from error
    except (paramiko.PasswordRequiredException, TypeError) as error:  # cryptography raises TypeError without a password
        return Identity(str(path), agent_only=_public_half(path, text, error), encrypted=True)
    except (ValueError, paramiko.SSHException, UnknownKeyType) as error:
        if Path(f"{path}-cert.pub").exists():
            raise _refuse(f"{path}-cert.pub", "is not a usable certificate", "renew or remove it") from error
        if b"ENCRYPTED" in text:
            return Identity(str(path), agent_only=_public_half(path, text, error), encrypted=True)
        raise _refuse(path, "is not a usable private key", "use an ed25519 key: ssh-keygen -t ed25519") from error


def _loaded(path: Path, passphrase: str | None = None) -> paramiko.PKey:
    key = paramiko.PKey.from_path(path, passphrase.encode() if passphrase else None)  # type: ignore[arg-type]  # bytes too
    key.public_blob = None  # `offers` tries certificates
    return key


def _public_half(path: Path, text: bytes, error: Exception) -> bytes:
    """Read the public half of an encrypted private key, to find the same key in the agent."""
    try:
        if _OPENSSH in text:
            message = paramiko.Message(binascii.a2b_base64(b"".join(text.split(b"-----")[2].split())))
            message.get_bytes(len(_MAGIC))
            for _ in ("cipher", "key derivation", "its options"):
                message.get_string()
            message.get_int()
            return message.get_string()
        return binascii.a2b_base64(Path(f"{path}.pub").read_text("utf-8").split()[1])
    except (OSError, IndexError, ValueError):
        raise encrypted(path) from error


def encrypted(path: Path | str) -> Refused:
    cure = f"add it to the agent: ssh-add {quote(str(path))}; or run the command on a terminal, which asks for the passphrase"
    return _refuse(path, "is encrypted, and ssh-agent does not hold it", cure)


def _refuse(path: Path | str, what: str, cure: str) -> Refused:
    return Refused(f"the key {path} {what}", cause="key-unusable", tried="loading the key for SSH", cure=cure)
