"""Key exchange and check of the host's key."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING

import paramiko

from provisioner.errors import HostKeyRefused, Refused, Unreachable
from provisioner.transport import certificates, command_line
from provisioner.transport.known_hosts import Entry, KnownHosts, fingerprint, host_name
from provisioner.transport.network import Busy

if TYPE_CHECKING:
    from provisioner.model import SshTarget

_AUTH_TIMEOUT = 30.0  # seconds; PAM and reverse DNS make some servers slow here
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")  # the fastest ones; paramiko prefers them least
_RSA = ("rsa-sha2-512", "rsa-sha2-256")  # signature algorithms of keys of type ssh-rsa


def shake_hands(transport: paramiko.Transport, target: SshTarget, known: KnownHosts) -> None:
    """Exchange keys. Raises Unreachable (Busy if the server hung up) and Refused (no algorithm in common, e.g. only SHA-1)."""
    options = transport.get_security_options()
    # No CBC, MD5 or short digests: a server with nothing better is too old to be trusted with root.
    options.ciphers = (*_CIPHERS, *(name for name in options.ciphers if name.endswith("-ctr")))
    options.digests = tuple(name for name in options.digests if "md5" not in name and "-96" not in name)
    kinds = _ordered(known.kinds(known_name(target)), tuple(options.key_types))
    options.key_types = (*certificates.KINDS, *kinds) if _authorities(target, known) else kinds
    transport.banner_timeout = transport.handshake_timeout = target.connect_timeout
    transport.auth_timeout = max(_AUTH_TIMEOUT, target.connect_timeout)
    try:
        transport.start_client(timeout=target.connect_timeout)
        transport.get_remote_server_key()  # raises after a timeout, when start_client() just returns
    except paramiko.ssh_exception.IncompatiblePeer as error:
        raise _too_old(target, str(error)) from error
    except (paramiko.SSHException, EOFError, OSError) as error:
        kind = Unreachable if transport.is_active() else Busy
        raise kind(
            "the SSH server did not finish the key exchange"
            if transport.is_active()
            else "the SSH server aborted the key exchange",
            cause="handshake-failed",
            host=target.name,
            tried="connecting with SSH",
            answer=str(error),
            cure="see sshd's log on the host (journalctl -u ssh)",
        ) from error


def check_host_key(transport: paramiko.Transport, target: SshTarget, known: KnownHosts) -> None:
    """Compare the host's key with known_hosts. Raises HostKeyRefused: the key is unknown (strict), changed, or revoked.

    A certificate of a recorded authority (@cert-authority) is as good as a recorded key.
    """
    name = known_name(target)
    key = transport.get_remote_server_key()
    blob = certificates.plain(key)
    record = known.lookup(name)
    revoked = [entry for entry in record if entry.revoked and entry.key == blob]
    lacks = certificates.fault(key, _authorities(target, known), target.known_as or target.address)
    if not lacks and not revoked:
        return
    if not record and target.host_keys == "accept-new":
        record = _recorded(target, key.get_name(), blob, known)
        if not record:
            return
    if not record:
        raise _unknown(target, key, known, "" if lacks == certificates.NONE else lacks)
    # A key of a type that is not recorded is a changed key, too, because the recorded types were requested first.
    if revoked or not any(entry.key == blob and not entry.revoked for entry in record):
        raise _changed(target, key, known, (revoked or list(record))[0])


def _recorded(target: SshTarget, kind: str, blob: bytes, known: KnownHosts) -> tuple[Entry, ...]:
    """Record a new host's key. Returns the keys that another thread or process has recorded meanwhile. Raises HostKeyRefused."""
    try:
        return known.add(known_name(target), kind, blob)
    except OSError as error:
        raise HostKeyRefused(
            f"its key can't be recorded in {known.path} ({error.strerror})",
            cause="known-hosts-unusable",
            host=target.name,
            tried="checking the host's key",
            cure="name a file that can be written",
        ) from error


def _authorities(target: SshTarget, known: KnownHosts) -> frozenset[bytes]:
    """The authorities for a host; as in ssh, also those that are recorded without its port."""
    return known.authorities(known_name(target)) | known.authorities((target.known_as or target.address).lower())


def _ordered(kinds: tuple[str, ...], offered: tuple[str, ...]) -> tuple[str, ...]:
    """Put the recorded types first, so that the host does not present a key of a type that is not recorded."""
    wanted = [name for kind in kinds for name in (_RSA if kind == "ssh-rsa" else (kind,)) if name in offered]
    return (*wanted, *(name for name in offered if name not in wanted))


def _too_old(target: SshTarget, answer: str) -> Refused:
    return Refused(
        "its SSH server and provisioner have no algorithm in common",
        cause="ssh-too-old",
        host=target.name,
        tried="connecting with SSH",
        answer=answer,
        cure="a server that knows only SHA-1 (ssh-rsa) is too old: install OpenSSH 7.2 or later there, "
        "or give it an ed25519 host key (ssh-keygen -A)",
    )


def _unknown(target: SshTarget, key: paramiko.PKey, known: KnownHosts, lacks: str) -> HostKeyRefused:
    return HostKeyRefused(
        f"its key is not in {known.path}: {_shown(key)}",
        cause="host-key-unknown",
        host=target.name,
        tried="checking the host's key",
        answer=lacks,
        cure=f"compare the fingerprint with the host's own (ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub), then record "
        f"it: {_recording(target, known)}; "
        "or set 'host_keys: accept-new' in the inventory",
    )


def _recording(target: SshTarget, known: KnownHosts) -> str:
    """The command that records the host's key. ssh-keyscan knows no jump hosts and no other names."""
    if target.jump or target.proxy or target.known_as:
        return f"{command_line.ssh(target)}, which asks whether to"
    return f"ssh-keyscan -p {target.port} {target.address} >> {quote(str(known.path))}"


def _changed(target: SshTarget, key: paramiko.PKey, known: KnownHosts, entry: Entry) -> HostKeyRefused:
    path = entry.path or known.path
    how = "is revoked" if entry.revoked else f"has changed: it was {entry.kind} {fingerprint(entry.key)}"
    return HostKeyRefused(
        f"its key {how} ({path}:{entry.line}), and is {_shown(key)}",
        host=target.name,
        tried="checking the host's key",
        cure="find out why: was the host reinstalled, or does another machine answer in its place? Only if the new "
        f"key is right: ssh-keygen -f {quote(str(path))} -R '{known_name(target)}'",
    )


def known_name(target: SshTarget) -> str:
    """The target's name in known_hosts."""
    return target.known_as or host_name(target.address, target.port)


def _shown(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {fingerprint(certificates.plain(key))}"
