"""HTTP to a loopback port of a host, through the SSH connection. Nothing listens on the controller."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from requests import PreparedRequest, Response, Session

    from provisioner.transport import Connection, Reader


def mount(session: Session, connection: Connection | Reader, port: int) -> None:
    """Make a session send all http:// requests to this loopback port of the host.

    Every request except GET is checked and counted as a write.
    """
    import requests.adapters
    import urllib3

    class Http(urllib3.connection.HTTPConnection):
        def _new_conn(self) -> Any:
            return connection.socket(port)

    class Pool(urllib3.HTTPConnectionPool):
        ConnectionCls = Http

    class Adapter(requests.adapters.HTTPAdapter):
        def init_poolmanager(self, *args: Any, **keywords: Any) -> None:
            super().init_poolmanager(*args, **keywords)
            self.poolmanager.pool_classes_by_scheme = {"http": Pool}

        def send(self, request: PreparedRequest, *args: Any, **keywords: Any) -> Response:
            with nullcontext() if request.method == "GET" else connection.changing():
                return super().send(request, *args, **keywords)

    session.trust_env = False  # ignore the controller's proxy settings
    session.mount("http://", Adapter())
