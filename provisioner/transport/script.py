"""How a script is sent to a host and runs there. Pure: strings in, strings out.

sshd executes a constant command. It contains nothing of the inventory, and nothing that bash, dash, fish and csh interpret
differently: no backslash, exclamation mark, newline, or single quote within its single quotes. The script follows on stdin,
after a line with its length. It runs only after all of it has arrived.

On both streams, the script's shell first prints an opening line that begins with a random word. Everything that login shells
print before it is dropped. The opening line also says whether the script runs (`Word`). On stderr it is printed earlier and with
a different word. So a login shell that redirects stderr to stdout does not change what is read from stdout.
"""

from __future__ import annotations

import base64
import secrets
import shlex
from dataclasses import dataclass
from enum import StrEnum

# `head -c` reads exactly this many bytes, so that the data after the script stays on stdin for the script.
_RECEIVE = (
    "LC_ALL=C; export LC_ALL; read -r n && s=$(head -c $n) && test ${#s} -eq $n || exit 97; "
    # eval parses the whole script before any of it runs
    'eval "$s"'
)
_RUNS = "LC_ALL=C sudo -n /bin/sh -c : 2>&1 </dev/null"  # prints why sudo does not run scripts without a password
# sudoers may require a terminal (`requiretty`). sudo must have one, but need not use it: `script` creates it, and what runs there
# gets SSH's pipes back as its streams. So the terminal changes no byte of them.
_ON_TERMINAL = (
    'case $m in *"have a tty"*) command -v script >/dev/null && { SHELL=/bin/sh; export SHELL c; '
    'exec 3<&0 4>&1 5>&2; exec script -qec "$1" /dev/null </dev/null >/dev/null 2>&1; }; esac'
)
_STREAMS = "exec <&3 >&4 2>&5 3<&- 4>&- 5>&-"


def _becoming_root(before: str, otherwise: str) -> str:
    """The command that runs _RECEIVE as root. before: precedes it. otherwise: runs it, in $c, if sudo asks for a password."""
    sudo = f'm=$({_RUNS}); then exec sudo -n /bin/sh -c "$c"'
    outside = (
        f'c="{before}$0"; if test "$(id -u)" -eq 0; then eval "$c"; elif {sudo}; else {_ON_TERMINAL}; {otherwise}; fi'
    )
    return f"exec /bin/sh -c '{outside}' '{_RECEIVE}' '{_STREAMS}; if {sudo}; else {otherwise}; fi'"


COMMAND = _becoming_root("", 'eval "$c"')

# The same, where sudo may ask for a password. It is sent only after the prompt, and the script only after READY: otherwise sudo
# would read the script as further attempts. -k ignores an earlier password, so that sudo asks or fails.
READY, PROMPT = "provisioner-is-ready", "provisioner-asks-for-a-password"
COMMAND_WITH_PASSWORD = _becoming_root(f"echo {READY} >&2; ", f'exec sudo -k -S -p {PROMPT} /bin/sh -c "$c"')

INCOMPLETE = 97  # exit code of _RECEIVE when the script was cut off
FOLDER = "/run/provisioner"  # belongs to root, mode 0700; a reboot removes it and its locks
STDIN_LIMIT = 4 << 20  # bytes; use upload() for more

_PRELUDE = """\
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; export PATH; unset s n CDPATH; umask 022; cd /
"""


class Word(StrEnum):
    """The start of a script on the host: it runs, or why it does not."""

    RUN = "run"  # everything after this line is the script's output
    ROOT = "root"  # the script needs root, and the user can't become root without a password
    TOOL = "tool"  # the host lacks something that the script needs; its name follows
    ODD = "odd"  # the host sent something else
    BUSY = "busy"  # a lock is held; its holder and the time follow


@dataclass(frozen=True, slots=True)
class Opening:
    """A parsed opening line. rest: the text after the word. end: where the script's output begins in the stream."""

    word: Word
    rest: str
    end: int


@dataclass(frozen=True, slots=True)
class Payload:
    """The data to send to stdin. The host's opening line begins with `nonce`."""

    nonce: str
    data: bytes


def quote(value: str) -> str:
    """Quote a value for a POSIX shell."""
    return shlex.quote(value)


def reading(script: str) -> Payload:
    """Wrap a script that changes nothing. It ends with the connection."""
    nonce = secrets.token_hex(16)
    return _payload(nonce, f"{_PRELUDE}{_begin(nonce)}\n{_block(script)}")


def rooted(script: str) -> Payload:
    """Wrap a script that needs root and, unlike `writing`, ends with the connection."""
    nonce = secrets.token_hex(16)
    return _payload(nonce, f"{_PRELUDE}{_need_root(nonce)}{_begin(nonce)}\n{_block(script)}")


def locking(script: str, owner: str, seconds: float) -> Payload:
    """Wrap a script that holds the session lock (on descriptor 9), and waits for it up to this many seconds."""
    nonce = secrets.token_hex(16)
    return _payload(
        nonce,
        f"{_PRELUDE}{_need_root(nonce)}{_take_lock(nonce, 'session', owner, seconds)}{_begin(nonce)}\n{_block(script)}",
    )


def writing(script: str, stdin: bytes, lock_seconds: float) -> Payload:
    """Wrap a script that changes the host: one at a time on a host, and to its end once it has started.

    A broken connection does not affect it: its output goes to an unlinked file, and SIGHUP is ignored. But while it still waits
    for the lock, a broken connection ends it: the shell prints the opening line after it has taken the lock, and if it can't,
    it stops or dies of SIGPIPE.
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
    """Find the opening line in a stream; None if it has not arrived completely."""
    mark = f"{nonce} ".encode()
    start = stream.find(mark)
    end = stream.find(b"\n", start + len(mark)) if start >= 0 else -1
    if end < 0:
        return None
    word, _, rest = stream[start + len(mark) : end].decode("utf-8", "replace").strip().partition(" ")
    return Opening(Word(word), rest, end + 1) if word in {*Word} else Opening(Word.ODD, word, end + 1)


def on_stderr(nonce: str) -> str:
    """The word that begins the opening line on stderr."""
    return f"{nonce}-err"


def name_of(script: str) -> str:
    """A script's name for errors: its first line if that is a comment. The rest may contain secrets."""
    first = script.lstrip().partition("\n")[0]
    return first.lstrip("# ").strip() if first.startswith("#") and not first.startswith("#!") else ""


def _payload(nonce: str, text: str) -> Payload:
    body = text.encode()
    if b"\0" in body:
        raise ValueError("a script can't contain NUL bytes")
    return Payload(nonce, b"%d\n%s" % (len(body), body))


def _block(script: str) -> str:
    # In braces, the whole script is parsed before any of it runs.
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
    # The file identifies the lock's holder: PID, uptime in seconds when the lock was taken, owner. It is never removed, because
    # a lock on a removed file locks nothing. Times are the host's uptime, because /run does not survive a reboot.
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
