"""Requests to Consul through the connection to a host, by py-consul, the maintained continuation of python-consul."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provisioner.errors import StoreError
from provisioner.stores import consul_security as security
from provisioner.stores import http
from provisioner.system import facts as system_facts
from provisioner.system import reading
from provisioner.system.reading import Sought
from provisioner.system.request import Request

if TYPE_CHECKING:
    from provisioner.stores.protocols import Cluster
    from provisioner.transport import Connection, Reader

HTTP_PORT = 8500
LEADER = Request("leader", str(HTTP_PORT), "/v1/status/leader")


def _sure(connection: Connection | Reader) -> None:
    """That Consul's port is Consul's: a token goes to nobody else. Raises StoreError."""
    about = Sought("none", "none", user="consul")
    script = "# looking who listens on Consul's port\n" + reading.script(about, reading.ASKED, [LEADER])
    try:
        answer = system_facts.parse(connection.read(script).raw).http("leader")
    except ValueError as error:
        answer = system_facts.Answer(error=f"the host's answer can't be read: {error}")
    if not answer.code and not answer.late:  # who is late was believed
        cure = f"see who listens on {HTTP_PORT} (ss -ltnp) and what Consul says (journalctl -u consul), and run again"
        raise StoreError(f"no token is sent to 127.0.0.1:{HTTP_PORT}: {answer.error}", host=connection.name, cure=cure)


def manager(cluster: Cluster, connection: Connection | Reader) -> Any:
    """A client that may do everything; without ACLs that is every client."""
    return client(connection, security.present_management_token(cluster))


def client(connection: Connection | Reader, token: str = "") -> Any:
    """py-consul's client, whose requests go to the host's own agent. Seconds of patience for one answer: 10."""
    import consul

    api = consul.Consul(host="127.0.0.1", port=HTTP_PORT, connections_timeout=10)
    http.mount(api.http.session, connection, HTTP_PORT)
    if token:  # of its own accord the client leaves it out of some requests
        _sure(connection)
        api.http.session.headers["X-Consul-Token"] = token
    return api
