"""What engines and stores are asked."""

from __future__ import annotations

from dataclasses import dataclass

ENGINE = "/var/run/docker.sock"  # where an engine is asked


@dataclass(frozen=True)
class Request:
    """One request, by a host itself or through its connection.

    name: that of its answer. where: a socket, a port of the host, or ADDRESS:PORT.
    what: a path to ask for by HTTP, or a word that is sent as it is. None of the parts has a blank.
    through: whether the controller asks, through the host's connection, because the host can't.
    """

    name: str
    where: str
    what: str
    method: str = "GET"
    body: str = ""
    through: bool = False

    def __str__(self) -> str:
        """As facts.pl takes it."""
        words = (self.name, self.where, self.what, self.method, self.body)
        return " ".join(words[:3] if words[3:] == ("GET", "") else words).rstrip()
