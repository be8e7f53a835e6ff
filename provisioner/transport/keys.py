"""The private keys for the login: the named file, or else the agent's keys and the default files."""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import paramiko
from paramiko.pkey import UnknownKeyType

from provisioner.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEFAULTS = ("id_ed25519", "id_ecdsa", "id_rsa")  # below ~/.ssh


@dataclass(frozen=True, slots=True)
class Identity:
    """A private key, or the public half of one that only the agent can use. `label` names it in messages."""

    label: str
    key: paramiko.PKey | None = None
    agent_only: bytes = b""


def load(path: Path | None) -> tuple[Identity, ...]:
    """Load the named key, or the default keys if none is named. (`offers` adds the agent's keys.)

    Raises Refused, before anything is sent, if the named key can't be used.
    """
    if path is not None:
        return (_named(path.expanduser()),)
    found = []
    for name in _DEFAULTS:
        file = Path.home() / ".ssh" / name
        try:
            found.append(Identity(str(file), paramiko.PKey.from_path(file)))
        except (OSError, ValueError, TypeError, paramiko.SSHException, UnknownKeyType):
            continue  # a default key that is absent, encrypted or invalid is not an error
    return tuple(found)


def offers(identities: tuple[Identity, ...], agent: tuple[paramiko.PKey, ...], *, named: bool) -> Iterator[Identity]:
    """Yield the keys to try, in order. Without a named key, the agent's keys are first, as with ssh."""
    held = {key.asbytes(): key for key in agent}
    if not named:
        for key in held.values():
            yield Identity(f"the agent's {key.get_name()} key", key)
    for identity in identities:
        if identity.key is not None and identity.key.asbytes() not in held:
            yield identity
        elif identity.agent_only in held:
            yield Identity(identity.label, held[identity.agent_only])


def _named(path: Path) -> Identity:
    if path.suffix == ".pub":
        raise _refuse(path, "is the public half of a key", f"name the private key: {path.with_suffix('')}")
    try:
        text = path.read_bytes()
        return Identity(str(path), paramiko.PKey.from_path(path))
    except FileNotFoundError as error:
        raise _refuse(path, "does not exist", "name the private key that the hosts accept") from error
    except OSError as error:
        raise _refuse(path, f"can't be read ({error.strerror})", "make it readable for your user") from error
    except (paramiko.PasswordRequiredException, TypeError) as error:  # cryptography raises TypeError without a password
        return Identity(str(path), agent_only=_public_half(path, error))
    except (ValueError, paramiko.SSHException, UnknownKeyType) as error:
        if b"ENCRYPTED" in text:
            return Identity(str(path), agent_only=_public_half(path, error))
        raise _refuse(path, "is not a usable private key", "use an ed25519 key: ssh-keygen -t ed25519") from error


def _public_half(path: Path, error: Exception) -> bytes:
    """Read the public key file of an encrypted private key, to find the same key in the agent."""
    try:
        return binascii.a2b_base64(Path(f"{path}.pub").read_text("utf-8").split()[1])
    except (OSError, IndexError, ValueError):
        raise encrypted(path) from error


def encrypted(path: Path | str) -> Refused:
    return _refuse(path, "is encrypted, and ssh-agent does not hold it", f"add it to the agent: ssh-add {path}")


def _refuse(path: Path | str, what: str, cure: str) -> Refused:
    return Refused(f"the key {path} {what}", cause="key-unusable", tried="loading the key for SSH", cure=cure)
