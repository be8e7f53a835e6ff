"""The format of the files that provisioner writes on hosts. An older version stops at hosts with a newer format.

Raise FORMAT and SINCE when an older version would misread or undo what this one writes. A new file that older versions
ignore needs no new format.
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
    """Return the format in a host's file and the first version that knows it; None if this version knows the format.

    A file that can't be parsed was written by a version that writes it differently: ("unknown", "").
    """
    if not text.strip():
        return None
    found = _FORM.match(text)
    if not found:
        return "unknown", ""
    return (found[1], found[2]) if int(found[1]) > FORMAT else None
