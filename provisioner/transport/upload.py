"""The script that takes a large file in on a host."""

from __future__ import annotations

from provisioner.transport.script import quote

WRONG_SUM = 65  # exit code: what arrived is not what was sent


def receiving(remote: str, size: int, sha256: str, mode: int) -> str:
    """Give a script that reads `size` bytes from stdin and puts them at `remote`, whole or not at all.

    The temporary file is beside the target, so that renaming is atomic; it has its final mode before it has contents.
    A connection that breaks shows as a wrong checksum, and the temporary file goes.
    """
    folder, _, name = remote.rpartition("/")
    if not folder.startswith("/") or not name:
        raise ValueError(f"{remote}: an absolute path of a file is needed")
    return f"""\
# uploading {quote(remote).replace(chr(10), " ")}
set -e
test ! -d {quote(remote)} || {{ echo "it is a folder" >&2; exit 1; }}
t=$(mktemp {quote(f"{folder}/.{name}.")}XXXXXXXXXX)
trap 'rm -f "$t"' EXIT
trap 'exit 1' HUP INT PIPE TERM
chmod {mode:04o} "$t"
head -c {size} >"$t"
sum=$(sha256sum <"$t")
sum=${{sum%% *}}
test "$sum" = {quote(sha256.lower())} || {{ echo "checksum of what arrived: $sum" >&2; exit {WRONG_SUM}; }}
sync "$t" 2>/dev/null || sync
mv -f "$t" {quote(remote)}
trap - EXIT
"""
