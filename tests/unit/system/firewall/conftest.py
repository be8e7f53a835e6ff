"""Output of iptables-save and nft, captured on lab hosts."""

from pathlib import Path

import pytest

from provisioner.system.facts import Facts


@pytest.fixture
def capture():
    return lambda name: (Path(__file__).parent / "captures" / name).read_text()


@pytest.fixture
def probed(capture):
    """Return a function that reads a host's facts from a capture whose sections begin with "== NAME"."""

    def read(name):
        parts = ("\n" + capture(name)).split("\n== ")[1:]
        return Facts({section: body for section, _, body in (part.partition("\n") for part in parts)})

    return read
