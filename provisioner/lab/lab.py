"""A lab: hosts on a switch, which are created, changed and removed together.

Every change is recorded on disk, in labs/<name>/, before it happens. So `down` can clean up after
a process that was killed at any moment.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

from provisioner import labs
from provisioner.errors import LabError, UsageError
from provisioner.inventory.engine_models import DATA_PORT
from provisioner.inventory.engine_versions import has_no_store
from provisioner.inventory.problems import nearest
from provisioner.lab import cgroups, image, machine, snapshot, switch
from provisioner.lab.faults import FAULTS, Fault, Place
from provisioner.lab.host import Host, make_key, spawn_joined
from provisioner.lab.locks import held
from provisioner.lab.shell import communicate, mounts_under, record, remove_tree, run
from provisioner.lab.topology import Topology

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from provisioner.lab.shell import Answer

MOST_HOSTS = 200
BOOT_DEADLINE = 60  # seconds for one host on an idle machine
UP_DEADLINE = 400  # seconds for `provisioner up`; up to half a minute on an idle machine
_FAULT_DEADLINE = 120  # seconds for a script that makes or heals a fault
SETTLE_DEADLINE = 120  # seconds; a swarm takes up to 20 to elect a manager
# Where the lab makes faults that are not on a host: the names of the namespaces' mount points.
_SPACES = MappingProxyType({Place.SWITCH: "switch", Place.WIRE: "switch", Place.ROUTER: "router"})


def _silent(_: str) -> None:
    pass


@dataclass(frozen=True)
class LabHost:
    """The current state of a lab's host."""

    name: str
    address: str
    image: str
    running: bool


@dataclass(frozen=True)
class LabStatus:
    """The current state of a lab. `ready` is false until it is complete, also if its creation was killed."""

    name: str
    folder: Path
    ready: bool
    topology: str
    hosts: tuple[LabHost, ...]

    def as_dict(self) -> dict[str, object]:
        """Return the same as JSON values."""
        return {**asdict(self), "folder": str(self.folder)}


class Lab:
    """An existing lab. `Lab.up` creates it, and `Lab.open` finds it again. All methods raise LabError."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = labs.folder(name)
        self._switch = self.folder / "switch"
        self._router = self.folder / "router"

    # -- creating and finding ----------------------------------------------------------------------------------

    @classmethod
    def up(
        cls,
        name: str = "lab",
        hosts: int = 3,
        image: str = "engine-20.10",
        *,
        images: Mapping[str, str] | None = None,
        topology: Topology = Topology.FLAT,
        say: Callable[[str], None] = _silent,
    ) -> Self:
        """Create a lab of node1 to node<hosts>, and wait until all hosts answer on SSH.

        `images` names different images for single hosts. `say` gets a line for each stage of an image build.
        A lab that can't be created is removed before the error is raised.
        """
        machine.check(machine.NAT if topology is Topology.NAT else {})
        lab = cls(name)
        wanted = {f"node{number}": image for number in range(1, hosts + 1)}
        if not 1 <= hosts <= MOST_HOSTS:
            raise LabError(f"a lab can't have {hosts} hosts", cure=f"choose 1 to {MOST_HOSTS}")
        if unknown := sorted(set(images or {}) - set(wanted)):
            raise LabError(f"images are named for hosts that the lab does not have: {', '.join(unknown)}")
        wanted.update(images or {})
        if lab.folder.exists():
            raise lab._exists()
        machine.check_room(hosts)
        if warning := machine.crowd_warning(hosts):
            say(warning)
        paths = _ensure_images(wanted.values(), say)
        try:
            lab._make({node: paths[kind] for node, kind in wanted.items()}, topology)
        except FileExistsError:
            raise lab._exists() from None
        except BaseException:
            lab.down()
            raise
        return lab

    @classmethod
    def open(cls, name: str = "lab") -> Self:
        """Return the lab of this name, which must exist and be complete."""
        lab = cls(name)
        if not lab.folder.exists():
            raise LabError(
                f"there is no lab {name!r}{nearest(name, labs.names())}", cure=f"provisioner lab up --name {name}"
            )
        if not lab.status().ready:
            raise LabError(f"the lab {name!r} is incomplete", cure=f"provisioner lab down --name {name}")
        if not mounts_under(lab._switch):
            raise LabError(
                f"the network of the lab {name!r} is gone, because the machine was restarted",
                cure=f"provisioner lab down --name {name}, then up",
            )
        return lab

    @classmethod
    def only(cls) -> Self:
        """Return the only lab of this machine; if there is none, the one with the default name. Neither need exist or be complete.

        Raises UsageError if there are several.
        """
        names = labs.names()
        if len(names) > 1:
            what = f"this machine has {len(names)} labs: {', '.join(names)}"
            raise UsageError(what, cure=f"choose one, for example with --name {names[0]}")
        return cls(*names or [labs.DEFAULT_NAME])

    @classmethod
    def all(cls) -> list[LabStatus]:
        """Return every lab on this machine, sorted by name."""
        return [cls(name).status() for name in labs.names()]

    def _exists(self) -> LabError:
        cures = f"`provisioner lab reset --name {self.name}` for fresh hosts, `provisioner lab down --name {self.name}`, or another --name"
        return LabError(f"the lab {self.name!r} already exists", cure=cures)

    def _make(self, hosts: Mapping[str, Path], topology: Topology) -> None:
        self.folder.mkdir(parents=True)
        with self._locked():
            for part in ("hosts", "www"):
                (self.folder / part).mkdir()
            if machine.in_memory():
                run(["mount", "-t", "tmpfs", "-o", "mode=755", "provisioner-lab", str(self.folder / "hosts")])
            make_key(self.folder / "key", f"lab {self.name}")
            record(self.folder / "topology", topology)
            switch.make(self._switch, topology)
            switch.make_router(self._router, self._switch, topology)
            made = [self._create(int(node.removeprefix("node")), path) for node, path in hosts.items()]
            self._write_known_hosts()
            self._serve(hosts.values())
            self._boot(made)
            (self.folder / "ready").touch()

    def _create(self, number: int, path: Path) -> Host:
        host = Host(self.folder, number, path, self.topology)
        host.create(self._public_key)
        return host

    def _serve(self, images: Iterable[Path]) -> None:
        """Serve the packages that the hosts can install, unless they are already served."""
        link, log = self.folder / "www" / "debian", self.folder / "http.log"
        repositories = {found for path in set(images) if (found := image.repository_of(path.name.rpartition("-")[0]))}
        if not repositories or link.exists():
            return
        link.symlink_to(repositories.pop())
        joins = cgroups.find().make(f"{self.name}/switch")
        spawn_joined(joins, switch.server_command(self._switch, self.folder / "www"), log=log)
        switch.wait_served(self._switch, log)

    # -- properties --------------------------------------------------------------------------------------------

    @property
    def key(self) -> Path:
        """The private SSH key that root of every host accepts."""
        return self.folder / "key"

    @property
    def _public_key(self) -> str:
        return (self.folder / "key.pub").read_text()

    @property
    def known_hosts(self) -> Path:
        """A known_hosts file with the keys of all hosts."""
        return self.folder / "known_hosts"

    @property
    def topology(self) -> Topology:
        """How the hosts are connected."""
        with contextlib.suppress(FileNotFoundError, ValueError):  # the lab's creation was killed
            return Topology((self.folder / "topology").read_text())
        return Topology.FLAT

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts' names, in order."""
        return tuple(host.name for host in self._hosts())

    def address(self, host: str) -> str:
        return self._host(host).address

    def status(self) -> LabStatus:
        hosts = tuple(
            LabHost(host.name, host.address, host.image.name.rpartition("-")[0], host.init is not None)
            for host in self._hosts()
        )
        return LabStatus(self.name, self.folder, (self.folder / "ready").exists(), self.topology, hosts)

    def inventory(self) -> str:
        """Return the lab's inventory in YAML. After a reset to a snapshot, it is the inventory that settled the hosts."""
        hosts = self._hosts()
        today = any(has_no_store(image.engine(path)) for path in {host.image for host in hosts})
        cluster, store = self.name, "" if today else "{kind: consul}"
        with contextlib.suppress(FileNotFoundError):
            cluster, store = snapshot.CLUSTER, snapshot.settled((self.folder / "settled").read_text()).store
        lines = [
            f"cluster: {cluster}",
            f"ssh: {{user: root, key: {self.key}, host_keys: accept-new, known_hosts: {self.known_hosts}, config: none}}",
            "hosts:",
            *(f"  {host.name}: {{address: {host.address}}}" for host in hosts),
            *([f"store: {store}"] if store else []),
            "networks:",
            "  demo: {subnet: 10.99.0.0/24}",
        ]
        return "\n".join(lines) + "\n"

    def _hosts(self) -> list[Host]:
        found, topology = [], self.topology
        for folder in machine.matching(self.folder / "hosts", "node*"):
            with contextlib.suppress(FileNotFoundError):
                path = Path((folder / "image").read_text().strip())
                found.append(Host(self.folder, int(folder.name.removeprefix("node")), path, topology))
        return sorted(found, key=lambda host: host.number)

    def _host(self, name: str) -> Host:
        for host in self._hosts():
            if host.name == name:
                return host
        cure = f"it has {', '.join(self.hosts) or 'none'}"
        if name in labs.names():
            cure = f"{name} is a lab: put --name {name} before the host"
        raise LabError(f"the lab {self.name!r} has no host {name!r}", cure=cure)

    # -- using it ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def enter(self) -> Iterator[None]:
        """Put the calling thread, and everything that it starts, into the lab's network for the `with` block."""
        with switch.entered(self._switch):
            yield

    def exec(
        self,
        host: str,
        command: Sequence[str] | str,
        *,
        check: bool = True,
        timeout: float = 60,
        stdin: str | None = None,
    ) -> Answer:
        """Run a command as root on a host, without SSH. A list is a command's arguments; a string is a script for sh.

        With `check`, any exit code but 0 raises LabError. Running for more than `timeout` seconds always does.
        """
        argv = ["sh", "-c", command] if isinstance(command, str) else list(command)
        answer = self._host(host).exec(argv, timeout=timeout, stdin=stdin)
        if check and answer.returncode != 0:
            said = f"{answer.stdout}\n{answer.stderr}".strip()
            tried = command if isinstance(command, str) else " ".join(argv)
            raise LabError(f"exit code {answer.returncode}", host=host, tried=tried, answer=said)
        return answer

    def enter_command(self, host: str, argv: Sequence[str]) -> list[str]:
        """The command line that runs `argv` on a host, for callers that start it themselves."""
        return self._host(host).enter_command(argv)

    def ssh_command(self, host: str, argv: Sequence[str] = ()) -> list[str]:
        """The command line of ssh to a host. It must be started in the lab's network."""
        options = ("-o", f"UserKnownHostsFile={self.known_hosts}", "-o", "IdentitiesOnly=yes", "-F", "none")
        return ["ssh", "-i", str(self.key), *options, f"root@{self.address(host)}", *argv]

    def cut(self, host: str) -> None:
        """Disconnect the host's network cable; the host keeps running."""
        switch.set_port(self._switch, self._host(host).name, up=False)

    def uncut(self, host: str) -> None:
        switch.set_port(self._switch, self._host(host).name, up=True)

    # -- faults ------------------------------------------------------------------------------------------------

    def break_(self, fault: Fault, host: str, to: str = "") -> None:
        """Make a fault on a host, or, with `to`, between two hosts. The fault is recorded first, so that `heal` always finds it."""
        self._check_fault(fault, host, to)
        each = {"fault": fault.id, "host": host, "to": to, "data": self._data_port() if "$DATA" in fault.make else ""}
        folder = self.folder / "faults"
        folder.mkdir(exist_ok=True)
        with self._locked():
            # After the last one that is left: an earlier `heal` may have failed for some of them.
            number = max((int(path.name[:4]) for path in self._faults()), default=-1) + 1
            record(folder / f"{number:04}-{fault.id}", json.dumps(each))
        answer = self._run_fault(fault.make, each)
        if answer.returncode:
            raise LabError(
                f"can't make the fault {fault.id} on {host}",
                answer=answer.stderr,
                cure=f"provisioner lab heal --name {self.name}",
            )

    def _check_fault(self, fault: Fault, host: str, to: str) -> None:
        if fault.place.pair != bool(to):
            what = "needs two hosts" if not to else "needs only one host"
            raise LabError(
                f"the fault {fault.id} {what}", cure="name the other host with --to" if not to else "omit --to"
            )
        if host == to:
            raise LabError(f"the fault {fault.id} needs two hosts, but {host} is named twice")
        ends = [self._host(name) for name in (host, to) if name]
        if fault.place is not Place.ROUTER:
            return
        if self.topology is Topology.FLAT:
            cure = "provisioner lab up --topology routed, with another --name or after `lab down`"
            raise LabError(f"the fault {fault.id} needs a router, and this lab has none", cure=cure)
        if len({self.topology.segment(end.number) for end in ends}) == 1:
            cure = "name one host with an odd number and one with an even number"
            raise LabError(f"{host} and {to} are on the same segment, without a router between them", cure=cure)

    def _data_port(self) -> str:
        """The port of overlays' data: a swarm can have another one than 4789. Only its managers know it."""
        ask = "timeout 3 docker info -f '{{with .Swarm.Cluster}}{{.DataPathPort}}{{end}}' 2>/dev/null"
        for host in self._hosts():
            if host.init is not None:
                port = host.exec(["sh", "-c", ask], timeout=_FAULT_DEADLINE, stdin=None).stdout.strip()
                if re.fullmatch("[1-9][0-9]{3,4}", port):
                    return port
        return str(DATA_PORT)

    def _faults(self) -> list[Path]:
        """The records of faults that are not healed yet, oldest first."""
        return sorted((self.folder / "faults").glob("[0-9]*"))

    def broken(self) -> list[tuple[str, str, str]]:
        """(fault, host, other host or "") of each fault that is not healed yet, oldest first."""
        found = [json.loads(path.read_text()) for path in self._faults()]
        return [(each["fault"], each["host"], each["to"]) for each in found]

    def heal(self) -> list[str]:
        """Heal all faults, the newest first, and return "FAULT on HOST" for each. A fault that can't be healed stays recorded."""
        healed, failed = [], []
        for path in reversed(self._faults()):
            each = json.loads(path.read_text())
            if each["fault"] not in FAULTS:
                failed.append(f"{each['fault']} on {each['host']}: this version of provisioner does not know it")
                continue
            answer = self._run_fault(FAULTS[each["fault"]].heal, each)
            if answer.returncode:
                failed.append(f"{each['fault']} on {each['host']}: {answer.stderr.strip()[-300:]}")
            else:
                path.unlink()
                healed.append(f"{each['fault']} on {each['host']}")
        if failed:
            raise LabError(
                "can't heal some faults",
                answer="\n".join(failed),
                cure="heal again in half a minute, since what other faults broke may still recover;"
                f" or: provisioner lab reset --name {self.name}",
            )
        return healed

    def _forget_faults(self, hosts: Iterable[str]) -> None:
        """Forget the faults of hosts that are about to be reset. Switch and router aren't reset, so their faults are healed first."""
        for path in reversed(self._faults()):
            each = json.loads(path.read_text())
            fault = FAULTS.get(each["fault"])  # another version may have made it
            if each["host"] in hosts:
                if fault and fault.place in _SPACES:
                    self._run_fault(fault.heal, each)
                path.unlink()

    def _run_fault(self, script: str, each: Mapping[str, str]) -> Answer:
        """Run a script of a recorded fault."""
        host, to, place = each["host"], each["to"], FAULTS[each["fault"]].place
        variables = {"HOST": host, "SELF": self.address(host), "TO": to, "PEER": self.address(to) if to else ""}
        variables["DATA"] = each.get("data", "")
        argv = ["sh", "-c", "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items()) + script]
        if place not in _SPACES:
            return self.exec(host, argv, check=False, timeout=_FAULT_DEADLINE)
        # The host's mount namespace provides the programs, such as nft, that this machine may lack.
        pid = self._host(host).init
        if pid is None:
            raise LabError("the host is off", host=host, cure=f"provisioner lab start --name {self.name} {host}")
        spaces = (f"--net={self.folder / _SPACES[place]}", f"--mount=/proc/{pid}/ns/mnt")
        return communicate(["nsenter", *spaces, *argv], timeout=_FAULT_DEADLINE)

    # -- changing it -------------------------------------------------------------------------------------------

    def stop(self, *hosts: str) -> None:
        """End hosts together, like a power cut. Their disks are kept."""
        with self._locked():
            found = cgroups.find()
            _side_by_side(lambda host: host.kill(found, self._switch), [self._host(name) for name in hosts])

    def shutdown(self, *hosts: str, timeout: float = 100) -> None:
        """Shut hosts down cleanly and together, within `timeout` seconds. Their disks are kept."""
        with self._locked():
            found = cgroups.find()

            def shut_down(host: Host) -> None:
                host.power_off(timeout=timeout)
                host.kill(found, self._switch)

            _side_by_side(shut_down, [self._host(name) for name in hosts])

    def start(self, *hosts: str) -> None:
        """Boot hosts that are off, together and with their present disks, and wait for their SSH servers."""
        with self._locked():
            off = [host for host in map(self._host, hosts) if host.init is None]
            for host in off:
                host.kill(cgroups.find(), self._switch)
            self._boot(off)

    def reset(self, hosts: Iterable[str] | None = None, *, to: str = "", say: Callable[[str], None] = _silent) -> None:
        """Give hosts (by default all) a fresh disk and network, boot them, and wait until they answer on SSH.

        With `to`, the name of a snapshot such as "settled-consul", all hosts are replaced by those of the snapshot, with their
        cluster running. `say` gets a line if the snapshot must be created first.
        """
        hosts = None if hosts is None else tuple(hosts)
        self._forget_faults(self.hosts if hosts is None else hosts)
        if to:
            recipe = snapshot.settled(to)
            if self.topology is not Topology.FLAT:
                raise LabError(
                    f"the hosts of a snapshot are on one segment; this lab is {self.topology}",
                    cure="use a lab that was created without --topology",
                )
            path = _ensure_images([recipe.image], say)[recipe.image]
            kept = snapshot.ensure(to, path, lambda folder, lab: self._make_snapshot(lab, to, folder, say))
            self._restore(to, path, kept)
            return
        with self._locked():
            chosen = self._hosts() if hosts is None else [self._host(name) for name in hosts]
            found = cgroups.find()

            def renew(host: Host) -> None:
                host.kill(found, self._switch)
                host.wipe()
                self._start(host, len(chosen))

            _side_by_side(renew, chosen)
            if hosts is None:
                (self.folder / "settled").unlink(missing_ok=True)

    def _restore(self, name: str, path: Path, kept: Path) -> None:
        with self._locked():
            self._remove_hosts()
            machine.check_room(snapshot.settled(name).hosts)
            for part in ("key", "key.pub"):
                shutil.copy(kept / part, self.folder / part)
            count = snapshot.settled(name).hosts
            hosts = [Host(self.folder, number, path, Topology.FLAT) for number in range(1, count + 1)]
            _side_by_side(lambda host: host.restore(kept / "hosts" / host.name), hosts)
            record(self.folder / "settled", name)
            self._write_known_hosts()
            self._serve([path])
            self._boot(hosts)
        ready = snapshot.settled(name).ready
        _side_by_side(lambda host: host.wait_settled(ready, timeout=SETTLE_DEADLINE), hosts)

    @classmethod
    def _make_snapshot(cls, lab_name: str, name: str, folder: Path, say: Callable[[str], None]) -> None:
        """Create a lab, settle its hosts with `provisioner up`, save them in `folder`, and remove the lab."""
        say(f"snapshot {name}: creating it with `provisioner up`; kept for later")
        lab = cls(lab_name)
        recipe = snapshot.settled(name)
        try:
            cls.up(lab.name, recipe.hosts, recipe.image, say=say)
            record(lab.folder / "settled", name)
            inventory = lab.folder / "inventory.yml"
            inventory.write_text(lab.inventory())
            # setpriv ends it with this process, however this process ends.
            up = [
                "setpriv",
                "--pdeathsig",
                "KILL",
                "nsenter",
                f"--net={lab._switch}",
                sys.executable,
                "-m",
                "provisioner",
                "up",
            ]
            run([*up, str(inventory)], timeout=UP_DEADLINE, what=f"the snapshot {name} could not be created")
            _side_by_side(lambda host: host.wait_alone(timeout=SETTLE_DEADLINE), lab._hosts())
            lab.shutdown(*lab.hosts)
            _side_by_side(lambda host: host.keep(folder / "hosts" / host.name), lab._hosts())
            for part in ("key", "key.pub"):
                shutil.copy(lab.folder / part, folder / part)
        finally:
            lab._remove()

    def _remove_hosts(self) -> None:
        found = cgroups.find()

        def remove(host: Host) -> None:
            host.kill(found, self._switch)
            remove_tree(host.folder)

        _side_by_side(remove, self._hosts())

    def add(self, host: str | None = None, image: str = "engine-20.10", *, say: Callable[[str], None] = _silent) -> str:
        """Add a host (by default with the next number) to the running lab. Returns its name."""
        machine.check_room(1)
        paths = _ensure_images([image], say)
        with self._locked():
            number = max((each.number for each in self._hosts()), default=0) + 1
            if host is not None:
                number = int(host.removeprefix("node")) if re.fullmatch(r"node[1-9][0-9]{0,2}", host) else 0
            if not 1 <= number <= MOST_HOSTS or f"node{number}" in self.hosts:
                raise LabError(
                    f"the lab can't add a host {host or f'node{number}'}", cure="use node1 to node200, once each"
                )
            made = self._create(number, paths[image])
            try:
                self._write_known_hosts()
                self._serve([made.image])
                self._boot([made])
            except BaseException:
                made.kill(cgroups.find(), self._switch)
                remove_tree(made.folder)
                raise
            return made.name

    def down(self) -> bool:
        """Remove the lab: processes, cgroups, network, files. An incomplete or killed lab is removed, too.

        Returns whether the lab existed.
        """
        image.clean()
        snapshot.clean(self._remove_named)
        return self._remove()

    @classmethod
    def _remove_named(cls, name: str) -> None:
        lab = cls(name)
        lab._remove()

    def _remove(self) -> bool:
        found = self.folder.exists()
        if found:
            with self._locked():
                cgroups.find().remove(self.name)
                self._free_switch()
                # Another mount namespace may keep a disk in memory alive after it is unmounted, so its files are removed first.
                for host in self._hosts():
                    remove_tree(host.folder)
                remove_tree(self.folder)
        with contextlib.suppress(OSError):
            self.folder.parent.rmdir()
        return found

    def _free_switch(self) -> None:
        """Remove the ports of hosts and router at once. The kernel would remove them some time after the last process."""
        if mounts_under(self._switch):
            for port in (*self.hosts, *(segment.port for segment in self.topology.segments)):
                switch.unplug(self._switch, port)

    def _boot(self, hosts: Sequence[Host]) -> None:
        _side_by_side(lambda host: self._start(host, len(hosts)), hosts)

    def _start(self, host: Host, crowd: int) -> None:
        fresh = host.boot(cgroups.find(), self._switch)
        deadline = BOOT_DEADLINE + 2 * crowd
        host.wait_ssh(timeout=deadline)
        # The boot of a used disk may take long or fail, depending on its use.
        if fresh:
            host.wait_booted(timeout=deadline)

    def _write_known_hosts(self) -> None:
        record(self.known_hosts, "".join(host.host_key for host in self._hosts()))

    @contextlib.contextmanager
    def _locked(self, timeout: float = 60) -> Iterator[None]:
        """Hold the lock for changes of the lab."""
        with held(self.folder, timeout=timeout) as ours:
            if not ours:
                raise LabError(f"another process has been changing the lab {self.name!r} for {timeout:.0f} s")
            yield


def _ensure_images(names: Iterable[str], say: Callable[[str], None]) -> dict[str, Path]:
    return {name: image.ensure(name, say) for name in sorted(set(names))}


def _side_by_side(work: Callable[[Host], None], hosts: Sequence[Host]) -> None:
    """Run `work` for all hosts in parallel; raise the first error after all have ended."""
    with ThreadPoolExecutor(max(len(hosts), 1)) as pool:
        for done in [pool.submit(work, host) for host in hosts]:
            done.result()


def enter_switch(name: str = "lab") -> None:
    """Move the calling thread, and everything that it starts from now on, into a lab's network permanently."""
    switch.enter(Lab.open(name).folder / "switch")
