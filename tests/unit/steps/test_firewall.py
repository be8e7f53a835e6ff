"""The step firewall on drifted, settled and half-done hosts, and on hosts that must not be changed."""

import subprocess
from ipaddress import IPv4Address

import pytest

from provisioner import inventory, wording
from provisioner.controlplane import Site
from provisioner.errors import StepFailed
from provisioner.steps.firewall import Firewall, _files, _plan
from provisioner.stores.consul import Consul
from provisioner.system import firewall
from provisioner.system.facts import Facts

PORTS = Consul.ports
SAYS = "program=iptables\nprogram=ip6tables\nprogram=nft\nipv6=yes\n"
UNIT = f"Id={firewall.UNIT}\nLoadState=loaded\nActiveState={{}}\nUnitFileState={{}}\n"
GATE = "table inet filter {\n\tchain input {\n\t\ttype filter hook input priority filter; policy drop;\n\t}\n}\n"


@pytest.fixture
def site(tmp_path):
    def make(raw, hosts=("node1", "node2", "node3"), port=22):
        entries = ", ".join(f"{name}: {{address: 192.168.56.1{name[-1]}, port: {port}}}" for name in hosts)
        path = tmp_path / "inventory.yml"
        path.write_text(
            f"cluster: test\nhosts: {{{entries}}}\nstore: {{kind: consul}}\nnetworks: {{demo: {{subnet: 10.99.0.0/24}}}}\n"
        )
        loaded = inventory.load(path)
        addresses = {name: IPv4Address(host.address) for name, host in loaded.hosts.items()}
        return Site(loaded, {name: Facts(raw) for name in hosts}, addresses, ("node1",), tuple(hosts))

    return make


def settled(made, host="node1", *, active="active", state="enabled", **changed):
    """Return the site with node1 as it is after the step. changed: facts to replace."""
    plan = _plan(made, host)
    files = {path: text for path, text in _files(plan).items() if path not in changed}
    lines = [f"{path}:{line}" for path, text in files.items() for line in text.splitlines()]
    passwd = firewall.uids(made.facts[host])
    v4, v6 = (
        "".join(f"*{part.table}\n:INPUT DROP [0:0]\n{part.chains}" + "\n".join(part.jumps) + "\n" for part in parts)
        for parts in plan.parts[0].words["restored"].values()
    )
    v4, v6 = (
        text.replace("@consul", str(passwd["consul"]))
        if passwd
        else "\n".join(line for line in text.split("\n") if "@" not in line)
        for text in (v4, v6)
    )
    raw = {"files": "\n".join(lines), "units": UNIT.format(active, state), "iptables": v4, "ip6tables": v6}
    return made.known(host, Facts({**made.facts[host].raw, **raw, **{k: v for k, v in changed.items() if k in raw}}))


def whats(drift):
    return [wording.what(each) for each in drift]


def test_drifted(site):
    made = site({"firewall": SAYS})
    drift = Firewall().drift(made, "node1")
    assert whats(drift) == [
        "rules of iptables",
        "rules of ip6tables",
        firewall.SCRIPT,
        firewall.UNIT_FILE,
        f"{firewall.UNIT} at boot",
        firewall.UNIT,
    ]
    assert drift[0].is_file
    assert "192.168.56.12/32" in drift[0].wanted
    assert not any(each.pending for each in drift)
    assert Firewall().work(made, "node1", drift).script


def test_settled(site):
    assert Firewall().drift(settled(site({"firewall": SAYS})), "node1") == ()


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"state": "disabled"}, [f"{firewall.UNIT} at boot"]),
        ({"active": "failed"}, [firewall.UNIT]),
        ({firewall.SCRIPT: ""}, [firewall.SCRIPT]),
        ({firewall.UNIT_FILE: ""}, [firewall.UNIT_FILE]),
        ({"iptables": "*filter\n:INPUT ACCEPT [0:0]\n"}, ["rules of iptables"]),
        ({"ip6tables": ""}, ["rules of ip6tables"]),
        ({"iptables": "", "ip6tables": "", "state": ""}, ["rules of iptables", "rules of ip6tables", f"{firewall.UNIT} at boot"]),
    ],
)  # fmt: skip
def test_half_done(site, changed, expected):
    made = settled(site({"firewall": SAYS}), **changed)
    drift = Firewall().drift(made, "node1")
    assert whats(drift) == expected
    assert Firewall().work(made, "node1", drift).script


def test_a_new_host_changes_only_rules_of_its_own(site):
    before = settled(site({"firewall": SAYS}, hosts=("node1", "node2")))
    after = site({"firewall": SAYS}).known("node1", before.facts["node1"])
    drift = Firewall().drift(after, "node1")
    assert whats(drift) == ["rules of iptables", firewall.SCRIPT]
    added = set(drift[0].wanted.splitlines()) - set(drift[0].found.splitlines())
    assert added == {
        "-A PROVISIONER-PEERS -s 192.168.56.13/32 -j ACCEPT",
        "-A PROVISIONER-OWNER -d 192.168.56.13/32 -j PROVISIONER-REFUSED",
        "-A PROVISIONER-AWAY -d 192.168.56.13/32 -j DROP",
    }
    assert set(drift[0].found.splitlines()) < set(drift[0].wanted.splitlines())


def test_a_bare_host_is_planned_with_iptables(site):
    drift = Firewall().drift(site({}), "node1")
    assert whats(drift)[0] == "rules of iptables"
    assert drift[0].found == ""


@pytest.mark.parametrize("port", PORTS.tcp)
def test_the_port_of_ssh_is_never_closed(site, port):
    made = site({"firewall": SAYS}, port=port)
    with pytest.raises(StepFailed, match=f"port {port}"):
        Firewall().drift(made, "node1")


@pytest.mark.parametrize("raw", [{"firewall": SAYS}, {"firewall": SAYS, "nftables": GATE}, {}])
def test_every_script_is_understood_by_sh(site, raw):
    made = site(raw)
    plan = firewall.plan(made.facts["node1"], made.peers("node1"), PORTS)
    for text in (Firewall().work(made, "node1", ()).script, _files(plan)[firewall.SCRIPT]):
        subprocess.run(["sh", "-n"], input=text, text=True, check=True)


def test_the_stores_own_user_is_made_before_rules_that_name_it(site):
    """The store's package creates the user; an uploaded program does not."""
    without, with_it = (site({"firewall": SAYS, "passwd": text}) for text in ("root:0\n", "root:0\nconsul:104\n"))
    drift = Firewall().drift(without, "node1")
    assert whats(drift)[:2] == ["user consul", "rules of iptables"]
    assert "uid-owner 104" not in drift[1].wanted
    assert "useradd" in Firewall().work(without, "node1", drift).script
    assert "user consul" not in whats(Firewall().drift(with_it, "node1"))
    assert "uid-owner 104 -j RETURN" in Firewall().drift(with_it, "node1")[0].wanted
    assert Firewall().drift(settled(with_it), "node1") == ()
    assert _files(_plan(without, "node1")) == _files(_plan(with_it, "node1"))  # they do not contain the host's UIDs


def test_the_unit_follows_the_units_that_load_rules(site):
    made = site({"firewall": SAYS + "active=nftables.service\n"})
    unit = _files(firewall.plan(made.facts["node1"], (), PORTS))[firewall.UNIT_FILE]
    assert "\nPartOf=nftables.service\n" in unit
    assert "\nWantedBy=multi-user.target nftables.service\n" in unit
    alone = _files(firewall.plan(Facts({}), (), PORTS))[firewall.UNIT_FILE]
    assert "PartOf" not in alone
    assert "\nWantedBy=multi-user.target\n" in alone
