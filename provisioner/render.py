"""Templates to texts: strict about what is undefined, deterministic, and quoting by default for the shell."""

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
    """Where the templates are: inside an installed package, or beside the package in a checkout."""
    here = Path(__file__).parent
    shipped = here / "templates"
    return shipped if shipped.is_dir() else here.parent / "templates"


def _quoted(value: object) -> str:
    """Every value that a script template prints becomes exactly one word of the shell's."""
    if isinstance(value, jinja2.Undefined):
        return str(value)  # raises: StrictUndefined
    return shlex.quote(str(value))


def _words(values: Iterable[object]) -> str:
    """Several values as several words; the only filter whose result is not quoted again."""
    return " ".join(_quoted(value) for value in values)


def _b64(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def _json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, indent=indent, ensure_ascii=False)


class _Words(str):
    """Text that is already shell words."""

    __slots__ = ()


@cache
def _environment(*, quoting: bool) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder()),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - no HTML here; the shell's quoting is in finalize
        finalize=(lambda value: value if isinstance(value, _Words) else _quoted(value)) if quoting else None,
    )
    environment.filters |= {"b64": _b64, "json": _json, "words": lambda values: _Words(_words(values))}
    return environment


def text(template: str, **values: object) -> str:
    """A file's content. Raises jinja2.UndefinedError where a value is missing."""
    return _environment(quoting=False).get_template(template).render(values)


def script(template: str, **values: object) -> str:
    """A POSIX sh script in which every printed value is one quoted word (`| words`: one word for each item)."""
    return _environment(quoting=True).get_template(template).render(values)


@cache
def program(name: str) -> str:
    """A program as it is in its file, without the comments at its beginning."""
    return re.sub(r"\A(#.*\n)+", "", (folder() / name).read_text(encoding="utf-8"))


def filled(program: str, words: Mapping[str, str]) -> str:
    """A program with each of these words replaced, all at once. Nothing is quoted: whoever gives a value does that."""
    return re.sub(rf"\b({'|'.join(words)})\b", lambda found: words[found[0]], program)


@cache
def library() -> str:
    """The shell functions that every repairing script begins with."""
    functions, program = ((folder() / name).read_text(encoding="utf-8") for name in ("lib.sh", "files.pl"))
    return f"FILES={shlex.quote(program)}\n{functions}"


def receiving(remote: str, size: int, sha256: str, mode: int, *, recorded: bool = False) -> str:
    """The script that reads a file of so many bytes from stdin and puts it at `remote`, whole or not at all.

    recorded: whether the host's record gets a line about the program first (`note` in templates/lib.sh).
    """
    if not remote.startswith("/") or remote.endswith("/"):
        raise ValueError(f"{remote}: an absolute path of a file is needed")
    title = shlex.quote(remote).replace("\n", " ")
    words = shlex.join([remote, f"{mode:04o}", str(size), sha256.lower()])
    note = f"note program {shlex.quote(remote)} '' </dev/null\n" if recorded else ""
    return f"# uploading {title}\n{library()}{note}files receive {words}\n"
