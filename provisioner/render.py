"""Renders templates: strict about undefined values, deterministic, and with shell quoting by default."""

from __future__ import annotations

import base64
import json
import re
import shlex
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def folder() -> Path:
    """The folder with the templates: inside an installed package, or beside the package in a checkout."""
    here = Path(__file__).parent
    shipped = here / "templates"
    return shipped if shipped.is_dir() else here.parent / "templates"


def _quoted(value: object) -> str:
    """Quotes a printed value of a script template as exactly one shell word."""
    if isinstance(value, jinja2.Undefined):
        return str(value)  # raises: StrictUndefined
    return shlex.quote(str(value))


def _words(values: Iterable[object]) -> str:
    """Quotes each value as one shell word."""
    return " ".join(_quoted(value) for value in values)


def _b64(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def _json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, indent=indent, ensure_ascii=False)


class _Words(str):
    """Quoted shell words, which are not quoted again."""

    __slots__ = ()


@cache
def _environment(*, quoting: bool) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder()),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - no HTML here; `finalize` quotes for the shell
        finalize=(lambda value: value if isinstance(value, _Words) else _quoted(value)) if quoting else None,
    )
    environment.filters |= {"b64": _b64, "json": _json, "words": lambda values: _Words(_words(values))}
    return environment


def text(template: str, **values: object) -> str:
    """Renders a file's content. Raises jinja2.UndefinedError if a value is missing."""
    return _environment(quoting=False).get_template(template).render(values)


def script(template: str, **values: object) -> str:
    """Renders a POSIX sh script. Every printed value is one quoted word; with `| words`, one word for each item."""
    return _environment(quoting=True).get_template(template).render(values)


@cache
def program(name: str) -> str:
    """Returns the text of a program in `templates/`, without the comments at its beginning."""
    return re.sub(r"\A(#.*\n)+", "", (folder() / name).read_text(encoding="utf-8"))


def filled(program: str, words: Mapping[str, str]) -> str:
    """Replaces these words in a program, all at once. Does not quote: the caller quotes the values."""
    return re.sub(rf"\b({'|'.join(words)})\b", lambda found: words[found[0]], program)


@cache
def library() -> str:
    """Returns the shell functions at the beginning of every repairing script."""
    functions, program = ((folder() / name).read_text(encoding="utf-8") for name in ("lib.sh", "files.pl"))
    return f"FILES={shlex.quote(program)}\n{functions}"


def receiving(remote: str, size: int, sha256: str, mode: int, *, recorded: bool = False) -> str:
    """Returns the script that reads a file from stdin and creates `remote` atomically.

    size: in bytes. sha256: checksum, in hexadecimal. recorded: first note the program in the host's record (`note` in
    templates/lib.sh). Raises ValueError if `remote` is not an absolute path of a file.
    """
    if not remote.startswith("/") or remote.endswith("/"):
        raise ValueError(f"{remote}: an absolute path of a file is needed")
    title = shlex.quote(remote).replace("\n", " ")
    words = shlex.join([remote, f"{mode:04o}", str(size), sha256.lower()])
    note = f"note program {shlex.quote(remote)} '' </dev/null\n" if recorded else ""
    return f"# uploading {title}\n{library()}{note}files receive {words}\n"
