"""Requests to Consul through the connection to a host, with py-consul, the maintained fork of python-consul."""

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


def _verify_listener(connection: Connection | Reader) -> None:
    """Raise StoreError unless the process behind Consul's port is Consul: no other process may get a token."""
    about = Sought("none", "none", user="consul")
    script = "# checking which process listens on Consul's port\n" + reading.script(about, reading.ASKED, [LEADER])
    try:
        answer = system_facts.parse(connection.read(script).raw).http("leader")
    except ValueError as error:
        answer = system_facts.Answer(error=f"the host's answer can't be parsed: {error}")
    if not answer.code and not answer.late:  # a late answer passed the check of the process
        cure = f"check what listens on {HTTP_PORT} (ss -ltnp) and Consul's log (journalctl -u consul), then run again"
        raise StoreError(
            f"no token is sent to 127.0.0.1:{HTTP_PORT}: {answer.error}",
            cause="store-port-foreign",
            host=connection.name,
            cure=cure,
        )


def manager(cluster: Cluster, connection: Connection | Reader) -> Any:
    """Return a client with the management token. Without ACLs, no client needs a token."""
    return client(connection, security.present_management_token(cluster))


def client(connection: Connection | Reader, token: str = "") -> Any:
    """Return py-consul's client, connected to the agent on the host. Each answer may take 10 seconds."""
    import consul

    api = consul.Consul(host="127.0.0.1", port=HTTP_PORT, connections_timeout=10)
    http.mount(api.http.session, connection, HTTP_PORT)
    if token:  # as a header: with its own `token` argument, the client omits it from some requests
        _verify_listener(connection)
        api.http.session.headers["X-Consul-Token"] = token
    return api
