"""Key exchange, check of the host's key, and login."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any, cast

import paramiko

from provisioner.errors import HostKeyRefused, Refused, Unreachable
from provisioner.transport import keys
from provisioner.transport.known_hosts import Entry, KnownHosts, fingerprint, host_name
from provisioner.transport.network import Busy
from provisioner.transport.text import clean, tail

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.model import SshTarget

_AUTH_TIMEOUT = 30.0  # seconds; PAM and reverse DNS make some servers slow here
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")  # the fastest ones; paramiko prefers them least
_RSA = ("rsa-sha2-512", "rsa-sha2-256")  # signature algorithms of keys of type ssh-rsa
_NO_LOGIN = "logging in"


def shake_hands(transport: paramiko.Transport, target: SshTarget, known: KnownHosts) -> None:
    """Exchange keys. Raises Unreachable (Busy if the server hung up) and Refused (no algorithm in common, e.g. only SHA-1)."""
    options = transport.get_security_options()
    # No CBC, MD5 or short digests: a server with nothing better is too old to be trusted with root.
    options.ciphers = (*_CIPHERS, *(name for name in options.ciphers if name.endswith("-ctr")))
    options.digests = tuple(name for name in options.digests if "md5" not in name and "-96" not in name)
    options.key_types = _ordered(known.kinds(known_name(target)), tuple(options.key_types))
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
    """Compare the host's key with known_hosts. Raises HostKeyRefused: the key is unknown (strict), changed, or revoked."""
    name = known_name(target)
    key = transport.get_remote_server_key()
    blob = key.asbytes()
    record = known.lookup(name)
    if not record and target.host_keys == "accept-new":
        try:
            record = known.add(
                name, key.get_name(), blob
            )  # not empty if another thread or process has added one meanwhile
        except OSError as error:
            raise HostKeyRefused(
                f"its key can't be recorded in {known.path} ({error.strerror})",
                cause="known-hosts-unusable",
                host=target.name,
                tried="checking the host's key",
                cure="name a file that can be written",
            ) from error
        if not record:
            return
    if not record:
        raise _unknown(target, key, known)
    revoked = [entry for entry in record if entry.revoked and entry.key == blob]
    # A key of a type that is not recorded is a changed key, too, because the recorded types were requested first.
    if revoked or not any(entry.key == blob and not entry.revoked for entry in record):
        raise _changed(target, key, known, (revoked or list(record))[0])


def authenticate(transport: paramiko.Transport, target: SshTarget, identities: tuple[keys.Identity, ...]) -> None:
    """Log in with the first key that the host accepts. Raises Refused, and Unreachable if the connection breaks."""
    answers: list[str] = []
    with _agent_keys(target, identities) as held:
        for identity in keys.offers(identities, held, target):
            assert identity.key is not None  # noqa: S101  offers() yields nothing else
            try:
                left = transport.auth_publickey(target.user, identity.key)
            except paramiko.BadAuthenticationType as error:
                raise _refused(target, f"it accepts no keys, only {', '.join(error.allowed_types)}") from error
            except (paramiko.SSHException, EOFError, OSError) as error:
                answers.append(f"{identity.label}: {clean(str(error).encode())}")
                if not transport.is_active() or "timeout" in str(error):
                    raise _hung_up(target, answers) from error
                continue
            if not left:
                return
            raise _refused(
                target, f"it accepts the key but also requires {', '.join(left)}, which provisioner can't provide"
            )
    if not answers and target.key is not None:
        raise keys.encrypted(target.key)
    raise _refused(
        target, "\n".join(answers) or "there is no key: the inventory names none, and ssh-agent and ~/.ssh have none"
    )


@contextlib.contextmanager
def _agent_keys(target: SshTarget, identities: tuple[keys.Identity, ...]) -> Iterator[tuple[paramiko.PKey, ...]]:
    """Yield the agent's keys, if they are needed. Each login opens the agent, because threads must not share its socket."""
    if (target.key is not None and all(identity.key for identity in identities)) or target.agent == "none":
        yield ()
        return
    try:
        agent = _AgentAt(target.agent) if target.agent else paramiko.Agent()
    except (paramiko.SSHException, OSError):
        yield ()
        return
    try:
        yield tuple(agent.get_keys())
    finally:
        agent.close()


class _AgentAt(paramiko.agent.AgentSSH):
    """The agent at a socket other than $SSH_AUTH_SOCK."""

    def __init__(self, path: str) -> None:
        super().__init__()
        conn = socket.socket(socket.AF_UNIX)
        conn.connect(path)
        cast("Any", self)._connect(conn)  # noqa: SLF001  as paramiko.Agent does

    def close(self) -> None:
        cast("Any", self)._close()  # noqa: SLF001


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


def _unknown(target: SshTarget, key: paramiko.PKey, known: KnownHosts) -> HostKeyRefused:
    return HostKeyRefused(
        f"its key is not in {known.path}: {_shown(key)}",
        cause="host-key-unknown",
        host=target.name,
        tried="checking the host's key",
        cure=f"compare the fingerprint with the host's own (ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub), then record "
        f"it: ssh-keyscan -p {target.port} {target.address} >> {known.path}; "
        "or set 'host_keys: accept-new' in the inventory",
    )


def _changed(target: SshTarget, key: paramiko.PKey, known: KnownHosts, entry: Entry) -> HostKeyRefused:
    path = entry.path or known.path
    how = "is revoked" if entry.revoked else f"has changed: it was {entry.kind} {fingerprint(entry.key)}"
    return HostKeyRefused(
        f"its key {how} ({path}:{entry.line}), and is {_shown(key)}",
        host=target.name,
        tried="checking the host's key",
        cure="find out why: was the host reinstalled, or does another machine answer in its place? Only if the new "
        f"key is right: ssh-keygen -f {path} -R '{known_name(target)}'",
    )


def known_name(target: SshTarget) -> str:
    """The target's name in known_hosts."""
    return target.known_as or host_name(target.address, target.port)


def _shown(key: paramiko.PKey) -> str:
    return f"{key.get_name()} {fingerprint(key.asbytes())}"


def _refused(target: SshTarget, answer: str) -> Refused:
    return Refused(
        f"the login as {target.user} is refused",
        host=target.name,
        tried=_NO_LOGIN,
        answer=answer,
        cure=f"try it: ssh -p {target.port} {target.user}@{target.address}; "
        "the public key belongs in that user's ~/.ssh/authorized_keys"
        + (", and PermitRootLogin in sshd_config must not be 'no'" if target.user == "root" else ""),
    )


def _hung_up(target: SshTarget, answers: list[str]) -> Unreachable | Refused:
    if len(answers) > 1:  # sshd hangs up after MaxAuthTries keys (6 by default)
        return _refused(
            target, tail("\n".join([*answers, "it hung up after too many keys: name one in the inventory"]))
        )
    return Unreachable(
        "the connection broke during the login",
        cause="connection-lost",
        host=target.name,
        tried=_NO_LOGIN,
        answer="\n".join(answers),
        cure="see sshd's log on the host (journalctl -u ssh)",
    )
