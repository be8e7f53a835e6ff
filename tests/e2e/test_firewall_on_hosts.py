"""The firewall step on real hosts: packets from peers and strangers, rules of others, reboots, and SSH that must keep working."""

from __future__ import annotations

import contextlib
import re
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from provisioner import render, wording
from provisioner.preflight.store import closing, locked_out
from provisioner.steps.firewall import Firewall
from provisioner.stores.consul import Consul
from provisioner.system import firewall
from provisioner.transport import connect
from tests.e2e.firewall_hosts import (
    ECHO,
    MASQUERADE,
    MASQUERADE_NFT,
    OTHER,
    OURS,
    TCP,
    Hosts,
    eventually,
    ssh_all_along,
    without_loss,
    words,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


pytestmark = pytest.mark.lab

IMAGES = pytest.mark.parametrize("image", ["engine-20.10", "engine-26"])
NFT_CONF = """#!/usr/sbin/nft -f
flush ruleset
table inet filter {
	set friends { type ipv4_addr; elements = { 10.1.1.1, 10.1.1.2 }; }
	chain input {
		type filter hook input priority 0; policy drop;
		ct state invalid drop
		tcp dport { 22, 80 } accept
		ip saddr @friends accept
	}
	chain forward { type filter hook forward priority 0; }
	chain output { type filter hook output priority 0; }
}
"""


@pytest.fixture
def hosts_of(make_lab, tmp_path) -> Iterator:
    made = []

    def make(*arguments, **keywords) -> Hosts:
        made.append(Hosts(make_lab(*arguments, **keywords), tmp_path))
        return made[-1]

    yield make
    for hosts in made:
        hosts.close()


def without_ours(saved: str) -> list[str]:
    """The rules of others in the output of iptables-save, without tables in which others have no rules."""
    lines = [
        re.sub(r" \[\d+:\d+\]", "", line) for line in saved.splitlines() if "PROVISIONER" not in line and line[0] != "#"
    ]
    return re.sub(r"\*\w+\n(:[A-Z]+ ACCEPT\n)*COMMIT\n?", "", "\n".join(lines)).splitlines()


def nft_without_ours(listed: str) -> str:
    for chain in ("provisioner", "provisioner-peers"):
        listed = re.sub(rf"\n\tchain {chain} {{\n(\t\t.*\n)*\t}}\n", "", listed)
    listed = re.sub(r"\t\tjump provisioner comment .*\n", "", listed)
    return re.sub(r"table inet provisioner {\n(.*\n)*?}\n", "", listed)


@IMAGES
def test_open_hosts_close_the_ports_to_strangers(hosts_of, image):
    hosts = hosts_of(3, image)
    hosts.echo("node1")
    address = hosts.lab.address("node1")
    before = hosts.sh("node1", "iptables-save")
    assert hosts.reaches("", address) == OURS | OTHER
    with ssh_all_along(hosts, "node1"):
        hosts.apply()
    assert hosts.reaches("", address) == OTHER
    assert hosts.reaches("node2", address) == OURS | OTHER
    assert hosts.reaches("node1", address) == OURS | OTHER
    assert hosts.reaches("node1", "127.0.0.1") == OURS | OTHER
    assert without_ours(hosts.sh("node1", "iptables-save")) == without_ours(before)


DROP = """
iptables -P INPUT DROP
iptables -A INPUT -p tcp --dport 22 -m comment --comment 'only SSH' -j ACCEPT
"""


@pytest.mark.parametrize("kind", ["nft", "legacy"])
def test_a_host_that_allows_only_ssh_becomes_usable(hosts_of, kind):
    hosts = hosts_of(3)
    for host in ("node1", "node2"):
        hosts.sh(host, f"for p in iptables ip6tables; do update-alternatives --set $p /usr/sbin/$p-{kind}; done")
        hosts.sh(host, "systemctl restart docker" + DROP)
        hosts.echo(host, OURS | OTHER | {("tcp", 8500)})
    one, two = hosts.lab.address("node1"), hosts.lab.address("node2")
    before = hosts.sh("node1", "iptables-save")
    assert hosts.reaches("node3", one) == set()
    assert hosts.reaches("node1", "127.0.0.1", {("tcp", 8500)}) == set()
    with ssh_all_along(hosts, "node1"):
        hosts.apply()
    assert hosts.reaches("node3", one) == OURS
    assert hosts.reaches("node1", two) == TCP  # answers get in, although no rule accepts established connections
    assert hosts.reaches("node1", "127.0.0.1", {("tcp", 8500)}) == {("tcp", 8500)}
    assert hosts.reaches("", one) == set()
    assert without_ours(hosts.sh("node1", "iptables-save")) == without_ours(before)


SPOOFED = """
import socket, struct, sys
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
source, target = map(socket.inet_aton, sys.argv[1:3])
udp = struct.pack("!HHHH", 7946, 4789, 8 + 4, 0) + b"fake"
raw.sendto(struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, source, target) + udp, (sys.argv[2], 0))
"""
HEARD = """
import socket
k = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); k.bind(("0.0.0.0", 4789)); k.settimeout(1)
print("ready", flush=True)
try: print(k.recvfrom(99)[1][0])
except OSError: print("nothing")
"""


@pytest.mark.parametrize("native", [False, True], ids=["iptables", "nftables"])
def test_containers_do_not_get_past_their_hosts_rules(hosts_of, native):
    """Packets of containers leave with their host's address, so other hosts take them for a peer's."""
    hosts = hosts_of(3, images={"node1": "bare"} if native else None)
    one, two, three = map(hosts.lab.address, hosts.lab.hosts)
    if native:
        install = "apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y nftables python3-minimal iproute2"
        hosts.sh("node1", f"{install} >/dev/null 2>&1")
    hosts.container("node1", rules=MASQUERADE_NFT if native else MASQUERADE)
    ours = OURS - {("udp", 4789)}
    for host in ("node1", "node2"):
        hosts.echo(host, ours | OTHER)
    # Datagrams to port 4789 (at, source, target): with the container's address, and with a peer's; to another host and its own.
    sent = [("node2", "10.77.0.2", two), ("node2", three, two), ("node1", two, one)]

    def heard() -> list[str]:
        return [_heard(hosts, at, source, target) for at, source, target in sent]

    def passes(ports: set[tuple[str, int]]) -> bool:
        return hosts.reaches_from_inside("node1", two, ours | OTHER) == ports

    assert passes(ours | OTHER)
    hosts.apply("node2")
    assert passes(ours | OTHER)  # node2 can't tell them from node1
    assert heard() == [one, three, two]
    hosts.apply()

    def kept() -> None:
        assert passes(OTHER)
        assert hosts.reaches_from_inside("node1", "10.77.0.1", ours | OTHER) == OTHER  # its own host
        assert hosts.reaches_from_inside("node1", one, ours) == set()
        assert hosts.reaches("node1", two, ours) == hosts.reaches("node2", one, ours) == ours
        assert hosts.drift("node1") == ()

    kept()
    assert heard() == ["nothing"] * 3
    if native:
        hosts.sh(
            "node1",
            "nft flush chain ip elsewhere hidden; nft add rule ip elsewhere hidden ip saddr 10.77.0.0/24 masquerade",
        )
    else:
        hosts.sh(
            "node1",
            "systemctl restart docker; iptables -F FORWARD; iptables -F DOCKER-USER; iptables -P FORWARD ACCEPT",
        )
    kept()
    hosts.sh(
        "node1",
        "nft delete chain inet provisioner forward"
        if native
        else "iptables -t mangle -I FORWARD -i br-0123456789ab -j ACCEPT",
    )
    assert passes(ours | OTHER)
    assert [wording.what(drift) for drift in hosts.drift("node1")] == [
        "rules of nftables" if native else "rules of iptables"
    ]
    hosts.apply("node1")
    kept()


def _heard(hosts: Hosts, at: str, source: str, target: str) -> str:
    """Send a datagram to port 4789 from node1's container with the address `source`. Returns the sender that `at` sees."""
    listen = hosts.lab.enter_command(at, ["python3", "-c", HEARD])
    with subprocess.Popen(listen, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        hosts.sh("node1", f"ip netns exec inside python3 - {source} {target}", SPOOFED)
        return process.communicate(timeout=10)[0].strip()


ASKS = """
import socket, sys
def ask(kind, address, port):
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as k:
            k.settimeout(2); k.connect((address, port)); k.send(b"x"); return "answers" if k.recv(9) else "nothing"
    except OSError as error:
        return type(error).__name__
for word in sys.argv[1:]:
    kind, address, port = word.split("/")
    print(word, ask(kind, address, int(port)))
"""
KEEPS = "import socket, time; k = socket.create_connection(('127.0.0.1', 8500)); k.recv(9); print('on', flush=True); time.sleep(99)"
LASTING = ECHO.replace("c.close()", "kept.append(c)").replace("s = selectors", "kept = []; s = selectors")


@pytest.mark.parametrize("native", [False, True], ids=["iptables", "nftables"])
def test_only_root_and_the_stores_users_open_its_ports(hosts_of, native):
    hosts = hosts_of(2)
    one, two = map(hosts.lab.address, hosts.lab.hosts)
    if native:
        for host in hosts.lab.hosts:
            hosts.sh(
                host,
                "cat >/etc/nftables.conf; systemctl enable -q --now nftables",
                NFT_CONF.replace("policy drop", "policy accept"),
            )
    for host in hosts.lab.hosts:
        hosts.echo(host, OURS | OTHER | {("tcp", 8500)})
        hosts.sh(host, "id consul || useradd --system consul; useradd --system exporter")
    store = [
        "tcp/127.0.0.1/8500",
        f"tcp/{one}/8500",
        f"tcp/{one}/8301",
        f"tcp/{two}/8300",
        f"udp/{two}/8301",
        f"udp/{one}/8301",
    ]
    overlay = ["tcp/127.0.0.1/7946", f"tcp/{two}/7946", f"udp/{two}/7946", f"udp/{one}/7946", f"udp/{two}/4789"]
    free = ["tcp/127.0.0.1/7000", f"tcp/{two}/7000", f"udp/{two}/7000"]

    def answers(user: str) -> dict[str, str]:
        said = hosts.sh(
            "node1",
            f"setpriv --reuid={user} --regid=65534 --clear-groups python3 - {' '.join([*store, *overlay, *free])}",
            ASKS,
        )
        return dict(line.split() for line in said.splitlines())

    def refused(words: list[str]) -> dict[str, str]:
        return {word: "ConnectionRefusedError" if word.startswith("tcp") else "PermissionError" for word in words}

    open_ = dict.fromkeys([*store, *overlay, *free], "answers")
    assert answers("nobody") == open_
    hosts.apply()
    assert answers("nobody") == answers("exporter") == open_ | refused([*store, *overlay])
    assert answers("consul") == open_ | refused(overlay)
    assert answers("root") == open_
    hosts.store = "{kind: consul, local_users: [exporter, 65534]}"
    hosts.apply()
    assert answers("nobody") == answers("exporter") == open_ | refused(overlay)
    hosts.reboot("node1")
    assert hosts.drift("node1") == ()
    assert "uid-owner" in hosts.sh(
        "node1", "nft list ruleset | sed 's/skuid/uid-owner/'" if native else "iptables-save"
    )


def test_local_users_of_the_store_are_reported_before_they_are_locked_out(hosts_of):
    hosts = hosts_of(1)
    listen = hosts.lab.enter_command("node1", ["python3", "-c", LASTING, *words({("tcp", 8500)})])
    hosts._echoes.append(subprocess.Popen(listen, stdout=subprocess.PIPE, text=True))
    assert hosts._echoes[-1].stdout.readline() == "ready\n"
    hosts.sh("node1", "useradd --system exporter")
    uses = hosts.lab.enter_command(
        "node1", ["setpriv", "--reuid=exporter", "--regid=65534", "--clear-groups", "python3", "-c", KEEPS]
    )
    hosts._echoes.append(subprocess.Popen(uses, stdout=subprocess.PIPE, text=True))
    assert hosts._echoes[-1].stdout.readline() == "on\n"
    assert closing(hosts.site()) == ["node1"]
    (finding,) = locked_out(hosts.site())
    assert finding.evidence.startswith("python3 of the user exporter uses the store at 127.0.0.1:8500; ")
    hosts.store = "{kind: consul, local_users: [exporter]}"
    assert list(locked_out(hosts.site())) == []


def test_traffic_of_peers_through_a_router_and_published_ports(hosts_of):
    """node1 routes between node2 and node3, like the hub of a VPN. Its container publishes one of our ports."""
    hosts = hosts_of(3)
    one, two, three = map(hosts.lab.address, hosts.lab.hosts)
    hosts.container("node1", rules=MASQUERADE)
    hosts.sh(
        "node1",
        f"iptables -t nat -A PREROUTING -d {one} -p tcp --dport 7000 -j DNAT --to 10.77.0.2:7946; for f in all eth0; do echo 0 >/proc/sys/net/ipv4/conf/$f/send_redirects; done; iptables -I FORWARD -i eth0 -o eth0 -j ACCEPT",
    )
    for here, there in (("node2", three), ("node3", two)):
        hosts.sh(here, f"ip route add {there}/32 via {one}")
    hosts.apply()
    hosts.echo("node3", OURS | OTHER)
    assert hosts.reaches("node2", three) == OURS | OTHER
    inside = hosts.lab.enter_command("node1", ["ip", "netns", "exec", "inside", "python3", "-c", ECHO, "tcp/7946"])
    process = subprocess.Popen(inside, stdout=subprocess.PIPE, text=True)
    hosts._echoes.append(process)
    assert process.stdout.readline() == "ready\n"
    assert hosts.reaches("node2", one, {("tcp", 7000)}) == {("tcp", 7000)}
    # A peer may connect from any port, even one of ours: the answer is not dropped.
    ask = "import socket; k = socket.create_connection(('{}', 7000), 2, ('', 7946)); print(k.recv(9))"
    assert "hello" in hosts.sh("node2", f'python3 -c "{ask.format(one)}"')


@IMAGES
def test_rules_survive_a_reboot(hosts_of, image):
    hosts = hosts_of(2, image)
    hosts.apply()
    hosts.reboot("node1")
    assert hosts.drift("node1") == ()
    hosts.echo("node1")
    assert hosts.reaches("node2", hosts.lab.address("node1")) == OURS | OTHER
    assert hosts.reaches("", hosts.lab.address("node1")) == OTHER


@IMAGES
def test_nftables_with_policy_drop(hosts_of, image):
    hosts = hosts_of(3, image)
    for host in ("node1", "node2"):
        hosts.sh(
            host, "cat >/etc/nftables.conf; systemctl enable -q --now nftables; systemctl restart docker", NFT_CONF
        )
        hosts.echo(host, OURS | OTHER | {("tcp", 8500)})
    one, two = hosts.lab.address("node1"), hosts.lab.address("node2")
    before = hosts.sh("node1", "nft -s list ruleset; cat /etc/nftables.conf")
    assert hosts.reaches("node3", one) == set()

    def holds() -> None:
        assert hosts.reaches("node3", one) == OURS
        assert hosts.reaches("node1", two) == TCP
        assert hosts.reaches("node1", "127.0.0.1", {("tcp", 8500)}) == {("tcp", 8500)}
        assert hosts.reaches("", one) == set()
        assert hosts.drift("node1") == ()

    with ssh_all_along(hosts, "node1"):
        hosts.apply()
        holds()
        assert nft_without_ours(hosts.sh("node1", "nft -s list ruleset; cat /etc/nftables.conf")) == before
        for action in (
            "restart nftables",
            "reload nftables",
            "stop nftables; systemctl start nftables",
            "restart docker",
        ):
            hosts.sh("node1", f"systemctl {action}")
            eventually(lambda: hosts.drift("node1") == ())
            holds()
    hosts.reboot("node1")
    hosts.echo("node1", OURS | OTHER | {("tcp", 8500)})
    holds()


def test_both_kinds_of_rules_on_one_host(hosts_of):
    hosts = hosts_of(2)
    hosts.sh("node1", "cat >/etc/nftables.conf; systemctl enable -q --now nftables", NFT_CONF)
    hosts.sh("node1", DROP)
    hosts.apply()
    hosts.echo("node1")
    assert hosts.reaches("node2", hosts.lab.address("node1")) == OURS
    assert hosts.reaches("", hosts.lab.address("node1")) == set()
    hosts.sh(
        "node1",
        "iptables -D INPUT -j PROVISIONER; nft flush chain inet filter input;"
        " nft add rule inet filter input tcp dport 22 accept",
    )
    assert {wording.what(drift) for drift in hosts.drift("node1")} == {"rules of iptables", "rules of nftables"}
    hosts.apply("node1")
    assert hosts.reaches("node2", hosts.lab.address("node1")) == OURS


def test_rules_that_others_put_first(hosts_of):
    hosts = hosts_of(2)
    hosts.apply()
    hosts.sh("node1", "iptables -N f2b-sshd; iptables -I INPUT -p tcp -m multiport --dports 22 -j f2b-sshd")
    assert hosts.drift("node1") == ()  # that rule matches only SSH
    hosts.sh(
        "node1",
        "iptables -I INPUT -s 192.168.0.0/16 -p tcp -j ACCEPT; iptables -I INPUT -j PROVISIONER -m comment --comment not-ours",
    )
    hosts.sh("node1", "iptables -A INPUT -j PROVISIONER")  # twice
    assert [wording.what(drift) for drift in hosts.drift("node1")] == ["rules of iptables"]
    before = without_ours(hosts.sh("node1", "iptables-save"))
    hosts.apply("node1")
    assert without_ours(hosts.sh("node1", "iptables-save")) == before
    hosts.echo("node1")
    assert hosts.reaches("", hosts.lab.address("node1")) == OTHER


@pytest.mark.parametrize("native", [False, True], ids=["iptables", "nftables"])
def test_traffic_continues_while_hosts_are_added_and_removed(hosts_of, native):
    hosts = hosts_of(3)
    hosts.members = ("node1", "node2")
    if native:
        hosts.sh("node1", "cat >/etc/nftables.conf; systemctl enable -q --now nftables", NFT_CONF)
    hosts.echo("node1")
    address = hosts.lab.address("node1")
    hosts.apply()
    assert hosts.reaches("node3", address, OURS) == set()
    rules = "nft -s list ruleset" if native else "iptables-save | sed 's/ \\[.*//; /^#/d'"
    with without_loss(hosts, "node2", address):
        hosts.members = ("node1", "node2", "node3")
        before = hosts.sh("node1", rules)
        hosts.apply("node1")
        after = hosts.sh("node1", rules)
        changed = set(before.splitlines()) ^ set(after.splitlines())
        assert changed
        assert all("192.168.56.12" in line or "192.168.56.13" in line for line in changed)
        assert hosts.reaches("node3", address, OURS) == OURS
        for _ in range(20):
            hosts.sh("node1", firewall.SCRIPT)
        hosts.members = ("node1", "node2")
        hosts.apply("node1")
    assert hosts.sh("node1", rules) == before
    assert hosts.reaches("node3", address, OURS) == set()


def test_nothing_is_opened_over_ipv6(hosts_of):
    hosts = hosts_of(2)
    link = "fe80::c0ff:fec0:ffee%eth0"
    hosts.sh("node1", "ip -6 address add fe80::c0ff:fec0:ffee/64 dev eth0 nodad")
    hosts.apply()
    listen = hosts.lab.enter_command("node1", ["python3", "-c", ECHO.replace("AF_INET", "AF_INET6").replace("0.0.0.0", "::"), "tcp/7946", "tcp/7000"])  # fmt: skip
    process = subprocess.Popen(listen, stdout=subprocess.PIPE, text=True)
    hosts._echoes.append(process)
    process.stdout.readline()
    assert hosts.reaches("node2", link, {("tcp", 7946), ("tcp", 7000)}) == {("tcp", 7000)}


def test_firewalld_and_its_restart(hosts_of):
    """The start of firewalld stops nftables.service. A unit bound to both could not restart together with firewalld."""
    hosts = hosts_of(2, images={"node1": "bare"})
    install = "apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y firewalld nftables iptables python3-minimal"
    hosts.sh("node1", install + " >/dev/null 2>&1 && systemctl enable -q --now firewalld && firewall-cmd -q --state")
    assert firewall.other_managers(hosts.site().facts["node1"], Consul.ports) == ("firewalld",)
    hosts.echo("node1")
    address = hosts.lab.address("node1")
    assert hosts.reaches("node2", address) == set()
    with ssh_all_along(hosts, "node1"):
        hosts.apply()
        hosts.sh("node1", "systemctl restart firewalld")
        eventually(lambda: hosts.reaches("node2", address) == OURS)
    hosts.reboot("node1")
    hosts.echo("node1")
    eventually(lambda: hosts.drift("node1") == ())
    assert hosts.reaches("node2", address) == OURS
    assert hosts.reaches("", address) == set()


def test_ufw(hosts_of):
    hosts = hosts_of(2, images={"node1": "bare"})
    install = "apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y ufw python3-minimal"
    hosts.sh(
        "node1", install + " >/dev/null 2>&1 && ufw allow 22/tcp && ufw --force enable && systemctl enable -q --now ufw"
    )
    assert firewall.other_managers(hosts.site().facts["node1"], Consul.ports) == ("ufw",)
    hosts.echo("node1")
    address = hosts.lab.address("node1")
    hosts.apply()
    for action in ("ufw reload", "ufw disable; ufw --force enable", "systemctl restart ufw"):
        hosts.sh("node1", action)
        assert hosts.drift("node1") == ()
    hosts.reboot("node1")
    hosts.echo("node1")
    assert hosts.reaches("node2", address) == OURS
    assert hosts.reaches("", address) == set()


def test_ssh_on_a_port_of_the_cluster_is_not_cut(hosts_of):
    """The inventory's port may be a router's. What counts is the port on which sshd has the connection."""
    hosts = hosts_of(1)
    hosts.sh("node1", "printf 'Port 22\\nPort 7946\\n' >>/etc/ssh/sshd_config; systemctl restart ssh")
    target = replace(hosts.site().inventory.target("node1"), port=7946)
    work = Firewall().work(hosts.site(), "node1", ())
    with hosts.lab.enter(), contextlib.closing(connect(target)) as connection:
        answer = connection.write(render.library() + work.script, deadline=work.deadline, accept=(70,))
    assert "sshd listens on port 7946, which belongs to the cluster and would be closed to you" in answer.stderr
    assert hosts.sh("node1", f"iptables-save | grep PROVISIONER; ls {firewall.SCRIPT}", check=False) == ""
    hosts.apply()  # over port 22, so that nobody is using port 7946


def test_without_a_filter_the_error_says_what_to_install(hosts_of):
    hosts = hosts_of(1, "bare")
    site = hosts.site()
    script = Firewall().work(site, "node1", ()).script
    answer = hosts.lab.exec("node1", render.library() + script, check=False)
    assert answer.returncode == 70
    assert "this host has no iptables\tinstall the package iptables" in answer.stderr
    assert hosts.sh("node1", "ls /etc/provisioner", check=False) == ""


def test_rules_that_the_kernel_refuses_are_reported(hosts_of):
    hosts = hosts_of(1)
    hosts.sh(
        "node1",
        "mv /usr/sbin/iptables-restore /tmp && printf '#!/bin/sh\\necho no such match >&2; exit 1\\n' >/usr/sbin/iptables-restore && chmod 755 /usr/sbin/iptables-restore",
    )
    script = Firewall().work(hosts.site(), "node1", ()).script
    answer = hosts.lab.exec("node1", render.library() + script, check=False)
    assert answer.returncode == 70
    assert "the firewall's rules can't be set: no such match iptables did not take the rules" in answer.stderr
