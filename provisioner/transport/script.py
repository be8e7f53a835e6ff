"""How a script reaches a host and runs there. Pure: texts in, texts out.

The command that sshd executes is one constant. It holds nothing of the inventory and nothing that bash, dash, fish or
csh read differently: no backslash, no exclamation mark, no newline, no single quote within its single quotes. The
script follows on stdin, after a line with its length, and runs only once all of it has arrived.

The first line that our own shell prints, on both streams, begins with a random word. What login shells print before
it is dropped. That line also tells how the script began (`Word`). On stderr it comes first, and with another word, so
that a login shell that sends stderr to stdout changes nothing in what is read from stdout.
"""

from __future__ import annotations

import base64
import secrets
import shlex
from dataclasses import dataclass
from enum import StrEnum

# `head -c` reads no byte too many, so what follows the script stays on stdin for the script itself.
_RECEIVE = (
    "LC_ALL=C; export LC_ALL; read -r n && s=$(head -c $n) && test ${#s} -eq $n || exit 97; "
    # shellcheck reads this as code, and it is: all of the script, parsed before any of it runs
    'eval "$s"'
)
_BECOME_ROOT = (
    'if test "$(id -u)" -eq 0; then eval "$0"; '
    'elif sudo -n /bin/sh -c : </dev/null >/dev/null 2>&1; then exec sudo -n /bin/sh -c "$0"; '
    'else eval "$0"; fi'
)
COMMAND = f"exec /bin/sh -c '{_BECOME_ROOT}' '{_RECEIVE}'"

INCOMPLETE = 97  # exit code of _RECEIVE when the script was cut off
FOLDER = "/run/provisioner"  # root's own, 0700, and gone with the next boot like the locks in it
STDIN_LIMIT = 4 << 20  # bytes; more than this is a file, and upload() is for files

_PRELUDE = """\
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH; unset s n CDPATH; umask 022; cd /
"""


class Word(StrEnum):
    """How a script began on the host."""

    RUN = "run"  # everything after this line is the script's own
    ROOT = "root"  # it needs root, and the user is not root and may not become it without a password
    TOOL = "tool"  # something that it needs is missing on the host: named after the word
    ODD = "odd"  # the host sent something else
    BUSY = "busy"  # a lock is held: who holds it, and since when, after the word


@dataclass(frozen=True, slots=True)
class Opening:
    """Where a script's own output begins in a stream, and what its first line said."""

    word: Word
    rest: str
    end: int


@dataclass(frozen=True, slots=True)
class Payload:
    """What is sent: `data` to stdin; the host answers with a line that begins with `nonce`."""

    nonce: str
    data: bytes


def quote(value: str) -> str:
    """Quote a value for a POSIX shell."""
    return shlex.quote(value)


def reading(script: str) -> Payload:
    """Wrap a script that changes nothing. It dies with the connection."""
    nonce = secrets.token_hex(16)
    return _payload(nonce, f"{_PRELUDE}{_begin(nonce)}\n{_block(script)}")


def rooted(script: str) -> Payload:
    """Wrap a script that needs root and, unlike `writing`, ends with the connection."""
    nonce = secrets.token_hex(16)
    return _payload(nonce, f"{_PRELUDE}{_need_root(nonce)}{_begin(nonce)}\n{_block(script)}")


def locking(script: str, owner: str, seconds: float) -> Payload:
    """Wrap a script that runs under the session lock (on descriptor 9), waiting for it up to so many seconds."""
    nonce = secrets.token_hex(16)
    return _payload(
        nonce,
        f"{_PRELUDE}{_need_root(nonce)}{_take_lock(nonce, 'session', owner, seconds)}{_begin(nonce)}\n{_block(script)}",
    )


def writing(script: str, stdin: bytes, lock_seconds: float) -> Payload:
    """Wrap a script that changes the host: one at a time on a host, and to its end once it has begun.

    A broken connection is noticed by nothing in it: its output goes to an unlinked file, and hangups are ignored.
    But while it still waits for the lock, a broken connection ends it: the opening line is printed after the lock was
    taken, and a shell that can't print it dies of SIGPIPE or stops.
    """
    if len(stdin) > STDIN_LIMIT:
        raise ValueError(f"stdin of {len(stdin)} bytes: upload() is for files")
    nonce = secrets.token_hex(16)
    source = f"printf %s {base64.b64encode(stdin).decode()} | base64 -d |" if stdin else "</dev/null"
    redirect = ">&5 2>&7 5>&- 6<&- 7>&- 8<&- 9>&-"
    inner = f"(\n:\n{script}\n)"
    run = f"{source} {inner} {redirect}" if stdin else f"{inner} {source} {redirect}"
    return _payload(
        nonce,
        f"{{\n{_PRELUDE}{_need_root(nonce)}{_take_lock(nonce, 'write', 'a script that writes', lock_seconds)}{_collect(nonce)}"
        f"trap '' HUP\n{_begin(nonce)} || exit 1\n{run}\n"
        "c=$?\nexec 9>&-\ntrap '' PIPE\ncat <&6\ncat <&8 >&2\nexit $c\n}",
    )


def opening(stream: bytes | bytearray, nonce: str) -> Opening | None:
    """Find the line with which our own output begins; None while it has not come (whole)."""
    mark = f"{nonce} ".encode()
    start = stream.find(mark)
    end = stream.find(b"\n", start + len(mark)) if start >= 0 else -1
    if end < 0:
        return None
    word, _, rest = stream[start + len(mark) : end].decode("utf-8", "replace").strip().partition(" ")
    return Opening(Word(word), rest, end + 1) if word in {*Word} else Opening(Word.ODD, word, end + 1)


def on_stderr(nonce: str) -> str:
    """The word that begins our own output on stderr."""
    return f"{nonce}-err"


def name_of(script: str) -> str:
    """Name a script in errors: by its first line if that is a comment, as its contents may hold secrets."""
    first = script.lstrip().partition("\n")[0]
    return first.lstrip("# ").strip() if first.startswith("#") and not first.startswith("#!") else ""


def _payload(nonce: str, text: str) -> Payload:
    body = text.encode()
    if b"\0" in body:
        raise ValueError("a script can't hold NUL bytes")
    return Payload(nonce, b"%d\n%s" % (len(body), body))


def _block(script: str) -> str:
    # In braces, all of it is parsed before any of it runs.
    return f"{{\n:\n{script}\n}}"


def _begin(nonce: str) -> str:
    return f"printf '%s\\n' '{on_stderr(nonce)} {Word.RUN}' >&2 && printf '%s\\n' '{nonce} {Word.RUN}'"


def _need_root(nonce: str) -> str:
    # /run belongs to root, so no other user can have created the folder, and -m sets its mode at creation.
    return (
        f'test "$(id -u)" -eq 0 || {{ echo {nonce} {Word.ROOT}; exit 96; }}\n'
        f"command -v flock >/dev/null || {{ echo {nonce} {Word.TOOL} flock; exit 96; }}\n"
        f"test -d {FOLDER} || mkdir -m 700 {FOLDER} 2>/dev/null || test -d {FOLDER} || "
        f"{{ echo {nonce} {Word.TOOL} {FOLDER}; exit 96; }}\n"
    )


def _take_lock(nonce: str, name: str, owner: str, seconds: float) -> str:
    # The file tells who holds the lock: pid, uptime in seconds when it was taken, owner. It is never removed, since
    # a lock on a removed file locks nothing. Times are the host's own uptime; /run does not outlive a boot.
    path = f"{FOLDER}/{name}.lock"
    who = quote(" ".join(owner.split()))
    busy = f'"{nonce} {Word.BUSY} $up $(cat {path})"'
    return (
        f"exec 9>>{path}\n"
        f"flock -w {max(seconds, 0.1):.1f} 9 || "
        f"{{ read -r up x </proc/uptime; printf '%s\\n' {busy}; exit 96; }}\n"
        f"read -r up x </proc/uptime; printf '%s %s %s\\n' $$ $up {who} >{path}\n"
    )


def _collect(nonce: str) -> str:
    # Output goes to unlinked files in memory. Unlike a pipe, they can't block, and they leave nothing behind.
    return (
        f'o=$(mktemp {FOLDER}/out.XXXXXXXXXX) && exec 5>"$o" 6<"$o" && rm -f "$o" && '
        f'o=$(mktemp {FOLDER}/out.XXXXXXXXXX) && exec 7>"$o" 8<"$o" && rm -f "$o" || '
        f"{{ echo {nonce} {Word.TOOL} {FOLDER}; exit 96; }}\n"
    )
