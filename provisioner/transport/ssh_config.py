"""OpenSSH's client configuration, as `ssh -G` evaluates it. It completes what an inventory does not name.

ssh alone interprets the configuration's blocks and patterns, and runs the commands of `Match exec`. It reads a few lines on its
standard input that include the user's and the system's file. The last line is the fallback for `User`: without it, ssh would name
the local user, and nobody could tell whether the configuration does. Between the two files, one line keeps the system's file
from accepting unknown host keys.

A file elsewhere, which may have arrived with an inventory, must not contain commands. So its text is checked, and is itself what
ssh reads.
"""

from __future__ import annotations

import getpass
import os
import pwd
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.errors import ProvisionerError, Refused
from provisioner.jumps import as_jump
from provisioner.model import SshTarget
from provisioner.parallel import each
from provisioner.transport.command_line import hops, way
from provisioner.transport.text import clean, tail

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_SECONDS = 10.0  # for one call of ssh; a `Match exec` takes time
_AT_ONCE = 8  # calls of ssh; each takes 5 ms of a processor
_DEEPEST = 8  # jump hosts that have jump hosts; a configuration may have a loop
_LARGEST = 1024 * 1024  # bytes
_SYSTEM = Path("/etc/ssh/ssh_config")
_GLOBAL = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")  # ssh_config(5), GlobalKnownHostsFile
_NONE = "none"
_SSH = 22
_NO_EFFECT = re.compile(  # what does not matter to a connection of a run
    r"sendenv|hashknownhosts|gssapi\w*|forward(agent|x11\w*)|serveralive\w+|tcpkeepalive|control(master|path|persist)"
    r"|compression|addkeystoagent|usekeychain|visualhostkey|loglevel",
    re.IGNORECASE,
)
_OPTION = re.compile(r'\s*"?([A-Za-z0-9]+)"?[\s=]*(.*)')
_MATCH_EXEC = re.compile(r"match.*exec|include", re.IGNORECASE | re.DOTALL)
_PLAIN_PATH = re.compile(r"/[\w./ +,@:=-]*")  # that `Include` takes literally
_ADDRESS = re.compile(r"[A-Za-z0-9_:][A-Za-z0-9_.:%-]{0,254}")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+\\-]{0,63}")
_HOP = re.compile(r"(?:ssh://)?(?:(?P<user>.*)@)?(?P<host>\[[^\]]+\]|[^@:/]+)(?::(?P<port>[0-9]{1,5}))?/?")
_USUAL_KEYS = re.compile(r"~/\.ssh/id_[a-z0-9_]+")  # what ssh lists if the configuration names no IdentityFile
_ACCEPTING = ("accept-new", "no", "off", "false")  # StrictHostKeyChecking; a changed key is refused in any case
_IGNORED = {
    "revokedhostkeys": "RevokedHostKeys",
    "knownhostscommand": "KnownHostsCommand",
    "bindaddress": "BindAddress",
}


@dataclass(frozen=True, slots=True)
class Completed:
    """The targets by name, and lines for people about what the configuration changed."""

    targets: Mapping[str, SshTarget]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Source:
    """What ssh reads. own: whether it is the user's or the system's, so that its commands may run."""

    text: str
    own: bool


def complete(targets: Iterable[SshTarget]) -> Completed:
    """Complete the targets with OpenSSH's configuration. Raises Refused if ssh can't evaluate it for one of them.

    Without an `ssh` program, or a configuration that matters, nothing is run.
    """
    by_name = {target.name: target for target in targets}
    machines = [machine for target in by_name.values() for machine in (target, *hops(target))]
    names = frozenset(machine.address.lower() for machine in machines)
    sources = {config: _source(config, names) for config in {target.config for target in by_name.values()}}
    if any(sources.values()) and not shutil.which("ssh"):
        text = "ssh config: not read, because this machine has no ssh program"
        return Completed({name: _unread(target) for name, target in by_name.items()}, (text,))

    answers: dict[str, dict[tuple[str, ...], dict[str, list[str]]]] = {config: {} for config in sources}

    def one(name: str) -> tuple[SshTarget, tuple[str, ...]]:
        target = by_name[name]
        source = sources[target.config]
        if source is None:
            return _unread(target), ()
        lookup = _Lookup(source, answers[target.config])
        return lookup.completed(target, "root"), tuple(lookup.notes)

    ends = each(by_name, one, _AT_ONCE) if any(sources.values()) else {name: one(name) for name in by_name}
    done = {}
    for name, end in ends.items():
        if isinstance(end, ProvisionerError):
            raise end
        done[name] = end
    return Completed({name: target for name, (target, _) in done.items()}, _summed(by_name, done))


def options_of(path: Path, names: Iterable[str]) -> dict[str, dict[str, list[list[str]]]]:
    """What a file says about names: keyword -> the arguments of each line, without ssh's defaults. {}: it can't be evaluated.

    A name for which ssh reports an error is missing. A ProxyCommand that only jumps is a ProxyJump.
    """
    if not shutil.which("ssh"):
        return {}
    about = SshTarget("", "", _SSH, "", None, "strict", Path(), config=str(path))
    try:
        source = _source(str(path))
        usual = _run(["--", "localhost"], "Match all\n", about)
    except Refused:
        return {}

    def one(name: str) -> dict[str, list[list[str]]]:
        found = _run(["--", name], source.text if source else "", about)
        return _listed({key: values for key, values in found.items() if values != usual.get(key) or key == "hostname"})

    ends = each((name for name in names if _ADDRESS.fullmatch(name)), one, _AT_ONCE)
    return {name: end for name, end in ends.items() if not isinstance(end, ProvisionerError)}


def _listed(found: Mapping[str, list[str]]) -> dict[str, list[list[str]]]:
    listed = {
        key: [value.split() if key.endswith("knownhostsfile") else [value] for value in of] for key, of in found.items()
    }
    jump = as_jump(found.get("proxycommand", [""])[0])
    return {**listed, "proxyjump": [[jump]]} if jump else listed


def _unread(target: SshTarget) -> SshTarget:
    """The target without a configuration. Unless the inventory refuses any, ssh's own default files of host keys are read."""
    if target.config == _NONE or "known_hosts" in target.named:
        return target
    return replace(target, more_known=tuple(map(Path, _GLOBAL)))


def home() -> Path:
    """The home folder that ssh uses, whatever $HOME is."""
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return Path.home()


def _source(config: str, names: frozenset[str] | None = None) -> _Source | None:
    """What ssh is to read; None: nothing that matters to these names."""
    if config == _NONE:
        return None
    if config:
        path = Path(config)
        inside = any(path.resolve().is_relative_to(folder) for folder in (home() / ".ssh", _SYSTEM.parent))
        return (
            _Source(f"{_include(path)}Match all\n", own=True)
            if inside
            else _Source(f"{_checked(path)}\nMatch all\n", own=False)
        )
    own, system = home() / ".ssh" / "config", _SYSTEM
    if names is not None and not (_matters(own, names) or _matters(system, names)):
        return None
    return _Source(f"{_include(own)}Match all\nStrictHostKeyChecking ask\n{_include(system)}Match all\n", own=True)


def _include(path: Path) -> str:
    if not os.access(path, os.R_OK):
        return ""
    if not _PLAIN_PATH.fullmatch(str(path)):
        raise _unusable(
            "", f"the path {str(path)!r} has characters that ssh's `Include` does not take literally", config=str(path)
        )
    return f'Include "{path}"\n'


def _checked(path: Path) -> str:
    """The text of a file that must not run commands."""
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST).decode("utf-8")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise _unusable("", f"{path} can't be read: {why}", config=str(path)) from error
    for number, line in enumerate(text.split("\n"), 1):  # the only character that ends a line for ssh
        bare = re.sub(r"[\"'\\]", "", line)  # ssh joins a word from quoted parts
        if not line.lstrip(" \t").startswith("#") and _MATCH_EXEC.search(bare):
            what = f"{path}:{number} has `Match exec` or `Include`, which are allowed in ~/.ssh and /etc/ssh only"
            raise _unusable("", what, config=str(path))
    return text


def _matters(path: Path, names: frozenset[str], depth: int = 0) -> bool:
    """Whether a file has any line that can affect a connection to these names. Runs without such lines do not start ssh."""
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return False
    applies = True
    for line in lines:
        option = _OPTION.match(line)
        if line.lstrip().startswith("#") or not option:
            continue
        keyword, words = option[1].lower(), option[2].replace('"', " ").split()
        if keyword == "host":
            applies = any(fnmatchcase(name, word.lower().replace("[", "[[]")) for name in names for word in words)
        elif keyword == "include" and depth <= 1 and all(word.startswith("/") for word in words):
            if any(_matters(Path(name), names, depth + 1) for word in words for name in glob(word)):  # noqa: PTH207
                return True
        elif keyword == "match" or (applies and not _NO_EFFECT.fullmatch(keyword)):
            return True
    return False


@dataclass
class _Lookup:
    """The evaluation for one host and its jump hosts. notes: what of the configuration is not used. asked: earlier answers."""

    source: _Source
    asked: dict[tuple[str, ...], dict[str, list[str]]]
    notes: list[str] = field(default_factory=list)
    depth: int = 0

    def completed(self, target: SshTarget, user: str, *, first: bool = True) -> SshTarget:
        """The target with the configuration's values. user: the login user if nothing names one; "": the local user.

        first: whether it is the first of the machines that are connected to, so that it may have jump hosts. Raises Refused.
        """
        self.depth += 1
        if self.depth > _DEEPEST:
            what = f"there are more than {_DEEPEST} jump hosts in a row; is there a loop?"
            raise _unusable(target.name, what, config=target.config)
        values = _Values(self._ask(target, user, direct=not first or "jump" in target.named), target, self.source.own)
        done = replace(target, **values.all())  # type: ignore[arg-type]  # the fields of SshTarget
        self.notes += values.notes
        if target.jump is not None:
            return replace(done, jump=self._chain(hops(target), done.user))
        if "jump" in target.named or not first:
            return done
        return self._through(target, done, values)

    def _through(self, target: SshTarget, done: SshTarget, values: _Values) -> SshTarget:
        """The completed target with the configuration's jump hosts or ProxyCommand."""
        command, words = (values.first(keyword) for keyword in ("proxycommand", "proxyjump"))
        words = words or as_jump(command)
        if words:
            return replace(done, jump=self._chain([_hop(target, word) for word in words.split(",")], ""))
        return replace(done, proxy=values.command(command)) if command else done

    def _chain(self, hops: list[SshTarget], user: str) -> SshTarget | None:
        """Complete jump hosts, the first one first. As in ssh, each is reached through the one before it."""
        jump: SshTarget | None = None
        for hop in hops:
            done = self.completed(hop, user, first=jump is None)
            jump = done if jump is None else replace(done, jump=jump)
        return jump

    def _ask(self, target: SshTarget, user: str, *, direct: bool) -> dict[str, list[str]]:
        """What ssh answers for a target. Hosts share the answers about their jump hosts."""
        if not _ADDRESS.fullmatch(target.address):
            raise _unusable(target.name, f"{target.address!r} is not an address", config=target.config)
        options = ["-o", "ProxyJump=none", "-o", "ProxyCommand=none"] if direct else []
        options += ["-l", target.user] if "user" in target.named else []
        options += ["-p", str(target.port)] if "port" in target.named else []
        key = (user, *options, target.address)
        if key not in self.asked:
            fallback = f"User {user}\n" if user else ""
            self.asked[key] = _run([*options, "--", target.address], f"{self.source.text}{fallback}", target)
        return self.asked[key]


def _hop(target: SshTarget, word: str) -> SshTarget:
    """A jump host as the configuration names it. It has the target's settings that come from the inventory."""
    match = _HOP.fullmatch(word)
    if not match:
        raise _unusable(target.name, f"{word!r} is not a jump host", config=target.config)
    host, user, port = match["host"].strip("[]"), match["user"] or "", match["port"]
    if user and not _USER.fullmatch(user):
        raise _unusable(target.name, f"{user!r} is not a user of a jump host", config=target.config)
    named = {key for key in ("user", "port") if match[key]}
    return replace(
        target,
        name=host,
        address=host,
        user=user,
        port=int(port or 22),
        jump=None,
        named=(target.named - {"user", "port", "jump"}) | named,
    )


class _Values:
    """The answer of `ssh -G` for one target, converted to the target's fields."""

    def __init__(self, found: Mapping[str, list[str]], target: SshTarget, own: bool) -> None:  # noqa: FBT001
        self._found, self._target, self._own = found, target, own
        self.notes: list[str] = [f"{name} is not used" for key, name in _IGNORED.items() if self.first(key)]
        self.address, self.user = self.first("hostname"), self.first("user")
        if self.address == target.address.lower():  # ssh's form of the same name
            self.address = target.address
        self.port = self.first("port")
        if not _ADDRESS.fullmatch(self.address):
            raise self._bad("HostName", self.address)
        if (alias := self.first("hostkeyalias")) and not _ADDRESS.fullmatch(alias):  # accept-new writes it to a file
            raise self._bad("HostKeyAlias", alias)
        if not _USER.fullmatch(self.user):
            raise self._bad("User", self.user)

    def first(self, keyword: str) -> str:
        value = self._found.get(keyword, [""])[0]
        return "" if value.lower() == _NONE else value

    def all(self) -> dict[str, object]:
        """The fields that the configuration gives and the inventory does not name."""
        target, port = self._target, self.port
        found: dict[str, object] = {
            "address": self.address,
            "alias": target.address if self.address != target.address else "",
            "user": self.user,
            "port": int(port) if port.isascii() and port.isdigit() else target.port,
            "known_as": self.first("hostkeyalias"),
            "agent": self._agent(),
            "certificates": tuple(self._paths("certificatefile")),
        }
        if "host_keys" not in target.named and self.first("stricthostkeychecking").lower() in _ACCEPTING:
            found["host_keys"] = "accept-new"
        seconds = self.first("connecttimeout")
        if "connect_timeout" not in target.named and seconds.isascii() and seconds.isdigit():
            found["connect_timeout"] = float(min(max(int(seconds), 1), 600))
        return found | self._keys() | self._known()

    def _keys(self) -> dict[str, object]:
        if "key" in self._target.named:
            return {}
        words = self._found.get("identityfile", [])
        only = self.first("identitiesonly").lower() in {"yes", "true"}
        if all(_USUAL_KEYS.fullmatch(word) for word in words):
            return {"keys_only": only}
        return {"keys": tuple(self._paths("identityfile")), "keys_only": only}

    def _known(self) -> dict[str, object]:
        if "known_hosts" in self._target.named:
            return {}
        users, others = (tuple(self._paths(key, split=True)) for key in ("userknownhostsfile", "globalknownhostsfile"))
        if not users:
            return {"known_hosts": Path("/dev/null"), "more_known": others}
        return {"known_hosts": users[0], "more_known": (*users[1:], *others)}

    def _agent(self) -> str:
        word = self._found.get("identityagent", [""])[0]
        if word in {"", "SSH_AUTH_SOCK", _NONE}:
            return word if word == _NONE else ""
        if word.startswith("$") and not word.startswith("${"):
            return os.environ.get(word[1:]) or _NONE
        return self._path(word) or _NONE

    def _paths(self, keyword: str, *, split: bool = False) -> Iterator[Path]:
        words = self._found.get(keyword, [])
        for word in " ".join(words).split() if split else words:
            if word.lower() == _NONE:
                continue
            if path := self._path(word):
                yield Path(path)
            else:
                self.notes.append(f"{keyword} {word} is not used: provisioner does not know its % or $")

    def _path(self, word: str) -> str:
        """Replace tokens and variables (ssh_config(5), TOKENS) in a path; "" if one is not known."""
        target, node = self._target, os.uname().nodename
        tokens = {
            "%": "%",
            "d": str(home()),
            "h": self.address,
            "i": str(os.getuid()),
            "k": self.first("hostkeyalias") or target.address,
            "L": node.partition(".")[0],
            "l": node,
            "n": target.address,
            "p": self.port,
            "r": self.user,
            "u": getpass.getuser(),
        }
        try:
            text = re.sub(r"%(.)", lambda token: tokens[token[1]], word)
            text = re.sub(r"\$\{(\w+)\}", lambda name: os.environ[name[1]], text)
            return str(Path(re.sub(r"^~(?=/|$)", str(home()), text)).expanduser())
        except (KeyError, RuntimeError):
            return ""

    def command(self, word: str) -> str:
        """The shell command of a ProxyCommand, with its tokens replaced. Raises Refused if it must not run."""
        if not self._own:
            raise self._bad("ProxyCommand", "", "a file outside ~/.ssh and /etc/ssh may name jump hosts only")
        if self.first("proxyusefdpass").lower() in {"yes", "true"}:
            raise self._bad("ProxyUseFdpass", "yes", "provisioner does not support it")
        tokens = {"%": "%", "h": self.address, "n": self._target.address, "p": self.port, "r": self.user}
        if any(value != shlex.quote(value) for key, value in tokens.items()):
            raise self._bad("ProxyCommand", "", "host and user must be plain words in it")
        try:
            return re.sub(r"%(.)", lambda token: tokens[token[1]], word)
        except KeyError as token:
            raise self._bad("ProxyCommand", "", f"provisioner does not know %{token.args[0]}") from None

    def _bad(self, keyword: str, value: str, why: str = "it has unusual characters") -> Refused:
        what = f"{f'{keyword} {value!r}' if value else keyword} of OpenSSH's configuration can't be used: {why}"
        return _unusable(self._target.name, what, config=self._target.config)


def _run(arguments: list[str], text: str, target: SshTarget) -> dict[str, list[str]]:
    """Return keyword -> values, as ssh prints them. Raises Refused."""
    with os.fdopen(os.memfd_create("ssh_config"), "w+b") as stdin:
        stdin.write(text.encode())
        stdin.flush()
        try:
            ended = subprocess.run(
                ["ssh", "-T", "-G", "-F", "/dev/stdin", *arguments],  # ssh opens it anew, from its beginning
                stdin=stdin,
                capture_output=True,
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            what = f"ssh did not evaluate its configuration within {_SECONDS:g} seconds"
            raise _unusable(target.name, what, config=target.config) from error
    if ended.returncode:
        answer = tail(clean(ended.stderr)).replace("/dev/stdin", target.config or "/dev/stdin")
        raise _unusable(target.name, "ssh can't evaluate its configuration for this host", answer, target.config)
    found: dict[str, list[str]] = {}
    for line in clean(ended.stdout).splitlines():
        keyword, _, value = line.partition(" ")
        found.setdefault(keyword.lower(), []).append(value.strip())
    return found


def _unusable(name: str, what: str, answer: str = "", config: str = "") -> Refused:
    return Refused(
        what,
        cause="ssh-config-unusable",
        host=name,
        tried="reading OpenSSH's configuration",
        answer=answer,
        cure=f"correct {config or '~/.ssh/config'}, or write `ssh: {{config: none}}` in the inventory and name what it supplies there",
    )


def _summed(before: Mapping[str, SshTarget], after: Mapping[str, tuple[SshTarget, tuple[str, ...]]]) -> tuple[str, ...]:
    """One line for each change that the configuration makes, with the hosts that it affects."""
    hosts: dict[str, list[str]] = {}
    for name, (target, notes) in after.items():
        if words := ", ".join([*_changes(before[name], target), *dict.fromkeys(notes)]):
            hosts.setdefault(words, []).append(name)
    return tuple(f"ssh config: {_names(names)} {words}" for words, names in hosts.items())


def _names(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _changes(before: SshTarget, after: SshTarget) -> Iterator[str]:
    """What differs from a connection without the configuration, in a few words each."""
    for key, text in (("address", "at {}"), ("user", "user {}"), ("port", "port {}"), ("host_keys", "host keys {}")):
        if getattr(before, key) != getattr(after, key):
            yield text.format(getattr(after, key))
    if after.keys is not None:
        yield f"key {', '.join(map(str, after.keys)) or _NONE}"
    if way(after) != way(before):
        yield f"jump {way(after)}"
    if after.proxy:
        yield "through its ProxyCommand"
    if after.agent:
        yield f"agent {after.agent}"
