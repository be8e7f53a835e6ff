"""Records the state of a host, so that two moments can be compared: files, rules, units, users, settings, links and networks.

    before = fingerprint.take(cluster, "node1")
    ...
    assert fingerprint.differences(before, fingerprint.take(cluster, "node1")) == {}

ALLOWED is the only list of differences that are not traces of a run, each with its reason.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.e2e.cluster import Cluster

# Lines are KIND<tab>THING<tab>STATE. Files below /usr are compared by size and time, all other files by content.
_TAKE = r"""
export LC_ALL=C
t=$(printf '\t')
find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path /var/lib/docker -o -path /var/lib/containerd \) -prune \
  -o \( -path '/usr/*' ! -path '/usr/local/*' -type f \) -printf 'file\t%p\t%y %m %U:%G %s %T@\n' \
  -o -type f -printf 'file\t%p\t%y %m %U:%G\n' -o -printf 'file\t%p\t%y %m %U:%G %l\n'
find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path /usr -o -path /var/lib/docker -o -path /var/lib/containerd \) -prune \
  -o -type f -print0 | xargs -0 sha256sum | while read -r sum path; do printf 'content\t%s\t%s\n' "$path" "$sum"; done
[ ! -d /usr/local ] || find /usr/local -type f -print0 | xargs -0r sha256sum | while read -r sum path; do printf 'content\t%s\t%s\n' "$path" "$sum"; done
for path in /run/provisioner*; do [ ! -e "$path" ] || printf 'file\t%s\tthere\n' "$path"; done
for p in iptables ip6tables; do
  ! command -v $p-save >/dev/null || $p-save | sed 's/ \[[0-9:]*\]$//' | awk -v p=$p '
    /^\*/ { table = $1 } /^:/ { print "rule\t" p " " table " " substr($1, 2) " 0\t" $2 } /^-A/ { print "rule\t" p " " table " " $2 " " ++n[table $2] "\t" $0 }'
done
! command -v nft >/dev/null || nft list ruleset | sed 's/counter packets [0-9]* bytes [0-9]* *//' | awk '
  /^table/ { table = $2 " " $3; chain = "-"; next } /^\tchain/ { chain = $2; next } /^(\t)?}/ { next }
  NF { print "rule\tnft " table " " chain " " ++n[table chain] "\t" $0 }'
systemctl list-unit-files --no-legend --plain | awk '{ print "unit file\t" $1 "\t" $2 }'
systemctl list-units --all --no-legend --plain --type service,socket,timer,path | awk '{ print "unit\t" $1 "\t" $3 }'
cd /proc/sys && grep -rs . net kernel/core_pattern vm/overcommit_memory fs/file-max | sed 's/^\([^:]*\):\(.*\)/sysctl\t\1\t\2/'
for i in /sys/class/net/*; do printf 'link\t%s\t%s\n' "${i##*/}" "$(cat "$i/mtu") $(readlink -f "$i" | grep -o virtual) $(cat "$i/operstate")"; done
n=0 # an address has no route while the kernel checks it (duplicate address detection)
while command -v ip >/dev/null && [ -n "$(ip -6 address show tentative)" ] && [ $n -lt 50 ]; do sleep 0.1; n=$((n + 1)); done
command -v ip >/dev/null && { ip -o route show table all; ip -o -6 route show table all; } | sed 's/ expires [^ ]*//' | while read -r route; do printf 'route\t%s\tthere\n' "$route"; done
command -v docker >/dev/null && docker network ls --format "docker network${t}{{.Name}}${t}{{.Driver}} {{.Scope}}"
command -v docker >/dev/null && docker plugin ls --format "docker plugin${t}{{.Name}}${t}{{.Enabled}}"
command -v docker >/dev/null && docker info --format "engine${t}state${t}{{.Swarm.LocalNodeState}} {{.LiveRestoreEnabled}}"
true
"""

# (kind, thing) patterns -> the reason why such a difference is not a trace of a run.
ALLOWED: Mapping[tuple[str, str], str] = {
    ("file|content", r"/var/log/.*"): "logs",
    (
        "file|content",
        r"/var/lib/systemd/(timers|random-seed|catalog|timesync).*",
    ): "systemd changes these as time passes",
    (
        "file|content",
        r"/(etc|var)/.*/?(passwd|group|shadow|gshadow|subuid|subgid)-",
    ): "backups of useradd and userdel",
    ("file|content", r"/etc/(passwd|group|shadow|gshadow)\.lock|/etc/\.pwd\.lock"): "locks of useradd and userdel",
    (
        "route",
        r".*(fe80|ff00)::.* dev (br-|docker).*",
    ): "a bridge gets a link-local address with its first container",
    ("file", r"/run/provisioner"): "holds the lock of the last run; a reboot removes it",
    ("file|content", r"/etc/docker/key\.json"): "the engine creates its identity at its first start",
    ("file|content", r"/root/\.(ssh|bash_history).*"): "written by logins",
    (
        "sysctl",
        r"net/netfilter/.*|net/.*(_count|gc_.*|random.*|mem)|net/ipv[46]/(conf|neigh)/(veth|docker|br-).*",
    ): "counters, and interfaces of containers",
    (
        "unit",
        r"(run-docker|systemd-|apt-|user@|session|dpkg-|man-db|logrotate|getty|e2scrub|fstrim|docker-|var-lib-docker).*",
    ): "started and stopped by the system itself",
}


def take(cluster: Cluster, host: str) -> dict[tuple[str, str], str]:
    """Record the host's state as (kind, thing) -> state."""
    output = cluster.sh(host, _TAKE, check=False, timeout=120)
    found = {}
    for line in output.splitlines():
        kind, thing, how = (*line.split("\t", 2), "", "")[:3]
        found[kind, thing] = how
    assert len([kind for kind, _ in found if kind == "content"]) > 100, output[-500:]
    return _without_empty_chains(found)


def differences(
    before: Mapping[tuple[str, str], str], after: Mapping[tuple[str, str], str], also: Iterable[tuple[str, str]] = ()
) -> dict[str, str]:
    """The differences that are not allowed. also: more (kind, thing) patterns that the caller expects to differ."""
    found = {}
    for key in sorted({*before, *after}):
        old, new = before.get(key, "absent"), after.get(key, "absent")
        if old != new and not any(_fits(key, pattern) for pattern in (*ALLOWED, *also)):
            found[": ".join(key)] = f"{old} -> {new}"
    return found


def _fits(key: tuple[str, str], pattern: tuple[str, str]) -> bool:
    return all(re.fullmatch(word, part) for word, part in zip(pattern, key, strict=True))


def _without_empty_chains(found: dict[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    """Drop built-in chains that accept and have no rule: iptables creates a table whenever somebody lists it."""
    chains: dict[str, list[str]] = {}
    for (kind, thing), how in found.items():
        if kind == "rule":
            chains.setdefault(thing.rpartition(" ")[0], []).append(how.strip())
    for name, rules in chains.items():  # the engine writes its rules in a different order at each start
        if any(re.search("docker|br-", rule, re.IGNORECASE) for rule in (name, *rules)):
            found |= {("rule", f"{name} {n}"): rule for n, rule in enumerate(sorted(rules))}
            found.pop(("rule", f"{name} {len(rules)}"), None)
    silent = {
        name
        for name, rules in chains.items()
        if all(re.fullmatch("ACCEPT|type .* policy accept;", rule) for rule in rules)
    }
    return {key: how for key, how in found.items() if key[0] != "rule" or key[1].rpartition(" ")[0] not in silent}
