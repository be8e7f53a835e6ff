"""Notes about ways to reach hosts that an inventory can't express. Several importers share them."""

from __future__ import annotations


def command(keyword: str) -> str:
    """The note about a host that is reached through a program."""
    return (
        f"is reached by a {keyword}, which an inventory can't express: write it in ~/.ssh/config for the host's address"
    )


KEYS_ONLY = "uses a password: run the commands with --ask-password, or add a public key to its authorized_keys"
SUDO_ASKS = "uses a password for sudo: run the commands with --ask-sudo-password, or allow it sudo without one"
