"""A swarm's load balancers: virtual addresses that do not answer although the tasks do, and connections that were forgotten."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from provisioner.explain.base import few
from provisioner.model import Problem
from provisioner.observe import calls
from provisioner.system import attached, services

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from provisioner.explain.base import Seen
    from provisioner.observe.calls import Call

_ID = 9  # characters of a network's ID in the name of its load balancer's namespace: libnetwork, network.go, lbSandboxName()
_FAILS = {"silent": "got no answer", "refused": "were refused"}


def called(seen: Seen) -> Iterator[tuple[str, Call, Mapping[str, Counter[str]]]]:
    """Yield the calls that show something: host, call, and what they got. All tasks must answer, and one must accept connections."""
    made = calls.of(seen.site)
    for host, kernel in seen.observed.kernels.items():
        for call in made.get(host, ()):
            said = kernel.called.get(call.own, {})
            answers = [said.get(to, Counter[str]()) for to in call.direct]
            if (
                call.virtual in said
                and all(each and not each["silent"] for each in answers)
                and any(each["open"] for each in answers)
            ):
                yield host, call, said


def unanswered(seen: Seen) -> Iterator[Problem]:
    """Find virtual addresses that do not answer, or that refuse connections, although tasks accept them."""
    for host, call, said in called(seen):
        bad = "silent" if said[call.virtual]["silent"] else "refused"
        failed, tried = said[call.virtual][bad], said[call.virtual].total()
        # One that was not asked may be on a host that is lost: then single failures show nothing of the balancer.
        if not failed or (failed < tried and len(call.direct) < call.service.running):
            continue
        address, _, port = call.virtual.partition(":")
        evidence = (
            f"{failed} of {tried} connections from a container to {address}, port {port}, the virtual address of {call.service.name},"
            f" {_FAILS[bad]}; its tasks answer on their own addresses"
        )
        number = next(number for number, found in call.service.virtual.items() if str(found) == address)
        values = {"host": host, "service": call.service.name, "space": f"lb_{number[:_ID]}"}
        variant = "" if failed == tried else "some"
        where = f"{host}: virtual address of {call.service.name}"
        yield Problem("vip-unanswered", host, evidence, values, variant, network=call.network, where=where)


def forgotten(seen: Seen) -> Iterator[Problem]:
    """Find connections of containers to virtual addresses that the host's load balancer does not know any more."""
    listed = services.of(seen.site.facts[name] for name in seen.site.live)
    owners = {str(address): service.name for service in listed for address in service.virtual.values()}
    for host, kernel in seen.observed.kernels.items():
        balanced = {address for space in kernel.spaces.values() if space.balances for address in space.held}
        clients = {found.address: found.name for found in attached.running(seen.site.facts[host])}
        lost: dict[str, list[str]] = defaultdict(list)
        for own, port, to in kernel.forgotten:
            virtual = to.rpartition(":")[0]
            if virtual in owners.keys() & balanced and own in clients:
                lost[to].append(f"{clients[own]} from port {port}")
        for to, held in lost.items():
            service = owners[to.rpartition(":")[0]]
            many = len(held) > 1
            evidence = (
                f"{len(held)} connection{'s' * many} to {to}, the virtual address of {service}, {'are' if many else 'is'} open in"
                f" containers and unknown to the load balancer: {few(held)}"
            )
            yield Problem("ipvs-idle", host, evidence, {"service": service}, where=f"{host}: connections to {service}")


DETECTORS = (unanswered, forgotten)
