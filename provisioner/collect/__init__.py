"""Collects the evidence of `doctor` into one archive, without secrets, so that people who see the hosts for the first time can use it.

pieces: what is read. allowed, scrub: what is left out. host: how one host is read. capture: recorded packets. archive: the file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from provisioner.collect.archive import Archive
from provisioner.collect.scrub import Scrubber
from provisioner.model import Archived

__all__ = ["LEFT_OUT", "Archive", "Collection", "Scrubber"]

LEFT_OUT = (
    "values of environment variables and labels, commands of containers, passwords, tokens, private keys, keys of encrypted networks,"
    " and the content of packets"
)


@dataclass
class Collection:
    """The evidence of one run.

    scrub: removes the secrets that the run knows, and what looks like one. missing: host -> why its evidence is missing.
    """

    archive: Archive
    scrub: Scrubber = field(default_factory=Scrubber)
    missing: dict[str, str] = field(default_factory=dict)

    def add(self, folder: str, name: str, text: str) -> None:
        self.archive.add(folder, name, text.encode(errors="replace"))

    def finish(self, report: str) -> Archived:
        """Add the report, and give the archive its name. Raises ProvisionerError."""
        self.add("", "report.json", json.dumps(self.scrub.json(json.loads(report)), indent=2) + "\n")
        missing = "".join(f"{name}: {why}\n" for name, why in self.missing.items())
        self.add(
            "", "contents.txt", f"{_CONTENTS}Left out: {LEFT_OUT}.\n" + (f"\nMissing:\n{missing}" if missing else "")
        )
        path, size = self.archive.finish()
        return Archived(str(path), size, dict(self.missing), LEFT_OUT)


_CONTENTS = """\
Evidence of `provisioner doctor`. docs/doctor.md describes it.

report.json      what `doctor` found
store-keys.txt   the keys of the engines in the store
HOST/            one folder for each host; its notes.txt says what could not be read completely
HOST/packets.pcap   headers of packets while probes were sent, only on hosts with failed pairs

"""
