"""The format of what provisioner writes on hosts, so that an older version stops where a newer one has been.

Raise FORMAT and SINCE when an older version would misread, or undo, what this one writes. Adding a file that older
versions ignore takes no new format.
"""

from __future__ import annotations

import re

from provisioner.system.owned import Owned

FORMAT = 1
SINCE = "0.1.0"  # the first version that knows FORMAT
PATH = "/etc/provisioner/version"
TEXT = f"format {FORMAT}, since provisioner {SINCE}\n"
OWNED = Owned(files=(PATH,))

_FORM = re.compile(r"format ([0-9]{1,6}), since provisioner ([0-9A-Za-z.+-]{1,40})")


def newer(text: str) -> tuple[str, str] | None:
    """The format that a host's file names and the first version that knows it, if this version does not; else None.

    What can't be understood was written by a version that writes this file in another way: ("unknown", "").
    """
    if not text.strip():
        return None
    found = _FORM.match(text)
    if not found:
        return "unknown", ""
    return (found[1], found[2]) if int(found[1]) > FORMAT else None
