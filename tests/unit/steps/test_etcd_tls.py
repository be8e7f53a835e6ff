"""etcd over TLS: what new hosts get, what is kept and renewed, and that a cluster without TLS stays without it."""

from __future__ import annotations

import json

import pytest
from captured import HOSTS, capture, with_file, with_raw, with_sum, with_system, with_unit

from provisioner import causes, preflight, wording
from provisioner.controlplane import resolve
from provisioner.errors import StepFailed
from provisioner.steps.daemon import Daemon
from provisioner.steps.store import Store
from provisioner.stores import authority, etcd
from provisioner.stores.base import TLS_FILES, TLS_OPTIONS
from provisioner.stores.values import digest
from provisioner.system import certificates
from provisioner.system.certificates import Pair
from provisioner.system.reading import DAEMON_JSON

STORE, DAEMON = Store(), Daemon()


@pytest.fixture
def site(inventory):
    """Return a function that makes a site of three hosts whose inventory has TLS.

    words: more keys of the inventory's store. hosts: facts that replace those of single hosts.
    """

    def make(words="", **hosts):
        facts = {name: hosts.get(name) or capture(f"etcd-{name}") for name in HOSTS}
        named = inventory(kind="etcd", store=words).model_copy(update={"cluster": "capture-etcd"})
        made, findings = resolve(named, facts)
        assert not findings
        return made

    return make


def new(name):
    """Return a host on which etcd is installed but not set up."""
    facts = with_unit(capture(f"etcd-{name}"), etcd.UNIT, ActiveState="inactive", UnitFileState="disabled")
    for path in (etcd.JSON, etcd.LOADED, etcd.UNIT_FILE):
        facts = with_file(facts, path, "")
    keys = [key for key in facts.raw if key.startswith("http:") and key not in ("http:info", "http:networks")]
    return with_system(with_raw(facts, **dict.fromkeys(keys, "000 Connection refused")), "etcd-data=", None)


def with_files(facts, files):
    """Return a host on which these files were written."""
    secret = ""
    for file in files:
        if file.path in (TLS_FILES[2], authority.KEY):
            secret += "".join(f"{file.path}:{line}\n" for line in file.text.splitlines())
        else:
            facts = with_file(facts, file.path, file.text)
        if file.path in TLS_FILES:
            facts = with_sum(facts, file.path, digest(file.text))
    guarded = "".join(f"{file.path}\n" for file in files if file.owner.startswith("root:"))
    return with_raw(
        facts, secrets=facts.raw.get("secrets", "") + secret, guarded=facts.raw.get("guarded", "") + guarded
    )


@pytest.fixture
def founded(site):
    """Return the hosts after a first run has set up etcd."""
    whole = site(**{name: new(name) for name in HOSTS})
    hosts = {}
    for name in HOSTS:
        service = whole.backend.service(whole, name)
        facts = capture(f"etcd-{name}")
        answers = {f"{key}@socket": text for key, text in facts.raw.items() if key.startswith("http:")}
        answers |= {
            key: "000 Connection refused"
            for key in facts.raw
            if key in ("http:health", "http:members", "http:self", "http:version")
        }
        answers = {key: text.replace("http://192", "https://192") for key, text in answers.items()}
        facts = with_raw(with_files(facts, (*service.files, *service.secrets)), **answers)
        loaded = service.files[1].text + service.files[0].text
        hosts[name] = with_file(facts, etcd.LOADED, loaded)
    return hosts


def pair(whole, name):
    _, cert, key = whole.backend.credentials(whole, name)
    return Pair(cert.text, key.text)


def differs(whole, host="node2", step=STORE):
    return {wording.what(d): wording.note(d) for d in step.drift(whole, host)}


def test_new_hosts_get_certificates_of_one_authority(site):
    whole = site(**{name: new(name) for name in HOSTS})
    services = {name: whole.backend.service(whole, name) for name in HOSTS}
    authorities = {service.secrets[0].text for service in services.values()}
    assert len(authorities) == 1
    assert {file.path for file in services["node2"].secrets} == {*TLS_FILES, authority.KEY}
    says = certificates.contents(services["node2"].secrets[1].text)
    assert (says.names, says.addresses) == ({"node2"}, {"192.168.56.12", "127.0.0.1"})
    modes = {file.path: (file.mode, file.owner) for file in services["node2"].secrets}
    assert modes[TLS_FILES[2]] == ("0640", "root:etcd")
    assert modes[authority.KEY] == ("0600", "root:root")
    work = STORE.work(whole, "node2", STORE.drift(whole, "node2"))
    assert not work.alone
    assert "PRIVATE" not in repr(STORE.drift(whole, "node2")) + repr(services)


def test_the_file(site):
    whole = site(**{name: new(name) for name in HOSTS})
    config = json.loads(whole.backend.service(whole, "node2").files[0].text)
    assert config["listen-client-urls"] == "https://192.168.56.12:2379,unix://localhost:2379"
    assert config["initial-cluster"].startswith("node1=https://192.168.56.11:2380,")
    assert "http://192.168.56.12:2379" not in json.dumps(config)
    for part in ("client", "peer"):
        assert config[f"{part}-transport-security"] == {
            "client-cert-auth": True,
            "trusted-ca-file": TLS_FILES[0],
            "cert-file": TLS_FILES[1],
            "key-file": TLS_FILES[2],
        }


def test_settled(site, founded):
    whole = site(**founded)
    assert all(STORE.drift(whole, name) == () for name in HOSTS)
    assert whole.backend.formed(whole)
    assert whole.backend.peers(whole.facts) == set(whole.advertise.values())
    assert len({whole.backend.leader(facts) for facts in whole.facts.values()}) == 1
    assert list(whole.backend.findings(whole)) == []


def test_engines_use_the_existing_certificates(site, founded):
    whole = site(**founded)
    drift = {wording.what(d): d for d in DAEMON.drift(whole, "node2")}
    assert json.loads(drift[DAEMON_JSON].wanted)["cluster-store-opts"] == dict(zip(TLS_OPTIONS, TLS_FILES, strict=True))
    assert not set(TLS_FILES) & set(drift)
    assert pair(whole, "node2").certificate == founded["node2"].files[TLS_FILES[1]]
    assert " etcd 192.168.56.11:2381 " in whole.backend.waiting(whole, "node2").command + " "


def test_a_certificate_that_does_not_fit_is_renewed_by_the_same_authority(site, founded):
    broken = with_file(founded["node2"], TLS_FILES[1], "nonsense\n")
    whole = site(**{**founded, "node2": with_sum(broken, TLS_FILES[1], digest("nonsense\n"))})
    assert set(differs(whole)) == {TLS_FILES[1], TLS_FILES[2]}
    assert certificates.signed_by(pair(whole, "node2").certificate, [founded["node1"].files[TLS_FILES[0]]])
    assert differs(whole, "node1") == {}


def test_an_added_host_gets_a_certificate_and_not_the_authority_s_key(site, founded):
    whole = site(", servers: [node1]", **{**founded, "node2": new("node2"), "node3": new("node3")})
    assert [file.path for file in whole.backend.credentials(whole, "node2")] == list(TLS_FILES)
    assert whole.backend.credentials(whole, "node2")[2].owner == "root:root"
    assert certificates.signed_by(pair(whole, "node2").certificate, [founded["node1"].files[TLS_FILES[0]]])
    assert STORE.drift(whole, "node2") == ()


def test_without_the_authority_s_key_no_new_authority_is_created(site, founded):
    lost = {name: with_raw(facts, secrets="") for name, facts in founded.items()}
    with pytest.raises(StepFailed, match="no reachable host has the key of the authority"):
        STORE.drift(site(**lost), "node2")


def test_a_cluster_that_was_founded_without_tls_keeps_it_off_and_a_warning_says_so(site):
    whole = site()
    assert all(STORE.drift(whole, name) == () for name in HOSTS)
    assert whole.backend.credentials(whole, "node2") == ()
    found = [(f.id, causes.severity(f).value) for f in preflight.run(whole)]
    assert ("store-tls-kept", "warning") in found


def test_a_cluster_that_was_founded_with_tls_keeps_it(site, founded):
    whole = site(", security: {tls: false}", **founded)
    assert all(STORE.drift(whole, name) == () for name in HOSTS)
    assert "store-tls-kept" in {f.id for f in preflight.run(whole)}


def test_a_cluster_that_is_down_as_a_whole_is_not_taken_for_a_new_one(site):
    down = {name: with_unit(capture(f"etcd-{name}"), etcd.UNIT, ActiveState="failed") for name in HOSTS}
    silent = {f"http:{what}": "000 Connection refused" for what in ("health", "members", "self", "version")}
    whole = site(**{name: with_raw(facts, **silent) for name, facts in down.items()})
    assert differs(whole) == {etcd.UNIT: "start"}


@pytest.mark.parametrize(
    ("version", "fit"), [("3.2.26", False), ("3.3.25", True), ("3.5.16", True), ("3.6.1", False), ("", True)]
)
def test_which_versions(site, version, fit):
    whole = site(node1=new("node1"), node3=new("node3"), node2=with_system(new("node2"), "etcd-version=", version))
    assert ("store-without-v2" in {f.id for f in preflight.run(whole)}) is not fit
    if not fit:
        with pytest.raises(StepFailed, match=r"3\.3, 3\.4 and 3\.5"):
            STORE.drift(whole, "node2")
