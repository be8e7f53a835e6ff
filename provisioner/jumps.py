"""The forms of OpenSSH's ProxyCommand that only jump over another host."""

from __future__ import annotations

import shlex

_FLAGS = frozenset({"-q", "-T", "-x", "-a", "-A", "-C"})  # options of ssh that do not matter for a jump
_NC_FLAGS = frozenset({"-q0", "-q1", "-N", "-v"})


def as_jump(command: str) -> str:
    """The jump host of `ssh -W %h:%p [user@]bastion` or `ssh bastion nc %h %p`, in the form of ProxyJump; "" for other commands."""
    try:
        words = shlex.split(command)
    except ValueError:
        return ""
    words = words[1:] if words[:1] == ["exec"] else words
    if words[:1] not in (["ssh"], ["/usr/bin/ssh"]):
        return ""
    host, user, port, forwards, rest = "", "", "", False, words[1:]
    while rest:
        word, *rest = rest
        value = rest[0] if rest else ""
        if word == "-W" and value in {"%h:%p", "[%h]:%p"}:
            forwards, rest = True, rest[1:]
        elif word == "-l" and value:
            user, rest = value, rest[1:]
        elif word == "-p" and value:
            port, rest = value, rest[1:]
        elif word.startswith("-"):
            if word not in _FLAGS:
                return ""
        elif not host:
            host = word
        else:
            rest = [word, *rest]
            break
    if not host or forwards is bool(rest) or (rest and not _is_netcat(rest)):
        return ""
    host = f"{user}@{host}" if user and "@" not in host else host
    return f"{host}:{port}" if port else host


def _is_netcat(words: list[str]) -> bool:
    plain = [word for word in words if word not in _NC_FLAGS and word != "2>/dev/null"]
    return plain[:1] in (["nc"], ["netcat"], ["ncat"]) and plain[1:] == ["%h", "%p"]
