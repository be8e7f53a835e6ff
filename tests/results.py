"""Records how long `doctor` took to find and to cure the lab's faults, for the table at the end of docs/causes.md.

The tests append lines to the file that PROVISIONER_RESULTS names. Then `python -m tests.results FILE` puts them into docs/results.json:
a fault that FILE names gets its new results, and all others keep theirs.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner.lab import FAULTS
from provisioner.report.results import PATH

if TYPE_CHECKING:
    from collections.abc import Mapping


def record(
    fault: str, cluster: str, what: str, *, worked: bool, seconds: float, cause: Mapping[str, Any] | None = None
) -> None:
    """Append one result. cluster: the kind of the settled cluster. what: "found" or "fixed". The machine's load is recorded, too.

    cause: what was found. If it says no command and `up` does not repair it, the cure is only words.
    """
    if path := os.environ.get("PROVISIONER_RESULTS"):
        load = round(os.getloadavg()[0], 1)
        line = {
            "fault": fault,
            "cluster": cluster,
            "what": what,
            "worked": worked,
            "seconds": round(seconds, 1),
            "load": load,
        }
        if cause:
            line["words"] = not cause["commands"] and not cause["fixable"]
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps(line)}\n")


def merged(old: dict[str, Any], lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the document with the new results. Faults that do not exist any more are left out."""
    new: dict[str, Any] = {}
    for name, fault in FAULTS.items():
        before = old.get(name, {})
        said = [line["words"] for line in lines if line["fault"] == name and "words" in line]
        entry: dict[str, Any] = {"cause": fault.cause, "words": said[-1] if said else before.get("words", False)}
        for what in ("found", "fixed"):
            entry[what] = {**before.get(what, {})}
            for cluster in {line["cluster"] for line in lines if (line["fault"], line["what"]) == (name, what)}:
                runs = [
                    line for line in lines if (line["fault"], line["what"], line["cluster"]) == (name, what, cluster)
                ]
                seconds, load = (round(statistics.median(line[key] for line in runs), 1) for key in ("seconds", "load"))
                worked = sum(line["worked"] for line in runs)
                entry[what][cluster] = {"runs": len(runs), "worked": worked, "seconds": seconds, "load": load}
        new[name] = entry
    return new


if __name__ == "__main__":
    found = [json.loads(line) for name in sys.argv[1:] for line in Path(name).read_text(encoding="utf-8").splitlines()]
    document = merged(json.loads(PATH.read_text(encoding="utf-8")) if PATH.exists() else {}, found)
    PATH.write_text(f"{json.dumps(document, indent=1, sort_keys=True)}\n", encoding="utf-8")
