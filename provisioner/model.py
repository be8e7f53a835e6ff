"""The values that pass between the layers. All are frozen; none knows how it is read, written or shown."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from provisioner.errors import ProvisionerError


@dataclass(frozen=True, slots=True)
class SshTarget:
    """How one host is reached. `connect_timeout` in seconds; `known_hosts` is read, and written with accept-new.

    jump: the machine to go through, which may have one of its own.
    """

    name: str
    address: str
    port: int
    user: str
    key: Path | None
    host_keys: str  # "strict" | "accept-new"
    known_hosts: Path
    connect_timeout: float = 10.0
    jump: SshTarget | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What a script on a host came to. `code` is its exit code; terminal escapes are stripped from both texts.

    raw: standard output as it came, for what is framed by length.
    """

    code: int
    stdout: str
    stderr: str
    raw: bytes = field(default=b"", repr=False)


class State(StrEnum):
    """How one step (or proof) stands on one host."""

    SETTLED = "settled"  # found as wanted
    DRIFTED = "drifted"  # found otherwise (plan, verify)
    CONVERGED = "converged"  # repaired by this run, and found as wanted afterwards
    PENDING = "pending"  # can't be known before an earlier step has run
    FAILED = "failed"
    SKIPPED = "skipped"  # not looked at; the reason is told


class Kind(StrEnum):
    """The sort of thing that differs. wording.py has the words for each."""

    FILE = "file"
    CONFIDENTIAL = "confidential"  # a file whose contents are never shown
    MODE = "mode"  # and owner of a file
    FOLDER = "folder"
    DATA = "data"  # a folder with a store's data
    PACKAGE = "package"
    UPLOAD = "upload"  # a program that comes from the controller
    USER = "user"
    GROUP = "group"
    RECORD = "record"  # of what was on a host before
    RULES = "rules"  # of a firewall
    UNIT = "unit"
    BOOT = "boot"  # whether a unit starts at boot
    PORT = "port"
    ENGINE = "engine"
    ENGINE_USES = "engine-uses"  # what the running engine has taken up
    ENGINE_LEAVES = "engine-leaves"  # what the running engine is to let go of
    GOSSIP = "gossip"
    SERVER = "server"  # a running server or agent of the store
    STORE = "store"  # something that the store says of itself
    RIGHTS = "rights"  # of the engine in the store
    MEMBER = "member"  # a host, as the store counts it
    NETWORK = "network"
    NETWORK_OPTION = "network-option"
    PLUGIN = "plugin"
    CONTAINER = "container"
    ENDPOINT = "endpoint"
    SWARM = "swarm"
    LABEL = "label"  # of the swarm
    OWN_ROLE = "own-role"  # of the host itself in the swarm
    ROLE = "role"  # of another host in the swarm
    SERVICES = "services"  # tasks of swarm services on a host
    NODE = "node"  # of the swarm
    STALE_NODE = "stale-node"  # the node that a host was before
    UNKNOWN = "unknown"


class Action(StrEnum):
    """What ends a difference. Steps and the runner decide by it; wording.py has the words for people."""

    WRITE = "write"  # it is set as wanted, which disturbs nothing that runs
    REMOVE = "remove"
    INSTALL = "install"
    ENABLE = "enable"  # a unit is to start at boot, or to run beside the engine
    DISABLE = "disable"
    START = "start"
    STOP = "stop"
    RELOAD = "reload"
    RESTART = "restart"
    WAIT = "wait"  # it ends by itself
    CREATE = "create"
    RECREATE = "recreate"  # removed and made again, once a person asks for it
    REPLACE = "replace"  # removed and installed again
    CONFIGURE = "configure"  # given other settings
    SWITCH = "switch"  # turned on or off
    FOUND = "found"  # the swarm is made
    JOIN = "join"
    REJOIN = "rejoin"  # another swarm is left first
    NAME = "name"  # the swarm gets its label
    PROMOTE = "promote"
    DEMOTE = "demote"
    FORGET = "forget"  # a node or a member is taken out
    LEAVE = "leave"
    ROTATE = "rotate"


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference between wanted and found.

    kind, target: the thing, as values: (Kind.FILE, "/etc/docker/daemon.json"), (Kind.PACKAGE, "docker.io").
    found, wanted: texts for people; whole files where the thing is a file, so that they can be shown as a diff.
    action: what ends it. Nothing is decided by a text.
    of: what `target` belongs to where its name does not say that: the network of an option, the store of a secret file.
    pending: the found side can't be known before an earlier step has run.
    secret: contents must not be shown.
    held: it stays so until a person asks for the change; the step fails, and the host goes on.
    later: no host's own work ends it, but what the step does for all once each was worked on (`Step.act`).
    """

    kind: Kind
    target: str = ""
    found: str = ""
    wanted: str = ""
    action: Action = Action.WRITE
    of: str = ""
    is_file: bool = False
    pending: bool = False
    secret: bool = False
    held: bool = False
    later: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as a run keeps it: its whole text, and the id of its entry in the catalogue of causes."""

    text: str
    check: str

    @classmethod
    def of(cls, error: ProvisionerError) -> Failure:
        return cls(str(error), error.cause)

    @property
    def whole(self) -> str:
        """The text with the id, as findings are shown with theirs."""
        return f"{self.text}\n  check: {self.check}" if self.check else self.text

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one step ended on one host."""

    host: str
    step: str
    state: State
    drifts: tuple[Drift, ...] = ()
    error: str = ""  # the whole text of the error, when FAILED
    reason: str = ""  # why, when SKIPPED or PENDING
    seconds: float = 0.0
    check: str = ""  # the id of what `error` tells, in the catalogue of causes

    @property
    def failure(self) -> Failure:
        return Failure(self.error, self.check)

    def failed(self, why: Failure) -> Outcome:
        return replace(self, state=State.FAILED, error=why.text, check=why.check)


class Severity(StrEnum):
    """What a problem does to a run."""

    STOP = "stop"  # nothing is changed while it stands
    ERROR = "error"  # seen by a proof, which fails
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """A known cause, found at a place. What it means and what to do about it are in the catalogue (provisioner.causes).

    id: the cause's, as in `--ignore ID`. host: where it was found; "" means the whole cluster.
    target: the host at the other end, if it was found on the path to one. network: the one on which it was found, or "".
    evidence: what was seen, one sentence without a full stop. values: what the cure's template names.
    where: the part of the host or path at fault: a rule, an interface, a file; "" if nothing is known beyond the host.
    variant: which of the cause's cures applies, "" for the usual one. warns: it is a warning here, although the cause can stop a run.
    """

    id: str
    host: str
    evidence: str
    values: Mapping[str, object] = field(default_factory=dict)
    variant: str = ""
    warns: bool = False
    target: str = ""
    network: str = ""
    where: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One cause at its place, after its consequences were put behind it: what `doctor` reports.

    problems: the same cause, found once or on several hosts. evidence: what was seen, one sentence each.
    explained: the problems that follow from it. pairs: how many failed pairs of hosts and other failed checks follow from it.
    """

    problems: tuple[Problem, ...]
    explained: tuple[Problem, ...] = ()
    pairs: int = 0

    @property
    def id(self) -> str:
        return self.problems[0].id

    @property
    def path(self) -> tuple[str, str] | None:
        """From and to, if the cause lies on one path."""
        first = self.problems[0]
        return (first.host, first.target) if len(self.problems) == 1 and first.host and first.target else None

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts at which it was found; of a path both ends; () for the whole cluster."""
        ends = (name for problem in self.problems for name in (problem.host, problem.target))
        return tuple(dict.fromkeys(filter(None, ends)))

    @property
    def network(self) -> str:
        """The network, if all of it is on one."""
        names = {problem.network for problem in self.problems}
        return names.pop() if len(names) == 1 else ""

    @property
    def evidence(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(problem.evidence for problem in self.problems))

    @property
    def where(self) -> str:
        return "; ".join(dict.fromkeys(filter(None, (problem.where for problem in self.problems))))


@dataclass(frozen=True, slots=True)
class Pair:
    """What one host saw of another through the overlay. Times in seconds since the proof began; None: never.

    rtt: seconds, the shortest of five round trips of a small datagram between the two containers; None: not measured.
    """

    source: str
    target: str
    name: float | None = None  # the target's name was resolved by the embedded DNS server
    address: float | None = None  # the target's overlay address echoed a small datagram
    by_name: float | None = None  # the address that DNS gave echoed too
    full: float | None = None  # a datagram of full size with DF set came back
    alias: float | None = None  # the target's alias on the network was resolved to its address
    detail: str = ""
    rtt: float | None = None

    @property
    def proven(self) -> bool:
        return None not in (self.name, self.address, self.by_name, self.full, self.alias)


@dataclass(frozen=True, slots=True)
class Check:
    """What a proof saw on one host, of what is no matter of pairs. `seconds` since it began; None: never, `detail` says why.

    target: the host that was to be reached, "" where there is no other in it.
    """

    host: str
    what: str
    seconds: float | None = None
    detail: str = ""
    target: str = ""

    @property
    def proven(self) -> bool:
        return self.seconds is not None

    @property
    def way(self) -> str:
        return f"{self.host} > {self.target}" if self.target else self.host


BUILTIN_NETWORKS = ("bridge", "host", "none")  # those that every engine has; no network of an inventory is called so


def proof_name(proof: str, network: str) -> str:
    """The name by which a proof of a network is chosen."""
    return f"{'builtin' if network in BUILTIN_NETWORKS else proof}/{network}"


@dataclass(frozen=True, slots=True)
class ProofResult:
    """One proof on one network. `seconds` until the last pair was proven (or the deadline)."""

    proof: str
    network: str
    state: State
    pairs: tuple[Pair, ...] = ()
    reason: str = ""
    error: str = ""
    mtu: int = 0  # bytes, as the containers see it
    seconds: float = 0.0
    checks: tuple[Check, ...] = ()
    problems: tuple[Problem, ...] = ()  # the causes that `error` tells
    chosen: bool = True  # False: a person chose not to run it

    @property
    def name(self) -> str:
        return proof_name(self.proof, self.network)


@dataclass(frozen=True, slots=True)
class NetworkSummary:
    """One network of an engine's. wanted: whether the inventory has one of this name for the host."""

    name: str
    driver: str
    scope: str
    subnets: tuple[str, ...] = ()
    wanted: bool = False


@dataclass(frozen=True, slots=True)
class HostSummary:
    """One host at a glance, for `status`. `unknown` and `absent` name the fields that are empty, and say why.

    engine_state: "running", "stopped", "starting", "stopping", "no answer", "absent"; "" on a host that is not reached.
    unknown: nobody answered. absent: the answer is that there is none. silent: what runs on the host and gave no answer.
    """

    host: str
    address: str
    reached: bool
    error: str = ""
    system: str = ""
    engine: str = ""
    advertise: str = ""
    store: str = ""
    store_role: str = ""
    leader: str = ""
    networks: tuple[str, ...] = ()  # names of the overlay networks
    containers: int = 0
    all_networks: tuple[NetworkSummary, ...] = ()
    engine_state: str = ""
    unknown: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    check: str = ""  # the id of what `error` tells, in the catalogue of causes


@dataclass(frozen=True, slots=True)
class Report:
    """The end of a run: all that any output format needs."""

    command: str
    cluster: str
    hosts: tuple[str, ...]
    exit_code: int
    seconds: float
    writes: int = 0  # scripts that could change a host and requests that change a store, counted at the transport
    findings: tuple[Problem, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    proofs: tuple[ProofResult, ...] = ()
    summaries: tuple[HostSummary, ...] = ()
    errors: tuple[Failure, ...] = ()  # of the run as a whole
    lost: Mapping[str, Failure] = field(default_factory=dict)  # host -> why it dropped out
    causes: tuple[Diagnosis, ...] = ()  # the most fundamental first
    looked_at: tuple[str, ...] = ()  # what was observed and is well, one line each
    removed: str = ""  # the host that was, or with `plan` would be, taken out of the cluster
    control_plane: str = ""  # "kv" | "swarm"
    control_plane_reason: str = ""  # why it is this one; empty where the inventory says it


@dataclass(frozen=True, slots=True)
class PhaseBegan:
    """A step, check or proof begins on these hosts."""

    name: str
    title: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HostChanged:
    """Where one host stands in the phase that runs: `text` in a few words ("installing docker.io")."""

    host: str
    phase: str
    text: str
    state: State | None = None


@dataclass(frozen=True, slots=True)
class PhaseEnded:
    """A phase is over; `outcomes` has one for each host that took part."""

    name: str
    outcomes: tuple[Outcome, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Notice:
    """One line for people."""

    text: str


Event = PhaseBegan | HostChanged | PhaseEnded | Notice


class Observer(Protocol):
    """Whoever wants to know what goes on. Called from several threads; must not raise."""

    def event(self, event: Event) -> None: ...
