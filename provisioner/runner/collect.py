"""Collects the evidence of all hosts into an archive. A host that does not answer is noted, and the others continue."""

from __future__ import annotations

import json
import secrets
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from provisioner import collect as collecting
from provisioner import stores
from provisioner.collect import capture, host, pieces, scrub
from provisioner.collect.allowed import STORED, kept
from provisioner.controlplane.swarm import swarm_info
from provisioner.errors import ProvisionerError
from provisioner.model import Outcome, PhaseBegan, PhaseEnded, State
from provisioner.parallel import bounded, each
from provisioner.stores.engine_keys import of_all
from provisioner.stores.keys import texts
from provisioner.system import facts as system_facts
from provisioner.system import reading
from provisioner.system.strict import json_object
from provisioner.transport import Reader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from provisioner.collect import Collection
    from provisioner.runner.run import Run
    from provisioner.transport import Connection, Stream

_AT_ONCE = 16  # hosts whose evidence is in memory
_PAIRS = 4  # failed pairs whose packets are recorded
_TRIED, _STARTED = (
    5.0,
    10.0,
)  # seconds for which their containers try to reach each other; for these containers to start
_ASKED = 3  # hosts that are asked for the keys of the store until one answers
_OK = "200 "


def collect(run: Run, collection: Collection) -> bool:
    """Collects the evidence. The run always continues. Raises ProvisionerError if the archive can't be written."""
    began, names = time.monotonic(), tuple(run.inventory.hosts)
    run.session.emit(PhaseBegan("collect", "Collect evidence", names))
    collection.scrub = collecting.Scrubber(scrub.of_run(run.session.known))
    reached = {name: connection for name, connection in run.session.connections.items() if not connection.lost}
    collection.missing = {name: _why_lost(run, name) for name in names if name not in reached}
    _record(run, collection, reached)
    order = list(reached)
    for first in range(0, len(order), _AT_ONCE):
        found = each(order[first : first + _AT_ONCE], partial(_read, run, collection))
        for name, answer in found.items():
            _write(collection, name, answer)
    _stored(run, collection, reached)
    ends = (
        Outcome(
            name,
            "collect",
            State.SKIPPED if name in collection.missing else State.SETTLED,
            reason=collection.missing.get(name, ""),
        )
        for name in names
    )
    run.session.emit(PhaseEnded("collect", tuple(ends), time.monotonic() - began))
    return True


def _why_lost(run: Run, name: str) -> str:
    lost = run.session.lost.get(name)
    return lost.text.partition("\n")[0] if lost else "the connection is lost"


def _read(run: Run, collection: Collection, name: str) -> list[tuple[str, str]]:
    run.session.progress("collect", name, "reads its evidence")
    facts = run.site.facts.get(name)
    manager = bool(facts and swarm_info(facts).get("ControlAvailable"))
    sought = run.site.backend.sought if run.site.control == "kv" else None
    units = (*sought.units, *sought.through) if sought else ()
    found = host.read(run.session.connections[name], pieces.pieces(units, manager=manager))
    return bounded("collecting its evidence", lambda _: list(host.files(found, collection.scrub)))(name)


def _write(collection: Collection, name: str, answer: list[tuple[str, str]] | ProvisionerError) -> None:
    if isinstance(answer, ProvisionerError):
        collection.missing[name] = answer.what
        answer = [("notes.txt", collection.scrub(f"not read: {answer.what}\n"))]
    for file, text in answer:
        collection.add(name, file, text)


# -- packets -------------------------------------------------------------------------------------------------------------


def _record(run: Run, collection: Collection, reached: Mapping[str, Connection]) -> None:
    """Records packets on the hosts of failed pairs, while the paths and the first network that failed are tried once more."""
    from provisioner.observe import underlay
    from provisioner.proofs import overlay

    hosts = [name for name in _failing(run) if name in reached and name in run.site.live]
    if not hosts:
        return
    port = run.inventory.data_path_port
    begun = each(hosts, lambda name: capture.begin(reached[name], port))
    streams = {name: stream for name, stream in begun.items() if not isinstance(stream, ProvisionerError)}
    say = partial(run.session.progress, "collect")
    failed = [proof.network for proof in run.proofs if not all(pair.proven for pair in proof.pairs)]
    networks = {network: secrets.token_hex(3) for network in failed[:1]}
    try:
        underlay.observe(run.site.only(hosts), reached, say, hosts)
        overlay.prove(
            run.site.only(hosts),
            reached,
            networks,
            observer=say,
            deadline=_TRIED,
            start=_STARTED,
            asked={network: [overlay.OverlayProof()] for network in networks},
        )
        for name, packets in each(streams, lambda name: capture.end(streams[name], name)).items():
            if not isinstance(packets, ProvisionerError):
                collection.archive.add(name, "packets.pcap", packets)
    finally:
        _close(streams.values())


def _close(streams: Iterable[Stream]) -> None:
    for stream in streams:
        with suppress(ProvisionerError):
            stream.__exit__()


def _failing(run: Run) -> tuple[str, ...]:
    """Returns the hosts of the first failed pairs, by the observations and the proofs."""
    from provisioner.explain.losses import lost

    paths = run.observed.underlay.paths if run.observed else {}
    ways = [way for way, path in paths.items() if any(lost(path))]
    ways += [(pair.source, pair.target) for proof in run.proofs for pair in proof.pairs if not pair.proven]
    return tuple(dict.fromkeys(name for way in list(dict.fromkeys(ways))[:_PAIRS] for name in way))


# -- the store -----------------------------------------------------------------------------------------------------------


def _stored(run: Run, collection: Collection, reached: Mapping[str, Connection]) -> None:
    """Writes the engines' keys in the store, from the first host that gets an answer."""
    if run.site.control != "kv":
        return
    errors = []
    for name in [name for name in run.site.live if name in reached][:_ASKED]:
        try:
            answer = _answer(run, name)
            collection.add("", "store-keys.txt", collection.scrub("".join(_lines(texts(answer)))))
        except (ProvisionerError, ValueError) as error:
            errors.append(f"{name}: {error.what if isinstance(error, ProvisionerError) else error}\n")
        else:
            return
    collection.add("", "store-keys.txt", collection.scrub(f"no host got the keys of the store\n{''.join(errors)}"))


def _answer(run: Run, name: str) -> str:
    """Returns the answer to a request for all keys. Raises ProvisionerError, ValueError."""
    backend, connection = run.site.backend, run.session.connections[name]
    requests = of_all(run.inventory.the_store, backend.asks_attached)
    direct, through = ([each for each in requests if each.through is value] for value in (False, True))
    said: dict[str, str] = {}
    if direct:
        script = reading.script(backend.sought, reading.ASKED, direct)
        said = {key.partition(":")[2]: text for key, text in system_facts.sections(connection.read(script).raw).items()}
    if through:
        said |= stores.of(run.inventory.the_store).ask(Reader(connection), through)
    for text in said.values():
        if text.startswith(_OK):
            return text.removeprefix(_OK)
    raise ValueError(f"the store does not answer: {' '.join(said.values())[:200]}")


def _lines(found: Mapping[str, str]) -> Iterator[str]:
    """Yields a line for each key. Values are shown only of keys whose content is known: networks, endpoints and engines."""
    for key, text in sorted(found.items()):
        if not text and key.endswith("/"):
            continue  # a folder of Consul
        if "docker/network/" in key or "docker/nodes/" in key:
            parsed = json_object(text)
            yield f"{key} = {json.dumps(kept(parsed, STORED)) if parsed else text[:_LONGEST]}\n"
        else:
            yield f"{key}\n"


_LONGEST = 1000  # characters of a value
