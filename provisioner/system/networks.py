"""The engine's networks: arguments to create one, and how an existing one differs from the inventory. Pure.

Options and keys are those of the engine's API (docker network inspect, 20.10 and 26).
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network, ip_network
from typing import TYPE_CHECKING, Any

from provisioner.inventory.network_values import MODES_OF

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from provisioner.inventory import Network

MTU = "com.docker.network.driver.mtu"
ICC = "com.docker.network.bridge.enable_icc"
ENCRYPTED = "encrypted"
MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
ESP = "esp4"  # the kernel module that encrypts
VXLAN = "vxlan"  # the kernel module of overlays; some distributions have it in a package of its own
BUILT_IN = ("bridge", "host", "none")
VNI = "com.docker.network.driver.overlay.vxlanid_list"
_OF_THE_ENGINE = (  # options that the engine adds by itself
    VNI,
    "com.docker.network.enable_ipv4",
    "com.docker.network.enable_ipv6",
)


def vni(found: Mapping[str, Any] | None) -> int | None:
    """Return an overlay network's VXLAN number (VNI); None if the engine does not report it. In a swarm, managers do."""
    words = str(((found or {}).get("Options") or {}).get(VNI, "")).split(",")
    return int(words[0]) if re.fullmatch("[0-9]{1,8}", words[0]) else None


def of_kernel(network: Network) -> set[str]:
    """Return the kernel modules (modprobe's names) that this network needs and that not every engine needs."""
    modules = {network.driver} & MODES_OF.keys()
    modules |= {VXLAN} if network.driver == "overlay" else set()
    return modules | ({ESP} if network.encrypted else set())


def options(network: Network, host: str) -> dict[str, str]:
    """Return the driver options that the inventory sets on this host, by the engine's names."""
    wanted = dict(network.options)
    if network.mtu:
        wanted[MTU] = str(network.mtu)
    if parent := network.parent_on(host):
        wanted["parent"] = parent
    if network.mode:
        wanted[f"{network.driver}_mode"] = network.mode
    return wanted


def arguments(network: Network, host: str, scope: str) -> list[str]:
    """Return the arguments of `docker network create` without the name.

    scope: the scope of the control plane's networks ("global" or "swarm").
    """
    words = ["--driver", network.driver]
    for subnet, gateway, ip_range in (
        (network.subnet, network.gateway, network.range_on(host)),
        (network.subnet6, network.gateway6, network.range6_on(host)),
    ):
        given = {"--subnet": subnet, "--gateway": gateway, "--ip-range": ip_range}
        words += [word for name, value in given.items() if value for word in (name, str(value))]
    if network.subnet6:
        words.append("--ipv6")
    for name, address in sorted(network.aux_addresses.items()):
        words += ["--aux-address", f"{name}={address}"]
    for name, value in sorted(options(network, host).items()):
        words += ["--opt", f"{name}={value}"]
    if network.encrypted:
        words += ["--opt", ENCRYPTED]
    if network.internal:
        words.append("--internal")
    if _in_swarm(network, scope) and network.attachable:
        words.append("--attachable")
    for key, value in sorted(network.labels.items()):
        words += ["--label", f"{key}={value}"]
    return words


def is_being_made(found: Mapping[str, Any]) -> bool:
    """Whether a swarm is still creating the network: managers list it at once, but without its driver and addresses."""
    return not found.get("Driver")


def differences(network: Network, host: str, found: Mapping[str, Any], scope: str) -> Iterator[tuple[str, str, str]]:
    """Yield (what, found, wanted) for each difference that can't be changed while the network exists.

    scope: the wanted scope, as the API names it.
    """
    if is_being_made(found):
        return
    six, four = _pools(found, six=True), _pools(found, six=False)
    wanted = _wanted(network, host)
    for what, actual, desired in (
        ("driver", found["Driver"], network.driver),
        ("scope", found.get("Scope", scope), scope),
        ("subnet", _joined(four, "Subnet"), wanted["subnet"]),
        ("gateway", _joined(four, "Gateway"), wanted["gateway"]),
        ("address range", _joined(four, "IPRange"), wanted["range"]),
        ("IPv6 subnet", _joined(six, "Subnet"), wanted["subnet6"]),
        ("IPv6 gateway", _joined(six, "Gateway"), wanted["gateway6"]),
        ("IPv6 address range", _joined(six, "IPRange"), wanted["range6"]),
        ("auxiliary addresses", _auxiliary(found), wanted["aux"]),
        ("internal", _yes(found.get("Internal")), _yes(network.internal)),
        ("encrypted", _yes(ENCRYPTED in (found.get("Options") or {})), _yes(network.encrypted)),
        ("attachable", _yes(found.get("Attachable")), _yes(network.attachable) if _in_swarm(network, scope) else None),
    ):
        if desired is not None and actual != desired:
            yield what, actual, desired
    yield from _other_options(network, host, found.get("Options") or {})
    labels = found.get("Labels") or {}
    for name, value in network.labels.items():
        if labels.get(name) != value:
            yield f"label {name}", labels.get(name, ""), value


def _in_swarm(network: Network, scope: str) -> bool:
    return network.is_global and scope == "swarm"


def _wanted(network: Network, host: str) -> dict[str, str | None]:
    """Return the wanted values; None: any value is right, because the engine or a plugin chooses it."""
    plugin = bool(network.scope)

    def text(value: object, *, chosen: bool = False) -> str | None:
        return str(value) if value else None if chosen or plugin else ""

    return {
        "subnet": text(network.subnet, chosen=True),
        "gateway": text(network.gateway, chosen=True),
        "range": text(network.range_on(host)),
        "subnet6": text(network.subnet6),
        "gateway6": text(network.gateway6, chosen=True),
        "range6": text(network.range6_on(host)),
        "aux": text(", ".join(f"{name}={address}" for name, address in sorted(network.aux_addresses.items()))),
    }


def _other_options(network: Network, host: str, found: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Compare the driver options. A plugin may add options of its own, so of a plugin only the inventory's are compared."""
    desired = options(network, host)
    free = {*_OF_THE_ENGINE, *([MTU] if network.driver == "overlay" else [])}
    for name in sorted({*desired, *(() if network.scope else found)}):
        actual, wanted = found.get(name, ""), desired.get(name, "")
        if actual != wanted and not (name in free and not wanted):
            yield f"option {name}", actual, wanted


def pools(found: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """Return the address pools of one of the engine's networks."""
    return tuple((found.get("IPAM") or {}).get("Config") or ())


def subnet4(pool: Mapping[str, Any]) -> IPv4Network | None:
    """Return the IPv4 subnet of a pool; None if there is none. An engine stores subnets as given, host bits included."""
    found = ip_network(pool.get("Subnet") or "::", strict=False)
    return found if isinstance(found, IPv4Network) else None


def _pools(found: Mapping[str, Any], *, six: bool) -> list[Mapping[str, Any]]:
    return [pool for pool in pools(found) if (":" in pool.get("Subnet", "")) is six]


def _joined(found: list[Mapping[str, Any]], key: str) -> str:
    """Join the pools' values of a key. An IPv6 gateway may have a prefix length, which is cut off."""
    return ", ".join(pool.get(key, "").partition("/")[0] if key == "Gateway" else pool.get(key, "") for pool in found)


def _auxiliary(found: Mapping[str, Any]) -> str:
    all_of_it = {
        name: address for pool in pools(found) for name, address in (pool.get("AuxiliaryAddresses") or {}).items()
    }
    return ", ".join(f"{name}={address}" for name, address in sorted(all_of_it.items()))


def _yes(value: object) -> str:
    return "yes" if value else "no"
