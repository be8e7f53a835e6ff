"""What engines say names a cause only if something is wrong now. Lines are from real engines, as moby's issues quote them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from captured import with_http
from scenes import GOSSIP, SILENT, failed, healthy, into, with_kernel, with_ways

from provisioner import causes
from provisioner.explain import explain, problems
from provisioner.explain.messages import MEANINGS
from provisioner.model import Problem
from provisioner.observe.kernel import Said

PROBE = Problem("probe-failed", "node2", "exit code 125", network="demo")
APART = Problem("engines-apart", "node2", "it does not know node1", {"reunion": "x"}, network="demo")
CLEAR = Problem("packets-readable", "node2", "packets are not encrypted", network="demo")
ANSWER = "Error response from daemon: "
LINES = {
    Said.NO_ADDRESS: f"{ANSWER}no available IPv4 addresses on this network's address pools: demo (774f09dcd7)",
    Said.NO_ADDRESS_LEFT: 'level=error msg="task allocation failure" error="failed to allocate network IP for task y network 2r: could'
    ' not find an available IP" module=node',
    Said.ADDRESS_TAKEN: f"{ANSWER}Address already in use.",
    Said.BRIDGE_FULL: f'{ANSWER}error setting interface "vethe1e64f7" master to "br0": exchange full',
    Said.VXLAN_EXISTS: f"{ANSWER}error creating vxlan interface: file exists.",
    Said.NO_VXLAN: f"{ANSWER}error creating vxlan interface: operation not supported",
    Said.NO_MARK: 'level=warning msg="could not install mangle rule:  (iptables failed: iptables --wait -t mangle -A OUTPUT -p udp'
    " --dport 4789 -m u32 --u32 0>>22&0x3C@12&0xFFFFFF00=1048832 -j MARK --set-mark 13681891: iptables v1.8.4 (nf_tables): Couldn't"
    " load match `u32':No such file or directory\"",
    Said.GOSSIP_TAKEN: 'level=error msg="initializing serf instance failed: failed to create cluster node: Failed to create memberlist: Could'
    ' not set up network transport: failed to obtain an address: Failed to start TCP listener on \\"192.168.56.12\\" port 7946: listen'
    ' tcp 192.168.56.12:7946: bind: address already in use"',
    Said.MANAGER_TAKEN: 'level=fatal msg="Error creating cluster component: failed to listen on remote API address: listen tcp'
    ' 0.0.0.0:2377: bind: address already in use"',
    Said.VXLAN_TAKEN: f'{ANSWER}vxlan interface creation failed for subnet "10.99.0.0/24": failed to set link up: address already in use',
    Said.STATE_TOO_LARGE: 'level=warning msg="memberlist: failed to receive: Remote node state is larger than limit (10595379)'
    ' from=10.254.11.132:35596"',
    Said.NAME_LOST: 'level=warning msg="2017/03/08 10:00:00 [WARN] serf: minority in name conflict resolution, quiting [1 / 2]"',
    Said.FLAG_CONFLICT: "unable to configure the Docker daemon with file /etc/docker/daemon.json: the following directives are"
    " specified both as a flag and in the configuration file: hosts: (from flag: [fd://], from file: [unix:///run/docker.sock])",
    Said.DISK_FULL: f"{ANSWER}write /var/lib/docker/containers/98b90e03c31f/.tmp-config.v2.json680739970: no space left on device.",
    Said.FILES: "the engine can't import the probe's image (open /var/lib/docker/overlay2/8ad026b67ee0/lower: too many open files)",
    Said.TASKS: f"{ANSWER}fork/exec /usr/bin/containerd-shim-runc-v2: resource temporarily unavailable: unknown.",
    Said.THREADS: "the engine can't import the probe's image (Error processing tar file(exit status 2): runtime/cgo: pthread_create"
    " failed: Resource temporarily unavailable)",
    Said.MEMORY: f"{ANSWER}fork/exec /proc/self/exe: cannot allocate memory: unknown.",
    Said.READ_ONLY: f"{ANSWER}mkdir /var/lib/docker/overlay2/8ad026b67ee0-init: read-only file system.",
    Said.NO_PROGRAM: f"{ANSWER}OCI runtime create failed: unable to retrieve OCI runtime error (open /run/containerd/log.json: no such file"
    ' or directory): exec: "runc": executable file not found in $PATH',
    Said.NO_SHIM: f"{ANSWER}: fork/exec /usr/bin/containerd-shim-runc-v2: no such file or directory: unknown.",
    Said.LIVE_RESTORE: 'level=fatal msg="Error creating cluster component: --live-restore daemon configuration is incompatible with'
    ' swarm mode"',
}
SYMPTOMS = {"probe-failed": PROBE, "engines-apart": APART, "packets-readable": CLEAR}


def stopped(seen, name="node2"):
    facts = seen.site.facts[name]
    return replace(seen, site=seen.site.known(name, replace(facts, raw={**facts.raw, "http:info": "000 no answer"})))


def encrypted(seen):
    networks = seen.site.inventory.networks
    changed = {**networks, "demo": networks["demo"].model_copy(update={"encrypted": True})}
    proofs = tuple(replace(proof, mtu=1424) for proof in seen.proofs)  # ESP needs room, too
    site = replace(seen.site, inventory=seen.site.inventory.model_copy(update={"networks": changed}))
    return replace(seen, site=site, proofs=proofs)


def with_log(seen, name, *lines):
    return with_kernel(seen, name, "engine-log", lambda _: "".join(f"{line}\n" for line in lines))


def small(seen):
    """The same cluster with a subnet of 5 addresses for containers, of which 3 are in use."""
    for name, facts in seen.site.facts.items():
        networks = [
            {**each, "IPAM": {"Config": [{"Subnet": "10.99.0.0/29"}]}} if each["Name"] == "demo" else each
            for each in facts.networks.values()
        ]
        seen = replace(seen, site=seen.site.known(name, with_http(facts, "networks", networks)))
    return seen


def wrong(seen, said):
    """The cluster with a symptom that this text explains."""
    seen = small(seen) if MEANINGS[said].anywhere else seen
    name = next((name for name in SYMPTOMS if name in MEANINGS[said].symptoms), "")
    return failed(seen, ("node1", "node2"), problem=SYMPTOMS[name]) if name else stopped(seen)


def test_a_lack_of_addresses_is_not_blamed_on_a_network_that_has_many(site):
    seen = failed(healthy(site), ("node1", "node2"), problem=PROBE)
    logged = with_log(seen, "node2", LINES[Said.NO_ADDRESS_LEFT])
    assert "subnet-full" not in {each.id for each in problems(logged)}


def test_every_text_has_a_meaning_and_a_line():
    assert set(Said) == set(MEANINGS) == set(LINES)
    for said, line in LINES.items():
        assert [other for other in Said if other in line] == [said]


LOGGED = [said for said in Said if MEANINGS[said].logged]


@pytest.mark.parametrize("said", LOGGED)
def test_a_line_of_the_log_explains_what_is_wrong(site, said):
    found = explain(with_log(wrong(encrypted(healthy(site)), said), "node2", LINES[said]))
    assert [each.id for each in found] == [MEANINGS[said].cause]
    (problem,) = found[0].problems
    assert said in problem.evidence
    assert len(problem.evidence) < 300
    assert causes.cure(problem)


@pytest.mark.parametrize("said", Said)
def test_an_old_line_means_nothing_where_all_is_well(site, said):
    seen = encrypted(healthy(site))
    assert not problems(with_log(seen, "node2", LINES[said]))
    elsewhere = with_log(wrong(seen, said), "node3", LINES[said])
    known = {MEANINGS[said].cause} & {problem.id for problem in problems(elsewhere)}
    assert known == ({MEANINGS[said].cause} if MEANINGS[said].anywhere else set())


@pytest.mark.parametrize("said", [said for said in Said if said not in LOGGED])
def test_a_limit_counts_only_in_the_error_of_a_probe(site, said):
    """In the log, the limit may have been reached long ago."""
    seen = with_log(failed(healthy(site), ("node1", "node2"), problem=PROBE), "node2", LINES[said])
    assert [each.id for each in problems(seen)] == ["probe-failed"]


@pytest.mark.parametrize("said", [said for said in Said if "probe-failed" in MEANINGS[said].symptoms])
def test_the_error_of_a_probe_is_enough(site, said):
    seen = failed(healthy(site), ("node1", "node2"), problem=replace(PROBE, evidence=LINES[said]))
    (found,) = explain(seen)
    assert (found.id, [each.id for each in found.explained]) == (MEANINGS[said].cause, ["probe-failed"])


def test_a_program_that_holds_the_gossip_port_does_not_answer(site):
    seen = with_ways(healthy(site), into("node2", tcp={GOSSIP: SILENT}))
    assert [each.id for each in explain(seen)] == ["gossip-blocked"]
    (found,) = explain(with_log(seen, "node2", LINES[Said.GOSSIP_TAKEN]))
    assert (found.id, found.hosts, {each.id for each in found.explained}) == (
        "port-taken",
        ("node2",),
        {"gossip-blocked"},
    )
    elsewhere = explain(with_log(seen, "node3", LINES[Said.GOSSIP_TAKEN]))
    assert [each.id for each in elsewhere] == ["gossip-blocked"]


def test_a_network_that_is_not_encrypted_needs_no_mark(site):
    blocked = Problem("overlay-blocked", "node2", "2 pairs failed", {"port": 4789}, network="demo")
    seen = failed(healthy(site), ("node1", "node2"), problem=blocked)
    assert [each.id for each in explain(with_log(seen, "node2", LINES[Said.NO_MARK]))] == ["overlay-blocked"]


def test_what_a_check_has_found_is_not_reported_again(site):
    known = Problem("duplicate-hostname", "", "node1 and node2 are both called web")
    seen = replace(failed(healthy(site), ("node1", "node2"), problem=APART), findings=(known,))
    assert len([p for p in problems(with_log(seen, "node2", LINES[Said.NAME_LOST])) if p.id == known.id]) == 1


def test_a_published_port_that_is_taken_is_no_port_of_the_cluster(site):
    line = "Error starting userland proxy: listen tcp4 0.0.0.0:8080: bind: address already in use"
    seen = failed(healthy(site), ("node1", "node2"), problem=APART)
    assert [each.id for each in explain(with_log(seen, "node2", line))] == ["engines-apart"]


@pytest.mark.parametrize("meaning", MEANINGS.values(), ids=lambda meaning: meaning.cause)
def test_nothing_is_run_because_of_a_message_alone(meaning):
    """Containers and users choose some of the words in a log."""
    assert meaning.variant not in causes.CAUSES[meaning.cause].fixes


def test_a_host_can_send_any_line(site):
    odd = ["\x00" * 3, "exchange full" * 200, 'msg="' + "\\" * 5000, *(f"{said} {said}" for said in Said)] * 9
    seen = with_log(wrong(healthy(site), Said.BRIDGE_FULL), "node2", *odd)
    assert all(len(problem.evidence) < 300 and "\n" not in problem.evidence for problem in problems(seen))
