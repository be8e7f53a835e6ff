"""Consul: how it is asked (python-consul's API, through the SSH connection) and what of it goes to a host.

Its HTTP port stays on the host's loopback: requests travel in a channel of the SSH connection that is there anyway, so
nothing listens on the controller either. Used through py-consul, the maintained continuation of python-consul.
"""

from __future__ import annotations

import atexit
import hashlib
import re
import shutil
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner.errors import ProvisionerError, StoreError, TimedOut, Unreachable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provisioner.inventory import ConsulStore
    from provisioner.transport import Connection

HTTP_PORT = 8500
UPLOADED = "/usr/local/bin/consul"
_LEADER_PATIENCE = 60.0  # seconds; an election takes 2 to 10 s on slow machines


def url(store: ConsulStore) -> str:
    """What engines put into cluster-store: always the host's own agent, Consul's way to high availability."""
    return f"consul://127.0.0.1:{HTTP_PORT}" + (f"/{store.prefix}" if store.prefix else "")


def program_path(store: ConsulStore, programs: Mapping[str, str]) -> str:
    """Where Consul is on a host, or will be. What a host tells goes into units only where it is a plain path."""
    found = programs.get("consul", "")
    if re.fullmatch(r"(/[A-Za-z0-9._-]+)+", found):
        return found
    return UPLOADED if store.binary else "/usr/bin/consul"


def client(connection: Connection) -> Any:
    """python-consul's client, whose requests go to the host's own agent. Seconds of patience for one answer: 10."""
    import consul
    import requests.adapters
    import urllib3

    class Http(urllib3.connection.HTTPConnection):
        def _new_conn(self) -> Any:
            return connection.socket(HTTP_PORT)

    class Pool(urllib3.HTTPConnectionPool):
        ConnectionCls = Http

    class Adapter(requests.adapters.HTTPAdapter):
        def init_poolmanager(self, *args: Any, **keywords: Any) -> None:
            super().init_poolmanager(*args, **keywords)
            self.poolmanager.pool_classes_by_scheme = {"http": Pool}

    api = consul.Consul(host="127.0.0.1", port=HTTP_PORT, connections_timeout=10)
    api.http.session.trust_env = False  # a proxy of the controller's has no part in this
    api.http.session.mount("http://", Adapter())
    return api


def wait_for_leader(connection: Connection, *, servers: int) -> str:
    """The leader's address, once there is one and `servers` servers take part. Raises StoreError after a minute."""
    import consul
    import requests
    import tenacity

    api = client(connection)
    seen: list[str] = []

    def leader() -> str:
        found, peers = api.status.leader(), api.status.peers()
        seen[:] = [f"leader: {found or 'none'}", f"servers in the quorum: {', '.join(peers) or 'none'}"]
        return found if len(peers) >= servers else ""

    waits = tenacity.Retrying(
        stop=tenacity.stop_after_delay(_LEADER_PATIENCE),
        wait=tenacity.wait_exponential(multiplier=0.05, max=0.5),
        retry=tenacity.retry_if_result(lambda found: not found)
        | tenacity.retry_if_exception_type((consul.ConsulException, requests.RequestException, Unreachable, TimedOut)),
    )
    try:
        return str(waits(leader))
    except tenacity.RetryError as error:
        last = error.last_attempt.exception()
        raise StoreError(
            f"Consul has no leader after {_LEADER_PATIENCE:.0f} s",
            host=connection.name,
            answer="\n".join(seen) if last is None else f"{type(last).__name__}: {last}",
            cure="see what its servers say (journalctl -u consul) and that 8300 and 8301 are open between the hosts",
        ) from None


@cache
def program(store: ConsulStore) -> tuple[Path, str]:
    """The program to upload and its SHA-256 sum, taken out of the zip where it is one. Raises ProvisionerError."""
    source = store.binary
    if source is None:
        raise ProvisionerError("no store.binary in the inventory")
    if store.sha256 and (found := _sum(source)) != store.sha256.lower():
        raise ProvisionerError(
            f"{source} has the SHA-256 sum {found}, not {store.sha256}", cure="fetch it again, or mend store.sha256"
        )
    if not zipfile.is_zipfile(source):
        return source, _sum(source)
    folder = Path(tempfile.mkdtemp(prefix="provisioner-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with zipfile.ZipFile(source) as archive:
        if "consul" not in archive.namelist():
            raise ProvisionerError(f"{source} has no file `consul`", cure="use the zip of HashiCorp's releases")
        with archive.open("consul") as packed, (folder / "consul").open("wb") as plain:
            shutil.copyfileobj(packed, plain)
    return folder / "consul", _sum(folder / "consul")


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
