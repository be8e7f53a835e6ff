"""Values from the environment (`!env NAME`) or from a file (`!file PATH`).

They are private: no message shows one, not even in part.
"""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from provisioner.inventory.problems import code, escaped, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

TAGS: Final = ("!env", "!file")
LARGEST: Final = 64 * 1024  # bytes of a file that holds one value
STAND_IN: Final = "?/?\n"
"""A text that every check of a single value refuses. Its error is reported in place of a hidden value's error."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # the names that a POSIX shell can export
_WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,8})")
_BROKEN = re.compile(r"-?[0-9]{1,9}\.[0-9]{1,9}")


class Outside(str):
    """An external string. Checks of numbers and booleans convert it with `typed`."""

    __slots__ = ()


class NoValue(Exception):
    """There is no value; the text says why and what to do."""


def source(tag: str, word: str) -> str:
    """The source of a value, for messages."""
    name = code(word)
    return f"`{tag} {word}`" if name == f"`{word}`" else f"{tag} {name}"


def fetch(tag: str, word: str, folder: Path, environ: Mapping[str, str]) -> Outside:
    """Return the value of `!env NAME` or `!file PATH`. A relative path starts at `folder`, and ~ is the user's home.

    Raises NoValue. A newline at the end of a file is not part of the value, because editors and `echo` add it.
    """
    value = _variable(word, environ) if tag == "!env" else _contents(word, folder)
    if not value:
        raise NoValue(f"the {'variable' if tag == '!env' else 'file'} is empty")
    return Outside(value)


def typed(value: object) -> object:
    """Convert an external string to the number or boolean that it would be in the file; keep other values."""
    if not isinstance(value, Outside):
        return value
    if _WHOLE.fullmatch(value):
        return int(value)
    if _BROKEN.fullmatch(value):
        return float(value)
    return {"true": True, "false": False}.get(value.lower(), value)


def _variable(name: str, environ: Mapping[str, str]) -> str:
    if not _NAME.fullmatch(name):
        raise NoValue("write the name of an environment variable (letters, digits and `_`): `!env SSH_USER`")
    if name not in environ:
        raise NoValue(f"the environment variable is not set; `export {name}=...` before the run")
    return environ[name]


def _contents(word: str, folder: Path) -> str:
    path = _path(word, folder)
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):  # a pipe would wait for its writer, a device might never end
            raise NoValue("is a folder, not a file" if stat.S_ISDIR(mode) else "is not an ordinary file")
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        text = data.decode("utf-8")
    except FileNotFoundError:
        raise NoValue(f"{shown(str(path), 200)} does not exist") from None
    except UnicodeDecodeError:
        raise NoValue("the file is not UTF-8 text") from None
    except (OSError, ValueError) as error:
        raise NoValue(f"can't be read: {escaped(getattr(error, 'strerror', None) or 'no usable path')}") from None
    if len(data) > LARGEST:
        raise NoValue(f"the file is larger than {LARGEST // 1024} KiB; it must hold one value")
    return text.removesuffix("\n").removesuffix("\r")


def _path(word: str, folder: Path) -> Path:
    if not word or not word.isprintable():
        raise NoValue("write the path of a file: `!file secrets/user`")
    try:
        return Path(folder, Path(word).expanduser()).absolute()
    except RuntimeError:
        raise NoValue("this home folder does not exist") from None
