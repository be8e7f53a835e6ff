"""Notes about ways to reach hosts that provisioner does not support. Several importers share them."""

from __future__ import annotations


def command(keyword: str) -> str:
    """The note about a host that is reached through a program."""
    return (
        f"is reached by a {keyword}, but provisioner opens TCP connections itself:"
        " run it on a machine that reaches the host directly"
    )


KEYS_ONLY = "uses a password; provisioner uses only keys: add a public key to its authorized_keys"
SUDO_ASKS = "uses a password for sudo; provisioner needs a root login or passwordless sudo"
