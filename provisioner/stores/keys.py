"""What an external store itself is asked and told by the controller, through one host's way to it. ZooKeeper's beside it.

Its one use is the store's lock. The locks of hosts keep two runs over one inventory apart; two inventories may share an
external store and a prefix, and would make one network twice. And who can take it may write there, which is what the
engines need: so that is known before anything is changed.
"""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlencode

from provisioner.errors import ProvisionerError, StoreError
from provisioner.stores import shapes
from provisioner.system import answers
from provisioner.system.strict import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provisioner.stores.asking import Asked

LOCK = "docker/provisioner/lock"
_OK, _CREATED, _UNAUTHORIZED, _FORBIDDEN, _MISSING, _FAILED = 200, 201, 401, 403, 404, 412


class Keys(Protocol):
    """Paths are without a slash in front. Everything raises StoreError where no server answers as it should."""

    def under(self, folder: str) -> dict[str, str]:
        """Path -> text of all that is below a folder, at any depth."""
        ...

    def hold(self, path: str, text: str, *, seconds: int, instead: str = "") -> str:
        """Have `path` hold this text if it is not there, or holds `instead`: compared and swapped by the store itself.

        It vanishes after so many seconds. "" where that is done; otherwise what it holds.
        """
        ...

    def drop(self, path: str, text: str) -> None:
        """Remove it where it holds this text."""
        ...


@dataclass(frozen=True)
class EtcdKeys:
    """etcd's v2 API; its compare-and-swap is `prevExist` and `prevValue`."""

    servers: tuple[Asked, ...]

    def under(self, folder: str) -> dict[str, str]:
        code, told = self._asked("GET", folder, recursive="true")
        return dict(leaves(told.get("node") or {})) if code == _OK else {}

    def hold(self, path: str, text: str, *, seconds: int, instead: str = "") -> str:
        before = {"prevValue": instead} if instead else {"prevExist": "false"}
        code, _ = self._asked("PUT", path, body={"value": text, "ttl": str(seconds)}, **before)
        return "" if code in {_OK, _CREATED} else self.under(path).get(path, "")

    def drop(self, path: str, text: str) -> None:
        self._asked("DELETE", path, prevValue=text)

    def _asked(
        self, method: str, path: str, body: dict[str, str] | None = None, **words: str
    ) -> tuple[int, dict[str, Any]]:
        query = f"?{urlencode(words)}" if words else ""
        code, text = _answer(self.servers, f"/v2/keys/{quote(path)}{query}", method, urlencode(body or {}))
        if code not in {_OK, _CREATED, _MISSING, _FAILED}:
            raise _refused(self.servers, code, text, "give the engines' certificate read and write under docker/ there")
        return code, _understood(self.servers, shapes.EtcdKeys, text) if code in {_OK, _CREATED} else {}


@dataclass(frozen=True)
class ConsulKeys:
    """Consul's HTTP API; what vanishes belongs to a session, and a session takes a key that no other has."""

    servers: tuple[Asked, ...]

    def under(self, folder: str) -> dict[str, str]:
        code, text = self._asked("GET", f"/v1/kv/{quote(folder)}?recurse")
        return {entry["Key"]: plain(entry.get("Value")) for entry in self._entries(text)} if code == _OK else {}

    def hold(self, path: str, text: str, *, seconds: int, instead: str = "") -> str:
        code, found = self._asked("GET", f"/v1/kv/{quote(path)}")
        there = next(iter(self._entries(found)), {}) if code == _OK else {}
        if there and plain(there.get("Value")) != instead:
            return plain(there.get("Value"))
        if there:
            self._removed(there)
        wanted = {"TTL": f"{max(10, seconds)}s", "Behavior": "delete", "LockDelay": "0s", "Name": "provisioner"}
        made = self._asked("PUT", "/v1/session/create", json.dumps(wanted))[1]
        session = _understood(self.servers, shapes.ConsulSession, made)["ID"]
        if self._asked("PUT", f"/v1/kv/{quote(path)}?acquire={session}", text)[1].strip() == "true":
            return ""
        self._asked("PUT", f"/v1/session/destroy/{session}")
        return self.under(path).get(path, "another's")

    def drop(self, path: str, text: str) -> None:
        code, found = self._asked("GET", f"/v1/kv/{quote(path)}")
        for entry in self._entries(found) if code == _OK else ():
            if plain(entry.get("Value")) == text:
                self._removed(entry)

    def _entries(self, text: str) -> list[dict[str, Any]]:
        return _understood(self.servers, list[shapes.ConsulKey] | None, text) or []

    def _removed(self, entry: dict[str, Any]) -> None:
        """With its session. One without was put back from a backup (`consul kv import`)."""
        if session := entry.get("Session"):
            self._asked("PUT", f"/v1/session/destroy/{session}")
        else:
            self._asked("DELETE", f"/v1/kv/{quote(entry['Key'])}?cas={entry.get('ModifyIndex', 0)}")

    def _asked(self, method: str, path: str, body: str = "") -> tuple[int, str]:
        code, text = _answer(self.servers, path, method, body)
        if code not in {_OK, _MISSING}:
            raise _refused(
                self.servers, code, text, "give its anonymous token write on key_prefix docker/ and session_prefix"
            )
        return code, text


def _answer(servers: Iterable[Asked], path: str, method: str, body: str) -> tuple[int, str]:
    """Of the first server that answers."""
    errors = []
    for server in servers:
        try:
            with nullcontext() if method == "GET" else server.connection.changing(lock=True):
                return server(path, method, body)
        except (OSError, ProvisionerError) as error:
            errors.append(f"{server.where}: {error}")
    raise StoreError(
        "no server of the store answers", answer="\n".join(errors), cure="look at the store, and run again"
    )


def _understood(servers: tuple[Asked, ...], shape: Any, text: str) -> Any:
    """What an answer of this shape holds. Raises StoreError."""
    try:
        return answers.parsed(shape, text)
    except ValueError as error:
        what = f"what the store answers can't be understood: {error}"
        cure = "see what listens at store.endpoints, and run again"
        raise StoreError(what, host=servers[0].connection.name, answer=shown(text), cure=cure) from None


def _refused(servers: tuple[Asked, ...], code: int, text: str, cure: str) -> StoreError:
    host, said = servers[0].connection.name, shown(text.strip(), 300)
    if code in {_UNAUTHORIZED, _FORBIDDEN}:
        return StoreError(
            "the store lets this host's engine write nothing under docker/", host=host, answer=said, cure=cure
        )
    return StoreError(
        f"the store answers with code {code}", host=host, answer=said, cure="look at the store, and run again"
    )


def leaves(node: dict[str, Any]) -> Iterable[tuple[str, str]]:
    """(path, text) of all below a node, as etcd tells them."""
    if "value" in node:
        yield node.get("key", "").strip("/"), node["value"]
    for child in node.get("nodes") or ():
        yield from leaves(child)


def plain(value: str | None) -> str:
    """A value as Consul tells it."""
    import base64

    return base64.b64decode(value or "").decode(errors="replace")  # of a shape that has been looked at
