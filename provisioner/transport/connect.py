"""Connects to hosts: opens TCP, checks the host's key, logs in. Retries if the server was only busy."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import paramiko
import tenacity

from provisioner.errors import HostKeyRefused, Refused, TransportError
from provisioner.transport import keys
from provisioner.transport.channels import WINDOW
from provisioner.transport.connection import Connection
from provisioner.transport.handshake import check_host_key, shake_hands
from provisioner.transport.jump import Jumps
from provisioner.transport.known_hosts import KnownHosts
from provisioner.transport.login import authenticate
from provisioner.transport.network import Busy, Closed, dial, hang_up
from provisioner.transport.secrets import NO_SECRETS, Secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from provisioner.model import CommandBegan, CommandEnded, SshTarget

_PATIENCE = 30.0  # seconds to retry a server that rejects the connection because it is busy
_IDLE = 1.0  # seconds between checks of a silent socket by paramiko's thread (its default is 0.1)
_MOMENT = 1.0  # seconds to retry a closed port, because sshd may be restarting


@dataclass(frozen=True, slots=True)
class Hooks:
    """Functions that are called with the host's name before a write is sent, and after it was answered, and with each command."""

    before_write: Callable[[str], None] | None = None
    on_write: Callable[[str], None] | None = None
    on_command: Callable[[CommandBegan | CommandEnded], None] | None = None


@dataclass(frozen=True, slots=True)
class _Login:
    """The data for one login. Most of it is loaded once and shared by all hosts."""

    known: KnownHosts
    identities: tuple[keys.Identity, ...]
    hooks: Hooks
    jumps: Jumps
    secrets: Secrets


def connect(
    target: SshTarget,
    *,
    on_retry: Callable[[str], None] | None = None,
    before_write: Callable[[str], None] | None = None,
    on_write: Callable[[str], None] | None = None,
    on_command: Callable[[CommandBegan | CommandEnded], None] | None = None,
    secrets: Secrets = NO_SECRETS,
) -> Connection:
    """Connect to one host. `on_retry` gets a short reason before each retry.

    Raises Unreachable (a dead host within connect_timeout; a busy server after 30 seconds of retries), Refused (user, key) and
    HostKeyRefused. The last two are not retried.
    """
    crowd = _Crowd(None, Hooks(before_write, on_write, on_command), secrets)
    return _persist(target, crowd.login(target), on_retry)


def connect_all(
    targets: Iterable[SshTarget],
    *,
    on_change: Callable[[str, str], None] | None = None,
    on_connected: Callable[[Connection], None] | None = None,
    before_write: Callable[[str], None] | None = None,
    on_write: Callable[[str], None] | None = None,
    on_command: Callable[[CommandBegan | CommandEnded], None] | None = None,
    secrets: Secrets = NO_SECRETS,
) -> dict[str, Connection | TransportError]:
    """Connect to all hosts at once, with a thread for each. Keys and known_hosts are loaded once.

    Returns a connection or an error for each name, in the order of `targets`. `on_change` gets a host's name and its progress,
    from several threads, and so does `on_command` the begin and the end of each command of a connection. `on_connected` gets each
    connection at once, from several threads, while others are not connected yet. Only bugs raise exceptions.
    """
    hooks = Hooks(before_write, on_write, on_command)
    return _Crowd(on_change, hooks, secrets, on_connected).connect(list(targets))


class _Crowd:
    """Connects to many hosts."""

    def __init__(
        self,
        on_change: Callable[[str, str], None] | None,
        hooks: Hooks,
        secrets: Secrets,
        on_connected: Callable[[Connection], None] | None = None,
    ) -> None:
        self._say = on_change or (lambda _name, _text: None)
        self._on_connected = on_connected or (lambda _connection: None)
        self._hooks = hooks
        self._secrets = secrets
        self._known: dict[tuple[Path, tuple[Path, ...]], KnownHosts] = {}
        self._identities: dict[object, tuple[keys.Identity, ...]] = {}
        self._ends: dict[str, Connection | TransportError] = {}
        self._bugs: list[BaseException] = []
        self._jumps = Jumps(lambda jump: _persist(jump, self._of_jump(jump), None))

    def login(self, target: SshTarget) -> _Login:
        files, named = (target.known_hosts, target.more_known), (target.key, target.keys, target.certificates)
        if named not in self._identities:
            self._identities[named] = _identities(target, self._secrets)
        if files not in self._known:
            self._known[files] = _hosts_keys(target)
        return _Login(self._known[files], self._identities[named], self._hooks, self._jumps, self._secrets)

    def _of_jump(self, jump: SshTarget) -> _Login:
        """A jump host runs no scripts, and gets no password."""
        return replace(self.login(jump), hooks=Hooks(), secrets=NO_SECRETS)

    def connect(self, targets: list[SshTarget]) -> dict[str, Connection | TransportError]:
        threads = []
        for target in targets:
            try:
                login = self.login(target)
            except TransportError as error:
                self._ends[target.name] = error
                continue
            threads.append(
                threading.Thread(target=self._one, args=(target, login), name=f"ssh {target.name}", daemon=True)
            )
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._bugs:
            for end in self._ends.values():
                if isinstance(end, Connection):
                    end.close()
            raise self._bugs[0]
        return {target.name: self._ends[target.name] for target in targets}

    def _one(self, target: SshTarget, login: _Login) -> None:
        def retry(text: str) -> None:
            self._say(target.name, text)

        try:
            connection = self._ends[target.name] = _persist(target, login, retry)
            self._say(target.name, "connected")
            self._on_connected(connection)
        except TransportError as error:
            self._ends[target.name] = error
            self._say(target.name, error.what)
        except BaseException as bug:  # noqa: BLE001  raised again in the caller's thread
            self._bugs.append(bug)


def _hosts_keys(target: SshTarget) -> KnownHosts:
    """Load the target's files of host keys. Raises HostKeyRefused."""
    path = target.known_hosts.expanduser()
    try:
        return KnownHosts(path, target.more_known)
    except OSError as error:
        raise HostKeyRefused(
            f"{error.filename or path} can't be read ({error.strerror})",
            cause="known-hosts-unusable",
            host=target.name,
            tried="reading the host keys on record",
            cure="make it readable for your user",
        ) from error


def _identities(target: SshTarget, secrets: Secrets) -> tuple[keys.Identity, ...]:
    """Load the target's keys. All errors of key files are raised here, before any connection."""
    # Without a handler for its logger, paramiko writes errors to stderr.
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    try:
        return keys.load(target, secrets.passphrases)
    except Refused as error:
        raise Refused(error.what, cause=error.cause, host=target.name, tried=error.tried, cure=error.cure) from error


def _persist(target: SshTarget, login: _Login, on_retry: Callable[[str], None] | None) -> Connection:
    """Connect with retries. Only a server that rejected the connection before the handshake is retried."""

    def again(state: tenacity.RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        patience = _PATIENCE if isinstance(error, Busy) else _MOMENT if isinstance(error, Closed) else 0.0
        return bool((state.seconds_since_start or 0.0) < patience)

    def say(state: tenacity.RetryCallState) -> None:
        if on_retry and state.outcome:
            on_retry(f"{getattr(state.outcome.exception(), 'what', '')}; trying again")

    retrying = tenacity.Retrying(
        retry=again, wait=tenacity.wait_random_exponential(multiplier=0.1, max=2.0, min=0.02), before_sleep=say
    )
    try:
        return retrying(_connect, target, login)
    except tenacity.RetryError as error:
        raise error.last_attempt.result() from error


def _connect(target: SshTarget, login: _Login) -> Connection:
    sock: Any = login.jumps.dial(target) if target.jump else dial(target)
    transport = None
    try:
        transport = paramiko.Transport(sock, default_window_size=WINDOW)
        shake_hands(transport, target, login.known)
        check_host_key(transport, target, login.known)
        authenticate(transport, target, login.identities, login.secrets.password)
    except BaseException:
        hang_up(sock, transport)
        raise
    sock.settimeout(_IDLE)
    hooks, sudo = login.hooks, login.secrets.sudo
    return Connection(
        target, transport, sock, hooks.before_write, hooks.on_write, sudo=sudo, on_command=hooks.on_command
    )
