"""Checks of a network's driver options: options that have their own key, and options of the bridge driver.

Source: moby v20.10, libnetwork/drivers/bridge/labels.go and netlabel.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from provisioner.inventory import network_values, raw, values
from provisioner.inventory.problems import Location, code, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from provisioner.inventory.document import Document

MTU: Final = "com.docker.network.driver.mtu"
_BRIDGE = "com.docker.network.bridge."
_OVERLAY = "com.docker.network.driver.overlay."
_KEYS: Mapping[str, str] = MappingProxyType(
    {
        MTU: "mtu",
        "parent": "parent",
        "macvlan_mode": "mode",
        "ipvlan_mode": "mode",
        "com.docker.network.internal": "internal",
        "encrypted": "encrypted",
    }
)


_OWNERS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        MTU: ("overlay", "bridge"),
        "parent": tuple(network_values.MODES_OF),
        "macvlan_mode": ("macvlan",),
        "ipvlan_mode": ("ipvlan",),
        "encrypted": ("overlay",),
    }
)


def _owners(option: str) -> tuple[str, ...]:
    """Return the built-in drivers that have an option. Empty: all of them, or unknown."""
    if option.startswith(_BRIDGE) or option in _OF_BRIDGES:
        return ("bridge",)
    return ("overlay",) if option.startswith(_OVERLAY) else _OWNERS.get(option, ())


def _truth(value: str) -> str:
    return "" if value in ("true", "false") else "must be `true` or `false`"


def _name(value: str) -> str:
    return (
        ""
        if values.INTERFACE.fullmatch(value)
        else "is not an interface: use at most 15 letters, digits, `_`, `.` and `-`"
    )


def _address(value: str) -> str:
    return "" if raw.sound(values.ipv4, value) else "is not an IPv4 address"


_OF_BRIDGES: Mapping[str, Callable[[str], str]] = MappingProxyType(
    {
        f"{_BRIDGE}name": _name,
        f"{_BRIDGE}enable_icc": _truth,
        f"{_BRIDGE}enable_ip_masquerade": _truth,
        f"{_BRIDGE}host_binding_ipv4": _address,
        f"{_BRIDGE}inhibit_ipv4": _truth,
        f"{_BRIDGE}default_bridge": _truth,
        "com.docker.network.container_iface_prefix": _name,
        "com.docker.network.host_ipv4": _address,
    }
)


def check_options(document: Document, name: str, entry: dict[str, Any], driver: str) -> None:
    """Add the errors in the options of this network."""
    given = entry.get("options")
    for option, value in given.items() if isinstance(given, dict) else ():
        at: Location = ("networks", name, "options", option)
        word = raw.sound(network_values.option_value, value)
        if word is None or not isinstance(option, str):
            continue
        if text := _wrong(driver, option, word, document.masked(at, code(word))):
            document.refuse(at, f"networks.{name}.options.{option}: {text}")


def _wrong(driver: str, option: str, value: str, masked: str) -> str:
    if driver not in network_values.SCOPES:
        return ""  # an option of a plugin
    if (owners := _owners(option)) and driver not in owners:
        return f"is for {' and '.join(map(code, owners))} only; `{driver}` would accept and ignore it: remove it"
    if option in _KEYS:
        return f"has its own key: write `{_KEYS[option]}` next to `driver`"
    if driver != "bridge":
        return ""
    if option == f"{_BRIDGE}default_bridge":
        return "is only for the engine's built-in bridge"
    check = _OF_BRIDGES.get(option)
    if check is None:
        known = nearest(option, _OF_BRIDGES)
        return f"the bridge driver does not have it{known}" if option.startswith(_BRIDGE) else ""
    wrong = check(value)
    return f"{masked} {wrong}" if wrong else ""
