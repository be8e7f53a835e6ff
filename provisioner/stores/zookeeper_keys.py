"""ZooKeeper's keys, with kazoo, whose connection travels in a channel of the SSH connection to a host."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from provisioner.errors import ProvisionerError, StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from provisioner.stores.asking import HttpClient

_PATIENCE = 10.0  # seconds


@dataclass
class ZooKeeperKeys:
    """As `keys.Keys`. Held keys vanish with the session, some seconds after the controller has gone."""

    servers: Sequence[HttpClient]
    _client: Any = field(default=None, repr=False)

    def under(self, folder: str) -> dict[str, str]:
        return dict(self._call(lambda client: _leaves(client, f"/{folder}")))

    def hold(self, path: str, text: str, *, seconds: int, instead: str = "") -> str:
        from kazoo.exceptions import BadVersionError, NodeExistsError, NoNodeError

        def held(client: Any) -> str:
            with suppress(NoNodeError, BadVersionError):
                found, stat = client.get(f"/{path}")
                if found.decode(errors="replace") == instead:
                    with self._changing():
                        client.delete(f"/{path}", version=stat.version)
            try:
                with self._changing():
                    client.create(f"/{path}", text.encode(), ephemeral=True, makepath=True)
            except NodeExistsError:
                return str(client.get(f"/{path}")[0].decode(errors="replace"))
            return ""

        return str(self._call(held))

    def drop(self, path: str, text: str) -> None:
        from kazoo.exceptions import BadVersionError, NoNodeError

        def dropped(client: Any) -> None:
            with suppress(NoNodeError, BadVersionError):
                found, stat = client.get(f"/{path}")
                if found.decode(errors="replace") == text:
                    with self._changing():
                        client.delete(f"/{path}", version=stat.version)

        self._call(dropped)
        self.close()

    def may_make(self, folder: str) -> bool:
        """Whether a node may be created in the folder, or in its nearest existing parent.

        No node is created: the second half of the transaction can't succeed. ZooKeeper checks the rights first.
        """
        from kazoo.exceptions import NoAuthError

        def tried(client: Any) -> bool:
            there = f"/{folder}"
            while there and not client.exists(there):
                there = there.rpartition("/")[0]
            made = client.transaction()
            made.create(f"{there}/provisioner-rights")
            made.check("/provisioner-rights/is-nowhere", 1)
            return not any(isinstance(result, NoAuthError) for result in made.commit())

        return bool(self._call(tried))

    def close(self) -> None:
        """End the session, which removes the keys that it holds."""
        if self._client is not None:
            self._client.stop()
            self._client.close()
            self._client = None

    def _changing(self) -> AbstractContextManager[None]:
        return self.servers[0].connection.changing(lock=True)

    def _call(self, what: Any) -> Any:
        from kazoo.exceptions import KazooException, NoAuthError
        from kazoo.handlers.threading import KazooTimeoutError

        try:
            if self._client is None:
                self._client = _client(self.servers)
                self._client.start(timeout=_PATIENCE)
            return what(self._client)
        except NoAuthError as error:
            raise StoreError(
                "the store denies write access under docker/",
                cause="store-forbidden",
                answer=str(error),
                cure="correct its access control lists",
            ) from None
        except (KazooException, KazooTimeoutError) as error:
            said = f"{type(error).__name__}: {error}"
            raise StoreError(
                "no server of the store answers",
                cause="store-unreachable",
                answer=said,
                cure="check the store, then run again",
            ) from None


def _client(servers: Sequence[HttpClient]) -> Any:
    """Return kazoo's client. Its ports are indexes of `servers`, because only the host can resolve their names.

    Kazoo's log is discarded: it would print a traceback for each answer that it can't parse.
    """
    from kazoo.client import KazooClient
    from kazoo.handlers.threading import SequentialThreadingHandler

    log = logging.getLogger("kazoo")
    log.addHandler(logging.NullHandler())
    log.propagate = False

    class Handler(SequentialThreadingHandler):  # type: ignore[misc]
        def create_connection(self, *_: Any, address: tuple[str, int], **__: Any) -> Any:
            server = servers[address[1] - 1]
            host, port = server.where.rsplit(":", 1)
            try:
                return server.connection.socket(int(port), host, timeout=_PATIENCE)
            except ProvisionerError as error:
                raise OSError(error.what) from None

        def select(self, read: Any, write: Any, *rest: Any) -> Any:
            """A channel's descriptor only shows when data can be read, so writing is always possible."""
            return ([], write, []) if write else super().select(read, write, *rest)

    places = ",".join(f"127.0.0.1:{number}" for number in range(1, len(servers) + 1))
    return KazooClient(places, timeout=_PATIENCE, handler=Handler(), randomize_hosts=False)


def _leaves(client: Any, path: str) -> list[tuple[str, str]]:
    from kazoo.exceptions import NoNodeError

    found, left = [], [path]
    while left:
        path = left.pop()
        try:
            text, stat = client.get(path)
            left += [f"{path}/{name}" for name in client.get_children(path)] if stat.numChildren else []
        except NoNodeError:
            continue
        found += [(path.strip("/"), text.decode(errors="replace"))] if text else []
    return found
