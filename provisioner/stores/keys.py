"""The controller's access to the keys of an external store, over one host's path. ZooKeeper's is in zookeeper_keys.py.

It is used only for the store's lock. The locks on hosts keep runs over the same inventory apart. Two inventories may
share an external store and a prefix, though, and could create the same network twice. Taking the lock also proves
that engines may write to the store, before anything is changed.
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
from provisioner.system.strict import shown, value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provisioner.stores.asking import HttpClient

LOCK = "docker/provisioner/lock"
_OK, _CREATED, _UNAUTHORIZED, _FORBIDDEN, _MISSING, _FAILED = 200, 201, 401, 403, 404, 412


class Keys(Protocol):
    """Keys of a store. Paths have no leading slash. All methods raise StoreError if no server gives a valid answer."""

    def under(self, folder: str) -> dict[str, str]:
        """Return path -> text of all keys below a folder, at any depth."""
        ...

    def hold(self, path: str, text: str, *, seconds: int, instead: str = "") -> str:
        """Set `path` to this text if it does not exist or contains `instead`. The store compares and swaps atomically.

        The key expires after `seconds`. Returns "" on success, otherwise the text that the key contains.
        """
        ...

    def drop(self, path: str, text: str) -> None:
        """Remove the key if it contains this text."""
        ...


@dataclass(frozen=True)
class EtcdKeys:
    """etcd's v2 API; its compare-and-swap is `prevExist` and `prevValue`."""

    servers: tuple[HttpClient, ...]

    def under(self, folder: str) -> dict[str, str]:
        code, answer = self._request("GET", folder, recursive="true")
        return dict(leaves(answer.get("node") or {})) if code == _OK else {}

    def hold(self, path: str, text: str, *, seconds: int, instead: str = "") -> str:
        before = {"prevValue": instead} if instead else {"prevExist": "false"}
        code, _ = self._request("PUT", path, body={"value": text, "ttl": str(seconds)}, **before)
        return "" if code in {_OK, _CREATED} else self.under(path).get(path, "")

    def drop(self, path: str, text: str) -> None:
        self._request("DELETE", path, prevValue=text)

    def _request(
        self, method: str, path: str, body: dict[str, str] | None = None, **words: str
    ) -> tuple[int, dict[str, Any]]:
        query = f"?{urlencode(words)}" if words else ""
        code, text = _answer(self.servers, f"/v2/keys/{quote(path)}{query}", method, urlencode(body or {}))
        if code not in {_OK, _CREATED, _MISSING, _FAILED}:
            raise _refused(
                self.servers, code, text, "give the engines' certificate read and write access under docker/"
            )
        return code, _parsed(self.servers, shapes.EtcdKeys, text) if code in {_OK, _CREATED} else {}


@dataclass(frozen=True)
class ConsulKeys:
    """Consul's HTTP API. A key that expires is bound to a session; one key belongs to at most one session."""

    servers: tuple[HttpClient, ...]

    def under(self, folder: str) -> dict[str, str]:
        code, text = self._request("GET", f"/v1/kv/{quote(folder)}?recurse")
        return {entry["Key"]: plain(entry.get("Value")) for entry in self._entries(text)} if code == _OK else {}

    def hold(self, path: str, text: str, *, seconds: int, instead: str = "") -> str:
        code, found = self._request("GET", f"/v1/kv/{quote(path)}")
        there = next(iter(self._entries(found)), {}) if code == _OK else {}
        if there and plain(there.get("Value")) != instead:
            return plain(there.get("Value"))
        if there:
            self._remove(there)
        wanted = {"TTL": f"{max(10, seconds)}s", "Behavior": "delete", "LockDelay": "0s", "Name": "provisioner"}
        made = self._request("PUT", "/v1/session/create", json.dumps(wanted))[1]
        session = _parsed(self.servers, shapes.ConsulSession, made)["ID"]
        if self._request("PUT", f"/v1/kv/{quote(path)}?acquire={session}", text)[1].strip() == "true":
            return ""
        self._request("PUT", f"/v1/session/destroy/{session}")
        return self.under(path).get(path, "unknown")

    def drop(self, path: str, text: str) -> None:
        code, found = self._request("GET", f"/v1/kv/{quote(path)}")
        for entry in self._entries(found) if code == _OK else ():
            if plain(entry.get("Value")) == text:
                self._remove(entry)

    def _entries(self, text: str) -> list[dict[str, Any]]:
        return _parsed(self.servers, list[shapes.ConsulKey] | None, text) or []

    def _remove(self, entry: dict[str, Any]) -> None:
        """Remove the key with its session. A key without one was restored from a backup (`consul kv import`)."""
        if session := entry.get("Session"):
            self._request("PUT", f"/v1/session/destroy/{session}")
        else:
            self._request("DELETE", f"/v1/kv/{quote(entry['Key'])}?cas={entry.get('ModifyIndex', 0)}")

    def _request(self, method: str, path: str, body: str = "") -> tuple[int, str]:
        code, text = _answer(self.servers, path, method, body)
        if code not in {_OK, _MISSING}:
            raise _refused(
                self.servers,
                code,
                text,
                "give its anonymous token write access to key_prefix docker/ and session_prefix",
            )
        return code, text


def _answer(servers: Iterable[HttpClient], path: str, method: str, body: str) -> tuple[int, str]:
    """Return the answer of the first server that gives one. Raises StoreError."""
    errors = []
    for server in servers:
        try:
            with nullcontext() if method == "GET" else server.connection.changing(lock=True):
                return server(path, method, body)
        except (OSError, ProvisionerError) as error:
            errors.append(f"{server.where}: {error}")
    raise StoreError(
        "no server of the store answers",
        cause="store-unreachable",
        answer="\n".join(errors),
        cure="check the store, then run again",
    )


def _parsed(servers: tuple[HttpClient, ...], shape: Any, text: str) -> Any:
    """Parse an answer of this shape. Raises StoreError."""
    try:
        return answers.parsed(shape, text)
    except ValueError as error:
        what = f"the store's answer can't be parsed: {error}"
        cure = "check what listens at store.endpoints, then run again"
        raise StoreError(
            what, cause="malformed-answer", host=servers[0].connection.name, answer=shown(text), cure=cure
        ) from None


def _refused(servers: tuple[HttpClient, ...], code: int, text: str, cure: str) -> StoreError:
    host, said = servers[0].connection.name, shown(text.strip(), 300)
    if code in {_UNAUTHORIZED, _FORBIDDEN}:
        return StoreError(
            "the store denies this host's engine write access under docker/",
            cause="store-forbidden",
            host=host,
            answer=said,
            cure=cure,
        )
    return StoreError(
        f"the store answers with HTTP status {code}",
        cause="store-refuses",
        host=host,
        answer=said,
        cure="check the store, then run again",
    )


def leaves(node: dict[str, Any]) -> Iterable[tuple[str, str]]:
    """Yield (path, text) of all keys below a node of etcd's v2 API."""
    if "value" in node:
        yield node.get("key", "").strip("/"), node["value"]
    for child in node.get("nodes") or ():
        yield from leaves(child)


def plain(value: str | None) -> str:
    """Decode a value from Consul."""
    import base64

    return base64.b64decode(value or "").decode(errors="replace")  # checked by its shape before


def texts(answer: str) -> dict[str, str]:
    """Return path -> text of the keys in the answer of any kind of store to a request for all keys. Raises ValueError."""
    found = value(answer)
    if isinstance(found, list):
        return {
            str(entry["Key"]): plain(entry.get("Value")) for entry in answers.checked(list[shapes.ConsulKey], found)
        }
    if isinstance(found, dict) and isinstance(found.get("node"), dict):
        return dict(leaves(answers.checked(shapes.EtcdKeys, found).get("node") or {}))
    return dict(answers.checked(shapes.Texts, found))
