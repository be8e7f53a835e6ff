"""The catalogue of causes for people and programs: the output of `provisioner causes`, and docs/causes.md.

`python -m provisioner.report.catalogue >docs/causes.md` generates the page.
"""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from typing import TYPE_CHECKING, TextIO

from provisioner import causes
from provisioner.model import Severity
from provisioner.report import results
from provisioner.report import stream as streams
from provisioner.report.document import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provisioner.causes import Cause

_EFFECTS = {  # as a word for lists, and as a sentence
    Severity.STOP: ("stops", "It stops the host or the whole run."),
    Severity.ERROR: ("fails", "A proof that finds it fails."),
    Severity.WARNING: ("warns", "It is a warning."),
}
_WIDEST = 100  # columns of text
_HEAD = """\
# Causes

Networks fail for known reasons, and so do runs. This page lists those that `provisioner` recognises, and is generated from its
catalogue (`provisioner/causes/`). `provisioner causes` lists them on a terminal, and `provisioner causes ID` explains one.

A cause that *stops* prevents changes to a host, or stops the whole run. One that *fails* is found by a proof, which then
fails. One that *warns* does not stop a run; `--ignore ID` hides it. Words in capitals stand for values that a run fills in.
The [table at the end](#tried-in-the-lab) says which causes the lab can make, and how long it took to find and to fix them.
"""


def lines(only: Cause | None = None) -> Iterable[str]:
    """Return one line for every cause, by family, or the full entry of `only`."""
    return _explained(only) if only else _listed()


def _listed() -> Iterable[str]:
    width = max(map(len, causes.CAUSES))
    for family in causes.FAMILIES:
        yield family.title
        for cause in family.causes:
            yield f"  {cause.id:<{width}}  {_EFFECTS[cause.severity][0]}  {cause.title}"
        yield ""
    yield "`provisioner causes ID` explains one; --ignore ID hides a warning"


def _explained(cause: Cause) -> Iterable[str]:
    yield f"{cause.id}: {cause.title}"
    yield from _wrapped(_effect(cause))
    yield ""
    yield from _wrapped(cause.why)
    yield ""
    first, *others = _cures(cause)
    yield from _wrapped(f"next:  {first}")
    for other in others:
        yield from _wrapped(f"or:    {other}")
    if cause.explains:
        yield from _wrapped(f"explains: {', '.join(cause.explains)}")


def _cures(cause: Cause) -> list[str]:
    """The cure and its variants. Two variants can differ in their commands alone."""
    return list(dict.fromkeys(causes.template(cure) for cure in (cause.cure, *cause.variants.values())))


def _wrapped(text: str) -> list[str]:
    columns = min(shutil.get_terminal_size((_WIDEST, 0)).columns, _WIDEST)
    return textwrap.wrap(text, columns, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)


def _effect(cause: Cause) -> str:
    """Return how the cause affects a run, in sentences."""
    parts = [_EFFECTS[cause.severity][1]]
    if cause.warns:
        parts.append(f"It is only a warning if {cause.warns}.")
    if cause.kind is causes.Kind.REFUSAL:
        parts.append("It concerns a command, not the network.")
    if cause.kind is causes.Kind.FAILURE:
        parts.append("It is an error of a run, not a cause that checks find.")
    if cause.fixable or "" in cause.by_up:
        parts.append("`provisioner up` fixes it.")
    return " ".join(parts)


def to_json(only: Cause | None = None) -> str:
    """Return one JSON document; docs/json.md describes it."""
    entries = [
        {
            "id": cause.id,
            "family": family.name,
            "title": cause.title,
            "kind": cause.kind.value,
            "severity": cause.severity.value,
            "warns": cause.warns,
            "why": cause.why,
            "cure": causes.template(cause.cure),
            "variants": {name: causes.template(cure) for name, cure in cause.variants.items()},
            "explains": list(cause.explains),
            "fixable": cause.fixable or "" in cause.by_up,
        }
        for family in causes.FAMILIES
        for cause in family.causes
        if only is None or only is cause
    ]
    return json.dumps({"version": VERSION, "causes": entries}, sort_keys=True, indent=2)


def show_causes(only: Cause | None = None, *, json: bool = False, out: TextIO | None = None) -> None:
    """Show the catalogue or one entry on `out`, by default standard output."""
    stream = streams.SafeStream(out or sys.stdout)
    stream.write(f"{to_json(only)}\n" if json else "".join(f"{line}\n" for line in lines(only)))
    stream.flush()


def page() -> str:
    """Return docs/causes.md."""
    parts = [_HEAD]
    for family in causes.FAMILIES:
        parts.append(f"## {family.title}\n")
        parts += [_section(cause) for cause in family.causes]
    return "\n".join([*parts, results.table(results.load())])


def _section(cause: Cause) -> str:
    cures = "".join(f"- {cure}\n" for cure in _cures(cause))
    explains = "".join(f"[{name}](#{name}), " for name in cause.explains).removesuffix(", ")
    return (
        f"### {cause.id}\n\n**{cause.title[0].upper()}{cause.title[1:]}.** {_effect(cause)}\n\n{cause.why}\n\n"
        f"What to do{', depending on the case' if cause.variants else ''}:\n\n{cures}"
        + (f"\nExplains: {explains}.\n" if explains else "")
    )


if __name__ == "__main__":
    print(page(), end="")
