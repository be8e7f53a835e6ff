"""Ports of an overlay's bridge: what is wrong, and what looks alike."""

from __future__ import annotations

import json

import pytest
from scenes import SPACE, healthy, named, with_kernel

from provisioner import causes
from provisioner.explain import problems


def port(seen, device, *, state="", gone=(), **more):
    """Change a port of the overlay's bridge on node2. gone: its keys that are missing."""

    def changed(links):
        found = json.loads(json.dumps(links))
        (link,) = (each for each in found if each["ifname"] == device)
        link |= more
        if state:
            link["linkinfo"]["info_slave_data"]["state"] = state
        for key in gone:
            del link[key]
        return found

    return with_kernel(seen, "node2", f"space:{SPACE}:links", changed)


@pytest.mark.parametrize("device", ["veth0", "vxlan0"])
def test_an_interface_that_is_no_port_of_the_bridge(site, device):
    seen = port(healthy(site), device, gone=["master"])
    assert named(seen) == [("link-down", "apart", "node2", "", "demo")]
    (command,) = causes.to_run(problems(seen)[0])
    assert f"netns/{SPACE} ip link set {device} master br0" in command


@pytest.mark.parametrize("state", ["disabled", "blocking"])
def test_a_port_to_which_the_bridge_does_not_forward(site, state):
    seen = port(healthy(site), "vxlan0", state=state)
    assert named(seen) == [("link-down", "port", "node2", "", "demo")]
    assert f"is {state}" in problems(seen)[0].evidence


def test_ports_that_look_alike(site):
    no_carrier = ["BROADCAST", "UP"]  # the other end is being moved
    assert named(port(healthy(site), "veth0", state="disabled", flags=no_carrier)) == []
    assert named(port(healthy(site), "veth0", state="learning")) == []
    assert named(port(healthy(site), "veth0", gone=["master"], ifname="tap-debug")) == []
    second = [{"ifname": "br1", "flags": ["UP"], "linkinfo": {"info_kind": "bridge"}}]
    seen = port(healthy(site), "veth0", gone=["master"])
    assert named(with_kernel(seen, "node2", f"space:{SPACE}:links", lambda links: [*links, *second])) == []
    (down,) = named(port(healthy(site), "veth0", gone=["master"], flags=[]))  # as while it is set up: one problem only
    assert down[:2] == ("link-down", "")
