"""Hostile strings in every text field are refused or harmless. Messages show them escaped."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from provisioner.errors import InventoryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from provisioner.inventory import Inventory

HOSTILE = [
    "'", '"', "`id`", "$(id)", "${IFS}id", "a;id", "a&&id", "a|id", "a>b", "a\nb", "a\n", "\nb", "a\rb", "a\tb", " ", "",
    "a b", "../../etc/passwd", "..", ".", "/", "a/../b", "\\", "a\\b", "\x00", "a\x00b", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07",
    "\x9b2J", "a\u202eb", "\u2028", "\ufeff", "-oProxyCommand=id", "--help", "-", "~", "~root", "*", "?", "[a]", "{a,b}", "#a", "!a",
    "%s", "%n", "{0}", "{{ x }}", "{% x %}", "a=b", "a@b", "a:b", "a,b", "\uff10", "\u0430dmin", "a" * 300, "9" * 5000, "é", "\U0001f600", "\ud83d",
]  # fmt: skip

PLACES: dict[str, tuple[str, str]] = {  # name -> the part, and the part's text with %s for the string
    "cluster": ("cluster", "cluster: %s"),
    "user": ("ssh", "ssh: {user: %s}"),
    "host_keys": ("ssh", "ssh: {host_keys: %s}"),
    "host name": ("hosts", "hosts: {%s: {address: 192.0.2.1}}"),
    "address": ("hosts", "hosts: {node1: {address: %s}}"),
    "host's user": ("hosts", "hosts: {node1: {address: 192.0.2.1, user: %s}}"),
    "advertise": ("hosts", "hosts: {node1: {address: 192.0.2.1, advertise: %s}}"),
    "advertise of all": ("more", "advertise: %s"),
    "port": ("ssh", "ssh: {port: %s}"),
    "kind": ("store", "store: {kind: %s}"),
    "server": ("store", "store: {kind: consul, servers: [%s]}"),
    "sha256": ("store", "store: {kind: consul, binary: lab.yml, sha256: %s}"),
    "prefix": ("store", "store: {kind: consul, prefix: %s}"),
    "network name": ("networks", "networks: {%s: {subnet: 10.99.0.0/24}}"),
    "driver": ("networks", "networks: {demo: {subnet: 10.99.0.0/24, driver: %s}}"),
    "subnet": ("networks", "networks: {demo: {subnet: %s}}"),
    "gateway": ("networks", "networks: {demo: {subnet: 10.99.0.0/24, gateway: %s}}"),
    "ip_range": ("networks", "networks: {demo: {subnet: 10.99.0.0/24, ip_range: %s}}"),
    "mtu": ("networks", "networks: {demo: {subnet: 10.99.0.0/24, mtu: %s}}"),
    "internal": ("networks", "networks: {demo: {subnet: 10.99.0.0/24, internal: %s}}"),
    "label name": ("networks", "networks: {demo: {subnet: 10.99.0.0/24, labels: {%s: x}}}"),
    "key at the top": ("more", "%s: 1"),
    "key of a host": ("hosts", "hosts: {node1: {address: 192.0.2.1, %s: 1}}"),
}


def quoted(text: str) -> str:
    """A YAML string in double quotes; JSON's escapes are valid in YAML."""
    return json.dumps(text)


@pytest.mark.parametrize(("part", "form"), PLACES.values(), ids=PLACES)
def test_refused_and_shown_escaped(problems: Callable[..., list[str]], part: str, form: str) -> None:
    for text in HOSTILE:  # no separate tests: the overhead of a thousand tests is larger than their work
        found = problems(**{part: form.replace("%s", quoted(text))})
        assert found, ascii(text)
        for line in found:
            assert line.isprintable(), ascii(text)
            assert len(line) < 500, ascii(text)


@pytest.mark.parametrize("form", ["ssh: {key: %s}", "ssh: {known_hosts: %s}"])
def test_paths_stay_on_this_machine_and_show_no_escapes(loaded: Callable[..., Inventory], form: str) -> None:
    for text in HOSTILE:
        try:
            shown = str(loaded(ssh=form.replace("%s", quoted(text))).ssh.known_hosts)
        except InventoryError as error:
            shown = "".join(error.problems)
        assert shown.isprintable(), ascii(text)


def test_a_label_is_printable_and_short_or_refused(loaded: Callable[..., Inventory]) -> None:
    for text in HOSTILE:
        networks = f"networks: {{demo: {{subnet: 10.99.0.0/24, labels: {{a: {quoted(text)}}}}}}}"
        if text.isprintable() and len(text) <= 256:
            assert loaded(networks=networks).networks["demo"].labels == {"a": text}
        else:
            with pytest.raises(InventoryError) as caught:
                loaded(networks=networks)
            assert all(line.isprintable() for line in caught.value.problems), ascii(text)
