"""How it is told that a host is reached in a way that provisioner does not take. Several tools have the same ways."""

from __future__ import annotations


def command(keyword: str) -> str:
    """A host behind a program."""
    return (
        f"is reached by a {keyword}, and provisioner opens TCP connections itself:"
        " run it on a machine that reaches the host directly"
    )


KEYS_ONLY = "logs in with a password; provisioner logs in with keys only: put a public key into its authorized_keys"
SUDO_ASKS = "has a password for sudo; provisioner needs a root login or sudo without a password"
