"""Requests to engines and stores."""

from __future__ import annotations

from dataclasses import dataclass

ENGINE = "/var/run/docker.sock"  # the engine's socket


@dataclass(frozen=True)
class Request:
    """One request, sent by a host, or by the controller through the host's connection.

    name: the name of the answer. where: a socket, a port of the host, or ADDRESS:PORT.
    what: an HTTP path, or a word of another protocol that is sent unchanged. No part contains a blank.
    through: whether the controller sends it through the host's connection, because the host can't.
    quick: whether it is sent before all others: a server that has kept one of those waiting is asked nothing more.
    """

    name: str
    where: str
    what: str
    method: str = "GET"
    body: str = ""
    through: bool = False
    quick: bool = False

    def __str__(self) -> str:
        """Return the request as an argument of facts.pl."""
        words = (self.name, self.where, self.what, self.method, self.body)
        return " ".join(words[:3] if words[3:] == ("GET", "") else words).rstrip()
