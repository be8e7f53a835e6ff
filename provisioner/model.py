"""The values that pass between the layers. All are frozen; none knows how it is read, written or shown."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from provisioner.errors import ProvisionerError


@dataclass(frozen=True, slots=True)
class SshTarget:
    """How to reach one host. `connect_timeout` is in seconds. With accept-new, unknown keys are added to `known_hosts`.

    key: the only key to try. Without it: the agent's keys and `keys`; None there means the usual files in ~/.ssh.
    keys_only: of the agent's keys, only those in `keys` are tried. agent: the agent's socket, "none", or "": $SSH_AUTH_SOCK.
    more_known: further files of host keys, which are only read. known_as: the host's name in these files.
    jump: the jump host, which may itself have a jump host. proxy: a shell command whose input and output are the connection.
    named: the values that the inventory names; OpenSSH's configuration completes the others.
    config: that configuration: a file, "none", or "": the user's and the system's.
    alias: the address in the inventory, if the configuration gives another one.
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
    keys: tuple[Path, ...] | None = None
    keys_only: bool = False
    certificates: tuple[Path, ...] = ()
    agent: str = ""
    more_known: tuple[Path, ...] = ()
    known_as: str = ""
    proxy: str = ""
    named: frozenset[str] = frozenset()
    config: str = ""
    alias: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a script on a host. `code` is the exit code; `stdout` and `stderr` have no terminal escapes.

    raw: the unmodified standard output, for answers that are framed by length.
    """

    code: int
    stdout: str
    stderr: str
    raw: bytes = field(default=b"", repr=False)


class State(StrEnum):
    """The state of one step or proof on one host."""

    SETTLED = "settled"  # in its desired state
    DRIFTED = "drifted"  # differs from its desired state (plan, verify)
    CONVERGED = "converged"  # repaired by this run, and verified afterwards
    PENDING = "pending"  # unknown until an earlier step has run
    FAILED = "failed"
    SKIPPED = "skipped"  # not checked; `reason` says why


class Kind(StrEnum):
    """The kind of thing that differs. wording.py has a text for each."""

    FILE = "file"
    CONFIDENTIAL = "confidential"  # a file whose contents are never shown
    MODE = "mode"  # mode and owner of a file
    FOLDER = "folder"
    DATA = "data"  # a folder with a store's data
    PACKAGE = "package"
    UPLOAD = "upload"  # a program that the controller uploads
    USER = "user"
    GROUP = "group"
    RECORD = "record"  # of a host's state before the first run
    RULES = "rules"  # of a firewall
    UNIT = "unit"
    BOOT = "boot"  # whether a unit starts at boot
    PORT = "port"
    ENGINE = "engine"
    ENGINE_USES = "engine-uses"  # a setting that the running engine must use
    ENGINE_LEAVES = "engine-leaves"  # a setting that the running engine must stop using
    GOSSIP = "gossip"
    SERVER = "server"  # a running server or agent of the store
    STORE = "store"  # something that the store reports about itself
    RIGHTS = "rights"  # of the engine in the store
    MEMBER = "member"  # a host's membership in the store
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
    STALE_NODE = "stale-node"  # the former node of a host that has joined again
    UNKNOWN = "unknown"


class Action(StrEnum):
    """What resolves a drift. Steps and the runner decide by it; wording.py has the texts for people."""

    WRITE = "write"  # set the desired value, which disturbs nothing that runs
    REMOVE = "remove"
    INSTALL = "install"
    ENABLE = "enable"  # make a unit start at boot, or together with the engine
    DISABLE = "disable"
    START = "start"
    STOP = "stop"
    RELOAD = "reload"
    RESTART = "restart"
    WAIT = "wait"  # the drift resolves itself
    CREATE = "create"
    RECREATE = "recreate"  # remove and create again, only at a user's request
    REPLACE = "replace"  # remove and install again
    CONFIGURE = "configure"  # change settings
    SWITCH = "switch"  # enable or disable
    FOUND = "found"  # create the swarm
    JOIN = "join"
    REJOIN = "rejoin"  # leave another swarm first
    NAME = "name"  # set the swarm's label
    PROMOTE = "promote"
    DEMOTE = "demote"
    FORGET = "forget"  # remove a node or a member
    LEAVE = "leave"
    ROTATE = "rotate"


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference between the desired and the actual state.

    kind, target: what differs: (Kind.FILE, "/etc/docker/daemon.json"), (Kind.PACKAGE, "docker.io").
    found, wanted: texts for people. For a file they are its whole contents, so that reports can show a diff.
    action: what resolves the drift. Code decides by it, never by a text.
    of: what `target` belongs to if its name does not say so: the network of an option, the store of a secret file.
    pending: the actual state is unknown until an earlier step has run.
    secret: contents must not be shown.
    held: the drift stays until a user requests the change; the step fails, and the host continues.
    later: `Step.act` resolves the drift after the step has worked on all hosts; no host's own script can.
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
    """An error as a run records it. text: its complete text. check: the id of its entry in the catalogue of causes."""

    text: str
    check: str

    @classmethod
    def of(cls, error: ProvisionerError) -> Failure:
        return cls(str(error), error.cause)

    @property
    def whole(self) -> str:
        """The text with the id, in the form of findings."""
        return f"{self.text}\n  check: {self.check}" if self.check else self.text

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one step on one host."""

    host: str
    step: str
    state: State
    drifts: tuple[Drift, ...] = ()
    error: str = ""  # the complete text of the error, if FAILED
    reason: str = ""  # why, if SKIPPED or PENDING
    seconds: float = 0.0
    check: str = ""  # the id of the error in the catalogue of causes

    @property
    def failure(self) -> Failure:
        return Failure(self.error, self.check)

    def failed(self, why: Failure) -> Outcome:
        return replace(self, state=State.FAILED, error=why.text, check=why.check)


class Severity(StrEnum):
    """The effect of a problem on a run."""

    STOP = "stop"  # the run changes nothing until the problem is solved
    ERROR = "error"  # a proof found it, and fails
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """A known cause that was found at a place. The catalogue (provisioner.causes) has its explanation and its cure.

    id: the id of the cause, as in `--ignore ID`. host: where it was found; "" means the whole cluster.
    target: the host at the other end, if it was found on the path between two. network: where it was found, or "".
    evidence: what was seen, one sentence without a full stop. values: the values in the cure's template.
    where: the part of the host or path at fault: a rule, an interface, a file; "" if nothing is known beyond the host.
    variant: which of the cause's cures applies; "" is the default. warns: only a warning, although the cause can stop a run.
    after: what to do in place of its cure, if the cure of an earlier cause changes the same thing in another way.
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
    after: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One cause at its place, with its consequences: what `doctor` reports.

    problems: the same cause, found once or on several hosts. evidence: what was seen, one sentence each.
    explained: the problems that follow from it. pairs: the number of failed pairs and other failed checks that follow from it.
    """

    problems: tuple[Problem, ...]
    explained: tuple[Problem, ...] = ()
    pairs: int = 0

    @property
    def id(self) -> str:
        return self.problems[0].id

    @property
    def path(self) -> tuple[str, str] | None:
        """Both ends (from, to), if the cause is on a single path."""
        (host, target), *others = {(problem.host, problem.target) for problem in self.problems}
        return (host, target) if host and target and not others else None

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts where it was found, with both ends of a path; () for the whole cluster."""
        ends = (name for problem in self.problems for name in (problem.host, problem.target))
        return tuple(dict.fromkeys(filter(None, ends)))

    @property
    def network(self) -> str:
        """The network, if all problems are on the same one."""
        names = {problem.network for problem in self.problems}
        return names.pop() if len(names) == 1 else ""

    @property
    def evidence(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(problem.evidence for problem in self.problems))

    @property
    def where(self) -> str:
        return "; ".join(dict.fromkeys(filter(None, (problem.where for problem in self.problems))))


@dataclass(frozen=True, slots=True)
class Fix:
    """A cure that `doctor --fix` can run, or its result.

    cause: the cause's id. host: the host on which the commands run. commands: in shell; () if only `provisioner up` repairs it.
    touches: what they change: of two fixes that change the same thing in different ways, only one is planned. restarts: whether the
    engine restarts. state: PENDING: not run yet. CONVERGED: they ran, and the cause is gone. FAILED: see `error`. SKIPPED: see `reason`.
    """

    cause: str
    host: str
    commands: tuple[str, ...] = ()
    touches: str = ""
    restarts: bool = False
    state: State = State.PENDING
    error: str = ""  # the complete text of the error, if FAILED
    reason: str = ""  # why, if SKIPPED

    @property
    def key(self) -> tuple[str, str, tuple[str, ...]]:
        """Equal for the same cure of the same cause at the same place."""
        return self.cause, self.host, self.commands


class Missing(NamedTuple):
    """What the proof of a network still waits for: one host to reach another, or a host's probe to start (target "")."""

    source: str
    target: str
    network: str


@dataclass(frozen=True, slots=True)
class Pair:
    """What one host reached on another through the overlay. Times are in seconds since the start of the proof; None: never.

    rtt: seconds, the shortest of five round trips of a small datagram between the two containers; None: not measured.
    transfer: what became of 1 MiB over TCP: passed, corrupt, stalled, or dropped (the connection was interrupted before or
    after it); "" if none was tried. throughput: Mbit/s. longest_gap: seconds without an answer on the connection.
    """

    source: str
    target: str
    name: float | None = None  # the target's name was resolved by the embedded DNS server
    address: float | None = None  # the target's overlay address echoed a small datagram
    by_name: float | None = None  # the address from DNS echoed too
    full: float | None = None  # a full-size datagram with DF set was echoed
    alias: float | None = None  # the target's alias on the network was resolved to its address
    detail: str = ""
    rtt: float | None = None
    transfer: str = ""
    throughput: float | None = None
    longest_gap: float | None = None

    @property
    def proven(self) -> bool:
        facts = (self.name, self.address, self.by_name, self.full, self.alias)
        return None not in facts and self.transfer in ("", "passed")


@dataclass(frozen=True, slots=True)
class Check:
    """One check of a proof on one host, for what pairs do not cover.

    seconds: from the start of the proof to success; None: never, and `detail` says why.
    target: the other host that the check must reach; "" if it involves none.
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


BUILTIN_NETWORKS = ("bridge", "host", "none")  # every engine has these; an inventory can't use the names


def proof_name(proof: str, network: str) -> str:
    """Return the name that selects the proof of a network: "overlay/demo"."""
    return f"{'builtin' if network in BUILTIN_NETWORKS else proof}/{network}"


@dataclass(frozen=True, slots=True)
class ProofResult:
    """The result of one proof on one network. `seconds`: until the last pair was proven, or until the deadline."""

    proof: str
    network: str
    state: State
    pairs: tuple[Pair, ...] = ()
    reason: str = ""
    error: str = ""
    mtu: int = 0  # bytes, as seen by the containers
    seconds: float = 0.0
    checks: tuple[Check, ...] = ()
    problems: tuple[Problem, ...] = ()  # the causes that `error` describes
    chosen: bool = True  # False: the user excluded it

    @property
    def name(self) -> str:
        return proof_name(self.proof, self.network)

    @property
    def with_data(self) -> int:
        """The number of pairs between which data were sent. On many hosts, these are not all."""
        return sum(bool(pair.transfer) for pair in self.pairs)


@dataclass(frozen=True, slots=True)
class NetworkSummary:
    """One network of an engine. wanted: whether the inventory has a network of this name for the host."""

    name: str
    driver: str
    scope: str
    subnets: tuple[str, ...] = ()
    wanted: bool = False


@dataclass(frozen=True, slots=True)
class HostSummary:
    """Summary of one host for `status`. `unknown` and `absent` name the empty fields, by the reason why they are empty.

    engine_state: "running", "stopped", "starting", "stopping", "no answer", "absent"; "" if the host is unreachable.
    unknown: fields without an answer. absent: fields of which the host has none. silent: what runs on the host but did
    not answer.
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
    check: str = ""  # the id of the error in the catalogue of causes


@dataclass(frozen=True, slots=True)
class PortSeen:
    """What passed on one port of a path on the underlay: datagrams, or the SYN packets of one TCP connection.

    left: left the sender. arrived: arrived at the receiver. passed: passed the receiver's rules. lost: in percent.
    at: the host that dropped them; "" if they were lost between the hosts, or none was lost.
    seconds: until a TCP connection was open; None otherwise.
    """

    port: int
    protocol: str  # "udp" | "tcp"
    sent: int = 0
    left: int = 0
    arrived: int = 0
    passed: int = 0
    lost: int = 0
    at: str = ""
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class PathSeen:
    """One direction between two hosts on the underlay. size: bytes of the largest packet that arrived whole; None: unknown."""

    source: str
    target: str
    size: int | None = None
    ports: tuple[PortSeen, ...] = ()


@dataclass(frozen=True, slots=True)
class Archived:
    """The archive that `doctor --collect` has written.

    size: in bytes. missing: host -> why its evidence is missing. left_out: what is never in an archive.
    """

    path: str
    size: int
    missing: Mapping[str, str]
    left_out: str


@dataclass(frozen=True, slots=True)
class Call:
    """How a command was called, as far as the next one depends on it.

    inventory: its path, as the user wrote it; "" without a file. options: those that every command on these hosts needs, such as
    --ask-password. makes: for a plan: the command that makes the planned changes ("up", "remove gamma"). diff: whether all
    differences are shown as diffs. lab: whether the hosts are a lab, which has no registry. lab_name: its name.
    manager: without an inventory, the manager of the swarm and the options with which it is reached, as words of a shell.
    """

    inventory: str = ""
    options: tuple[str, ...] = ()
    makes: str = ""
    diff: bool = False
    lab: bool = False
    lab_name: str = ""
    manager: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a run: everything that the output formats need."""

    command: str
    cluster: str
    hosts: tuple[str, ...]
    exit_code: int
    seconds: float
    writes: int = 0  # scripts that may change a host, and requests that change a store; counted by the transport
    findings: tuple[Problem, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    proofs: tuple[ProofResult, ...] = ()
    summaries: tuple[HostSummary, ...] = ()
    errors: tuple[Failure, ...] = ()  # of the run as a whole
    lost: Mapping[str, Failure] = field(default_factory=dict)  # host -> why it dropped out
    causes: tuple[Diagnosis, ...] = ()  # the most fundamental first
    looked_at: tuple[str, ...] = ()  # what was observed without a finding, one line each
    fixes: tuple[Fix, ...] = ()  # what `doctor --fix` did, or why it did not
    removed: str = ""  # the host that was removed from the cluster, or with `plan` would be
    paths: tuple[PathSeen, ...] = ()  # the underlay, if it was observed
    control_plane: str = ""  # "kv" | "swarm"
    archive: Archived | None = None  # what `doctor --collect` has written
    control_plane_reason: str = ""  # why this one was chosen; "" if the inventory sets it
    call: Call = Call()
    limit: tuple[str, ...] = ()  # the hosts that `--limit` names


@dataclass(frozen=True, slots=True)
class PhaseBegan:
    """A step, check or proof begins on these hosts."""

    name: str
    title: str
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HostChanged:
    """The progress of one host in the current phase. `text`: a few words ("installing docker.io")."""

    host: str
    phase: str
    text: str
    state: State | None = None


@dataclass(frozen=True, slots=True)
class PhaseEnded:
    """A phase has ended. `outcomes` has one for each host that took part."""

    name: str
    outcomes: tuple[Outcome, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Notice:
    """One line for people."""

    text: str


@dataclass(frozen=True, slots=True)
class Asking:
    """The run waits for the answer of a person, and must not draw over the question. ended: the answer was given."""

    ended: bool = False


@dataclass(frozen=True, slots=True)
class CommandBegan:
    """A command begins on a host. name: of its script, as errors show it."""

    host: str
    name: str


@dataclass(frozen=True, slots=True)
class CommandEnded:
    """A command has ended, or the controller no longer waits for it.

    code: its exit code; None: it has none, and `why` says in a few words how it ended.
    """

    host: str
    name: str
    seconds: float
    code: int | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class SecretsKnown:
    """All secrets that the run knows so far. No log may contain them. values: secret values. texts: of secret files."""

    values: frozenset[str] = field(default=frozenset(), repr=False)
    texts: frozenset[str] = field(default=frozenset(), repr=False)


Event = PhaseBegan | HostChanged | PhaseEnded | Notice | Asking | CommandBegan | CommandEnded | SecretsKnown


class Observer(Protocol):
    """Receives the events of a run. Called from several threads; must not raise."""

    def event(self, event: Event) -> None: ...
