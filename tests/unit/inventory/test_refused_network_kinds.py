"""Networks whose keys do not fit together: the `networks:` of an otherwise valid inventory, and all error lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

CHOICE = "`subnet` is missing: write `subnet: 10.99.0.0/24`; Docker can't choose it, because its choice may overlap networks that the hosts use"
NO_PARENT = "`parent` is missing: write the hosts' interface for the containers: `parent: eth1`"
NO_IPV6 = "an overlay has no working IPv6: on an external store, its IPv6 addresses don't answer on other hosts although names resolve to them first; in swarm mode, no container starts on it"
OWN_RANGES = "each engine assigns addresses independently, so each host needs its own range; otherwise two containers can get the same address"
NO_CIPHER = "is for `overlay`; nothing would encrypt the packets of this network"
ANY_JOINS = "is for networks that are created once for all hosts; any container may join a local network: remove it"
NOTHING = "would accept and ignore it: remove it"
LAN = "driver: macvlan, subnet: 192.168.56.0/24, parent: eth1"
RANGES = "ip_range: {node1: 192.168.56.32/27, node2: 192.168.56.64/27, node3: 192.168.56.96/27}"

ROWS: dict[str, tuple[str, list[str]]] = {
    "overlay without subnet": ("a: {}", [f"9:3: networks.a: {CHOICE}"]),
    "plugin without scope": (
        "a: {driver: acme/net:1, subnet: 10.99.0.0/24}",
        [
            "9:15: networks.a.driver: `acme/net:1` is not one of the engine's own drivers; they are `overlay`, `bridge`, `macvlan`, `ipvlan`. For a plugin's driver, say where its networks are created: `scope: local`, on each host, or `scope: global`, once"
        ],
    ),
    "driver of Docker's own": (
        "a: {driver: host}",
        ["9:15: networks.a.driver: `host` is a built-in network of Docker, one on each host"],
    ),
    "driver hostile": (
        "a: {driver: 'x; id', scope: local}",
        [
            "9:15: networks.a.driver: 'x; id' is not allowed: a driver's name has letters, digits, `_`, `.` and `-`, for a plugin also `/` and `:` between its parts, and at most 128 characters"
        ],
    ),
    "scope of a known driver": (
        "a: {driver: bridge, scope: global}",
        ["9:23: networks.a.scope: is for plugins' drivers; that of `bridge` is local: remove it"],
    ),
    "hosts of a global one": (
        "a: {subnet: 10.99.0.0/24, hosts: [node1]}",
        ["9:29: networks.a.hosts: is for local networks; this one is created once and exists on all hosts"],
    ),
    "hosts unknown and twice": (
        "a: {driver: bridge, hosts: [node1, node1, nod2]}",
        [
            "9:38: networks.a.hosts: 'node1' is named twice",
            "9:45: networks.a.hosts: 'nod2' is not one of the hosts; did you mean `node2`?",
        ],
    ),
    "hosts empty": (
        "a: {driver: bridge, hosts: []}",
        ["9:30: networks.a.hosts: names no host; remove it for all hosts"],
    ),
    "IPv6 overlay": ("a: {subnet: 10.99.0.0/24, subnet6: 'fd99::/64'}", [f"9:29: networks.a.subnet6: {NO_IPV6}"]),
    "IPv6 with bits": (
        "a: {driver: bridge, subnet6: 'fd99::1/64'}",
        ["9:32: networks.a.subnet6: 'fd99::1/64' has bits set behind its prefix length; did you mean `fd99::/64`?"],
    ),
    "IPv6 link-local": (
        "a: {driver: bridge, subnet6: 'fe80::/64'}",
        [
            "9:32: networks.a.subnet6: fe80::/64 can't be a subnet: fe80::/10 is link-local; private ranges are in fd00::/8"
        ],
    ),
    "IPv6 gateway outside": (
        "a: {driver: bridge, subnet6: 'fd99::/64', gateway6: 'fd98::1'}",
        ["9:55: networks.a.gateway6: fd98::1 is outside the subnet fd99::/64"],
    ),
    "gateway without subnet": (
        "a: {driver: bridge, gateway: 10.99.0.1}",
        ["9:23: networks.a.gateway: needs `subnet`, which contains it"],
    ),
    "aux outside, taken and twice": (
        "a: {subnet: 10.99.0.0/24, gateway: 10.99.0.9, aux_addresses: {x: 10.98.0.5, y: 10.99.0.9, z: 10.99.0.5, w: 10.99.0.5, v: 10.99.0.255, u: 'fd00::1'}}",
        [
            "9:68: networks.a.aux_addresses.x: 10.98.0.5 is not an address of the subnet 10.99.0.0/24",
            "9:82: networks.a.aux_addresses.y: 10.99.0.9 is the gateway's address, which no container gets anyway",
            "9:110: networks.a.aux_addresses.w: 10.99.0.5 is `z` already",
            "9:124: networks.a.aux_addresses.v: 10.99.0.255 is not an address of the subnet 10.99.0.0/24",
            "9:140: networks.a.aux_addresses.u: fd00::1 needs `subnet6`, whose address it is",
        ],
    ),
    "parent of a bridge": (
        "a: {driver: bridge, parent: eth1, mode: l2}",
        [
            "9:23: networks.a.parent: is only for `macvlan` and `ipvlan`",
            "9:37: networks.a.mode: is only for `macvlan` and `ipvlan`",
        ],
    ),
    "macvlan without anything": (
        "a: {driver: macvlan}",
        [f"9:3: networks.a: {NO_PARENT}", f"9:3: networks.a: {CHOICE}"],
    ),
    "mode of the other": (
        f"a: {{{LAN}, mode: l2, {RANGES}}}",
        ["9:69: networks.a.mode: `l2` is not a mode of macvlan: choose one of `bridge`, `private`, `vepa`, `passthru`"],
    ),
    "macvlan with one range for all": (
        f"a: {{{LAN}}}",
        [f"9:32: networks.a.ip_range: {OWN_RANGES}: write `ip_range: {{node1: ..., node2: ...}}`"],
    ),
    "macvlan on one host": (f"a: {{{LAN}, hosts: [node1]}}", []),
    "ranges that overlap": (
        f"a: {{{LAN}, ip_range: {{node1: 192.168.56.32/27, node2: 192.168.56.32/28, node3: 192.168.56.96/27}}}}",
        ["9:73: networks.a.ip_range: 192.168.56.32/27 of `node1` overlaps 192.168.56.32/28 of `node2`"],
    ),
    "ranges over hosts": (
        f"a: {{{LAN}, ip_range: {{node1: 192.168.56.0/27, node2: 192.168.56.64/27, node3: 192.168.56.96/27}}}}",
        [
            "9:73: networks.a.ip_range: 192.168.56.0/27 contains the hosts' own addresses: node1 (192.168.56.11), node2 (192.168.56.12), node3 (192.168.56.13)"
        ],
    ),
    "ranges for other hosts": (
        f"a: {{{LAN}, ip_range: {{node1: 192.168.56.32/27, nod2: 192.168.56.64/27, node3: 192.168.56.96/27}}}}",
        [
            "9:73: networks.a.ip_range: `nod2` is not one of the hosts of this network; did you mean `node2`?",
            "9:73: networks.a.ip_range: has none for node2",
        ],
    ),
    "range of one host outside": (
        "a: {driver: bridge, subnet: 10.99.0.0/24, hosts: [node1], ip_range: {node1: 10.98.0.0/25}}",
        ["9:71: networks.a.ip_range: 10.98.0.0/25 of `node1` is outside the subnet 10.99.0.0/24"],
    ),
    "ranges of a global one": (
        "a: {subnet: 10.99.0.0/24, ip_range: {node1: 10.99.0.0/25}}",
        [
            "9:39: networks.a.ip_range: has one value for each host, but this network is created once for all hosts: write one value"
        ],
    ),
    "mtu of macvlan": (
        f"a: {{{LAN}, mtu: 1400, {RANGES}}}",
        ["9:63: networks.a.mtu: is for `overlay` and `bridge`; that of `macvlan` is its parent's"],
    ),
    "what only overlays of a swarm are": (
        f"a: {{driver: bridge, encrypted: true, attachable: false}}\n  b: {{{LAN}, {RANGES}, encrypted: true}}\n  c: {{driver: weave, scope: global, encrypted: true, attachable: false}}\n  d: {{driver: weave, scope: local, attachable: false}}",
        [
            f"9:23: networks.a.encrypted: {NO_CIPHER}: remove it",
            f"9:40: networks.a.attachable: {ANY_JOINS}",
            f"10:150: networks.b.encrypted: {NO_CIPHER}: remove it",
            f"11:37: networks.c.encrypted: {NO_CIPHER}: a plugin has its own `options`: remove it",
            f"12:36: networks.d.attachable: {ANY_JOINS}",
        ],
    ),
    "the words of a bridge that are no other's": ("a: {driver: bridge, encrypted: false, attachable: true}", []),
    "options of other drivers": (
        f"a: {{subnet: 10.99.0.0/24, options: {{com.docker.network.bridge.name: x, com.docker.network.host_ipv4: 10.1.1.1, parent: eth1}}}}\n  b: {{driver: bridge, options: {{encrypted: '', com.docker.network.driver.overlay.vxlanid_list: 5, ipvlan_mode: l2}}}}\n  c: {{{LAN}, {RANGES}, options: {{com.docker.network.driver.mtu: 1400, ipvlan_mode: l2, macvlan_mode: vepa}}}}",
        [
            f"9:71: networks.a.options.com.docker.network.bridge.name: is for `bridge` only; `overlay` {NOTHING}",
            f"9:104: networks.a.options.com.docker.network.host_ipv4: is for `bridge` only; `overlay` {NOTHING}",
            f"9:122: networks.a.options.parent: is for `macvlan` and `ipvlan` only; `overlay` {NOTHING}",
            f"10:44: networks.b.options.encrypted: is for `overlay` only; `bridge` {NOTHING}",
            f"10:96: networks.b.options.com.docker.network.driver.overlay.vxlanid_list: is for `overlay` only; `bridge` {NOTHING}",
            f"10:112: networks.b.options.ipvlan_mode: is for `ipvlan` only; `bridge` {NOTHING}",
            f"11:191: networks.c.options.com.docker.network.driver.mtu: is for `overlay` and `bridge` only; `macvlan` {NOTHING}",
            f"11:210: networks.c.options.ipvlan_mode: is for `ipvlan` only; `macvlan` {NOTHING}",
            "11:228: networks.c.options.macvlan_mode: has its own key: write `mode` next to `driver`",
        ],
    ),
    "bridges that overlap on one host": (
        "a: {driver: bridge, subnet: 10.99.0.0/24, hosts: [node1]}\n  b: {driver: bridge, subnet: 10.99.0.0/25, hosts: [node2]}\n  c: {subnet: 10.99.0.0/26}",
        ["11:15: networks.c.subnet: 10.99.0.0/26 overlaps 10.99.0.0/24 of `a` (line 9)"],
    ),
    "bridges that are alike on two hosts": (
        "a: {driver: bridge, subnet: 10.99.0.0/24, hosts: [node1]}\n  b: {driver: bridge, subnet: 10.99.0.0/24, hosts: [node2, node3]}",
        [],
    ),
    "a bridge over a host": (
        "a: {driver: bridge, subnet: 192.168.56.8/30}",
        [
            "9:31: networks.a.subnet: 192.168.56.8/30 contains the hosts' own addresses: node1 (192.168.56.11)",
            "9:31: networks.a.subnet: 192.168.56.8/30 has 4 addresses, and a local network needs 5 (two containers', the gateway's, the network's and the last): take a /29 or larger",
        ],
    ),
    "options with keys of their own": (
        "a: {subnet: 10.99.0.0/24, options: {com.docker.network.driver.mtu: 1400, encrypted: true}}",
        [
            "9:70: networks.a.options.com.docker.network.driver.mtu: has its own key: write `mtu` next to `driver`",
            "9:87: networks.a.options.encrypted: has its own key: write `encrypted` next to `driver`",
        ],
    ),
    "options of bridges": (
        "a: {driver: bridge, options: {com.docker.network.bridge.enable_iccc: true, com.docker.network.bridge.name: a-name-that-is-long, com.docker.network.bridge.host_binding_ipv4: 10, com.docker.network.bridge.enable_ip_masquerade: 'no'}}",
        [
            "9:72: networks.a.options.com.docker.network.bridge.enable_iccc: the bridge driver does not have it; did you mean `com.docker.network.bridge.enable_icc`?",
            "9:110: networks.a.options.com.docker.network.bridge.name: `a-name-that-is-long` is not an interface: use at most 15 letters, digits, `_`, `.` and `-`",
            "9:176: networks.a.options.com.docker.network.bridge.host_binding_ipv4: `10` is not an IPv4 address",
            "9:228: networks.a.options.com.docker.network.bridge.enable_ip_masquerade: `no` must be `true` or `false`",
        ],
    ),
    "option's name hostile": (
        "a: {driver: bridge, options: {'a b': x}}",
        [
            "9:33: networks.a.options.a b: 'a b' is not allowed: an option's name has letters, digits, `_`, `.`, `/` and `-`, begins with a letter or digit, and has at most 128 characters; did you mean `a-b`?"
        ],
    ),
    "options a list": (
        "a: {driver: bridge, options: [x]}",
        [
            "9:32: networks.a.options: must be a mapping, not a list: write `options: {com.docker.network.bridge.name: br-app}`"
        ],
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_refused_with_its_line_and_its_cure(
    row: str, problems: Callable[..., list[str]], loaded: Callable[..., object]
) -> None:
    networks, lines = ROWS[row]
    text = f"networks:\n  {networks}"
    if lines:
        assert problems(networks=text) == lines
    else:
        loaded(networks=text)


def test_all_keys_are_accepted_together(loaded: Callable[..., object]) -> None:
    found = loaded(
        networks=f"""networks:
  a: {{{LAN}, gateway: 192.168.56.1, subnet6: 'fd56::/64', gateway6: 'fd56::1', mode: private, {RANGES}, ip_range6: {{node1: 'fd56::100/120', node2: 'fd56::200/120', node3: 'fd56::300/120'}}}}
  b: {{driver: ipvlan, subnet: 10.1.0.0/24, hosts: [node2], parent: eth2.7, mode: l3, internal: true}}
  c: {{driver: weave, scope: global, options: {{a.b/c: 5, d: true}}}}"""
    ).networks
    assert [str(found["a"].range_on(host)) for host in ("node1", "node3")] == ["192.168.56.32/27", "192.168.56.96/27"]
    assert str(found["a"].range6_on("node2")) == "fd56::200/120"
    assert [found[name].is_global for name in "abc"] == [False, False, True]
    assert (found["b"].on("node1"), found["b"].parent_on("node2")) == (False, "eth2.7")
    assert dict(found["c"].options) == {"a.b/c": "5", "d": "true"}
