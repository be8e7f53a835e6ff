"""The login: with the first key that the host accepts, or else with the password that a person typed."""

from __future__ import annotations

import contextlib
import socket
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import paramiko

from provisioner.errors import Refused, Unreachable
from provisioner.transport import command_line, keys
from provisioner.transport.text import clean, tail

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.model import SshTarget
    from provisioner.transport.secrets import Password

_TRIED = "logging in"
_KEYS_BEFORE_PASSWORD = 3  # sshd counts refused keys, too, and hangs up after six attempts
_TYPED = {"password", "keyboard-interactive"}  # the methods that a password is for


def authenticate(
    transport: paramiko.Transport, target: SshTarget, identities: tuple[keys.Identity, ...], password: Password | None
) -> None:
    """Log in with the first key that the host accepts, or with the password.

    Raises Refused, and Unreachable if the connection breaks.
    """
    login = _Login(transport, target, password)
    with agent_keys(target, identities) as held:
        offered = keys.offers(identities, held, target)
        for identity in islice(offered, _KEYS_BEFORE_PASSWORD if password else None):
            if login.accepts(identity):
                return
    login.with_password(identities)


class _Login:
    """One login. answers: why the host refused each key. required: what it requires after a key that it accepted."""

    def __init__(self, transport: paramiko.Transport, target: SshTarget, password: Password | None) -> None:
        self._transport, self._target, self._password = transport, target, password
        self.answers: list[str] = []
        self.required: list[str] = []

    def accepts(self, identity: keys.Identity) -> bool:
        """Try a key. Returns whether the login succeeded. Raises Refused and Unreachable if no other key can help."""
        if self.required:
            return False
        assert identity.key is not None  # noqa: S101  offers() yields nothing else
        try:
            self.required = self._transport.auth_publickey(self._target.user, identity.key)
        except paramiko.BadAuthenticationType as error:
            self.required = error.allowed_types
            self._need_password(f"it accepts no keys, only {', '.join(error.allowed_types)}")
            return False
        except (paramiko.SSHException, EOFError, OSError) as error:
            self.answers.append(f"{identity.label}: {clean(str(error).encode())}")
            if not self._transport.is_active() or "timeout" in str(error):
                raise _hung_up(self._target, self.answers) from error
            return False
        if self.required:
            self._need_password(f"it accepts the key but also requires {', '.join(self.required)}")
        return not self.required

    def _need_password(self, what: str) -> None:
        """Raise Refused unless there is a password, and the host accepts one."""
        if not _TYPED & set(self.required):
            raise _refused(self._target, f"{what}, which provisioner can't provide")
        if self._password is None:
            raise _refused(self._target, what, "run the command with --ask-password")

    def with_password(self, identities: tuple[keys.Identity, ...]) -> None:
        """Log in with the password, if there is one. Raises Refused and Unreachable."""
        if self._password is None:
            raise self._no_key(identities)
        if self._password.use(self._target.name, self._send):
            return
        refused_by = self._password.refused_by
        if refused_by == self._target.name:
            raise _refused(self._target, "\n".join([*self.answers, "the password was refused"]), "check the password")
        raise _refused(
            self._target,
            f"the password was not tried, because {refused_by} refused it",
            "check the password; hosts with other passwords need their own runs, or better keys",
        )

    def _send(self, text: str) -> bool:
        """Send the password once. Returns whether the host accepts it."""
        try:
            return not self._transport.auth_password(self._target.user, text)
        except paramiko.BadAuthenticationType as error:
            what = f"it accepts no passwords, only {', '.join(error.allowed_types)}"
            raise _refused(self._target, "\n".join([*self.answers, what])) from None
        except (paramiko.SSHException, EOFError, OSError):
            if not self._transport.is_active():  # some servers hang up after a wrong password, so it counts as refused
                self.answers.append("the host hung up")
            return False

    def _no_key(self, identities: tuple[keys.Identity, ...]) -> Refused:
        locked = [identity.label for identity in identities if identity.encrypted]
        if not self.answers and locked:
            return keys.encrypted(locked[0])
        none = "there is no key: the inventory names none, and ssh-agent and ~/.ssh have none"
        return _refused(self._target, "\n".join(self.answers) or none)


@contextlib.contextmanager
def agent_keys(target: SshTarget, identities: tuple[keys.Identity, ...]) -> Iterator[tuple[paramiko.PKey, ...]]:
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


def _refused(target: SshTarget, answer: str, cure: str = "") -> Refused:
    return Refused(
        f"the login as {target.user} is refused",
        host=target.name,
        tried=_TRIED,
        answer=answer,
        cure=cure
        or f"try it: {command_line.ssh(target)}; the public key belongs in that user's ~/.ssh/authorized_keys"
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
        tried=_TRIED,
        answer="\n".join(answers),
        cure="see sshd's log on the host (journalctl -u ssh)",
    )
