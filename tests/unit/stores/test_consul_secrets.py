"""Consul's security, on captured hosts without it: new, in transition, done, interrupted, and with differing hosts."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest
from captured import HOSTS, capture, with_file, with_http, with_raw, with_system

from provisioner import causes, wording
from provisioner.controlplane import resolve
from provisioner.errors import StepFailed
from provisioner.model import Severity
from provisioner.steps.store import Store
from provisioner.stores import consul_acl as acl
from provisioner.stores import consul_rotation
from provisioner.stores import consul_security as security
from provisioner.stores.consul import JSON, UNIT_FILE
from provisioner.stores.consul_security import Levels
from provisioner.system import certificates
from provisioner.system.reading import DAEMON_JSON
from provisioner.workflows import rotate as rotation

ON, STEP = ", security: {}", Store()
TLS = (security.AUTHORITY, security.CERTIFICATE, security.KEY)


def with_secrets(facts, files):
    """Add the secret files of a service to the facts."""
    lines = [f"{file.path}:{line}" for file in files for line in file.text.splitlines()]
    modes = [f"={file.mode.lstrip('0')} {file.owner} {file.path}" for file in files]
    guarded = [file.path for file in files if file.owner.startswith("root:")]
    return with_raw(facts, secrets="\n".join([*lines, *modes]) + "\n", guarded="\n".join(guarded) + "\n")


@pytest.fixture
def new(inventory):
    return resolve(inventory(store=ON), {name: capture(f"installed-{name}") for name in HOSTS})[0]


def brought(site, stage=None):
    """Return the site after the step: each host has the files, and an agent that was started with them."""
    site = replace(site, stage=stage)
    found = {}
    for name in HOSTS:
        service = site.backend.service(site, name)
        config, unit = (file.text for file in service.files)
        facts = with_secrets(capture(f"settled-{name}"), service.secrets)
        for path, text in ((JSON, config), (UNIT_FILE, unit), (security.LOADED, unit + config)):
            facts = with_file(facts, path, text)
        found[name] = facts
    return replace(site, facts=found, stage=None)


@pytest.fixture
def secured(new):
    return brought(new)


def differs(site, host="node2"):
    return [(wording.what(d), wording.note(d)) for d in STEP.drift(site, host)]


def secret(site, host, path):
    return next(file.text for file in site.backend.service(site, host).secrets if file.path == path)


class TestNew:
    def test_it_starts_with_everything(self, new):
        service = new.backend.service(new, "node2")
        config = json.loads(service.files[0].text)
        assert (
            config["encrypt_verify_incoming"] is config["verify_incoming"] is config["verify_server_hostname"] is True
        )
        assert config["acl"]["default_policy"] == "deny"
        assert {file.path for file in service.secrets} == set(security.FILES)
        assert new.backend.stages(new) == (None,)

    def test_all_hosts_get_the_same_and_a_certificate_each(self, new):
        for path in (
            security.KEYRING,
            security.TOKENS,
            security.MANAGEMENT,
            security.AUTHORITY,
            security.AUTHORITY_KEY,
        ):
            assert len({secret(new, name, path) for name in HOSTS}) == 1, path
        assert len({secret(new, name, security.KEY) for name in HOSTS}) == 3
        says = certificates.contents(secret(new, "node2", security.CERTIFICATE))
        assert says.names == {"node2", "localhost", "server.dc1.consul"}
        assert says.addresses == {"127.0.0.1", "192.168.56.12"}

    def test_what_only_servers_have(self, inventory):
        facts = {f"node{n}": capture("installed-node1") for n in (1, 2, 3, 4)}
        four = resolve(inventory(4, each=", advertise: 192.168.56.1{}", store=ON), facts)[0]
        has = {file.path for file in four.backend.service(four, "node4").secrets}
        assert not {security.MANAGEMENT, security.AUTHORITY_KEY} & has
        assert "server.dc1.consul" not in certificates.contents(secret(four, "node4", security.CERTIFICATE)).names

    def test_a_run_that_was_interrupted_before_it_reached_a_server(self, inventory):
        """A host has the certificate of an authority whose key is lost. A new one is created, and both are trusted."""
        facts = {f"node{n}": capture("installed-node1") for n in (1, 2, 3, 4)}
        four = resolve(inventory(4, each=", advertise: 192.168.56.1{}", store=ON), facts)[0]
        facts["node4"] = with_secrets(facts["node4"], four.backend.service(four, "node4").secrets)
        later = resolve(four.inventory, facts)[0]
        trusted = list(certificates.each(secret(later, "node4", security.AUTHORITY)))
        assert certificates.belongs(trusted[0], secret(later, "node1", security.AUTHORITY_KEY))
        assert trusted[1:] == [secret(four, "node4", security.AUTHORITY)]
        assert list(certificates.each(secret(later, "node1", security.AUTHORITY))) == trusted

        data = with_system(facts["node1"], "raft=", "yes")
        lost = resolve(four.inventory, {**facts, "node1": data})[0]
        with pytest.raises(StepFailed, match="has the key of the authority"):
            STEP.drift(lost, "node1")

    def test_only_its_owner_may_read_them_and_nothing_is_shown(self, new):
        modes = {(file.mode, file.owner) for file in new.backend.service(new, "node2").secrets}
        assert modes == {("0600", "consul:consul"), ("0600", "root:root"), ("0640", "root:consul")}
        shown = [d for d in STEP.drift(new, "node2") if wording.what(d) in security.FILES]
        assert len(shown) == len(security.FILES)
        assert {(d.found, d.wanted) for d in shown} == {("absent", "as wanted")}
        everything = repr(new) + repr(STEP.drift(new, "node2")) + repr(new.backend.service(new, "node2"))
        for path in security.FILES:
            for line in secret(new, "node2", path).split():
                assert len(line) < 20 or line not in everything

    @pytest.mark.parametrize("off", ["gossip", "tls", "acls"])
    def test_each_can_be_switched_off(self, inventory, off):
        words = f", security: {{{off}: false}}"
        site = resolve(inventory(store=words), {name: capture(f"installed-{name}") for name in HOSTS})[0]
        config = json.loads(site.backend.service(site, "node2").files[0].text)
        missing = {"gossip": "encrypt_verify_incoming", "tls": "ca_file", "acls": "acl"}
        assert {key for key in missing.values() if key not in config} == {missing[off]}


class TestSettled:
    def test_nothing_differs(self, secured):
        assert [differs(secured, name) for name in HOSTS] == [[], [], []]
        assert secured.backend.stages(secured) == (None,)
        by_hand = secured.facts["node2"].files[security.LOADED].replace("{\n", "{", 1)
        assert security.found(with_file(secured.facts["node2"], security.LOADED, by_hand)) == Levels(3, 3, 3)

    def test_a_later_run_finds_the_same_on_the_hosts(self, secured):
        later = resolve(secured.inventory, secured.facts)[0]
        assert [secret(later, "node2", path) for path in security.FILES] == [
            secret(secured, "node2", path) for path in security.FILES
        ]

    @pytest.mark.parametrize("path", security.FILES)
    def test_a_host_that_has_lost_one_gets_the_others_again(self, secured, path):
        kept = [file for file in secured.backend.service(secured, "node2").secrets if file.path != path]
        lost = secured.known("node2", with_secrets(secured.facts["node2"], kept))
        lost = resolve(lost.inventory, lost.facts)[0]
        expected = {path} | ({security.CERTIFICATE, security.KEY} if path in TLS[1:] else set())
        assert {what for what, _ in differs(lost)} == expected
        if path not in TLS[1:]:
            assert secret(lost, "node2", path).split() == secret(secured, "node2", path).split()
        assert {name: differs(lost, name) for name in ("node1", "node3")} == {"node1": [], "node3": []}

    def test_others_can_read_a_secret(self, secured):
        raw = (
            secured.facts["node2"]
            .raw["secrets"]
            .replace(f"=640 root:consul {security.KEY}", f"=644 root:root {security.KEY}")
        )
        assert differs(secured.known("node2", with_raw(secured.facts["node2"], secrets=raw))) == [
            (f"mode of {security.KEY}", "")
        ]

    def test_tokens_are_taken_up_without_a_restart_one_host_after_the_other(self, secured):
        site = secured.known("node2", with_secrets(secured.facts["node2"], [
            replace(file, text="{}\n") if file.path == security.TOKENS else file
            for file in secured.backend.service(secured, "node2").secrets
        ]))  # fmt: skip
        assert differs(site) == [(security.TOKENS, "reload of Consul")]
        work = STEP.work(site, "node2", STEP.drift(site, "node2"))
        assert work.alone
        assert "case reload in" in work.script
        assert work.rank == 2 - (site.backend.leader(site.facts["node2"]) != "192.168.56.12")

    def test_a_certificate_that_ends_soon_is_made_anew(self, secured):
        later = secured.facts["node2"].raw["system"].replace("now=", "now=1", 1)  # centuries later
        facts = {**secured.facts, "node2": with_raw(secured.facts["node2"], system=later)}
        assert [what for what, _ in differs(resolve(secured.inventory, facts)[0])] == [
            security.CERTIFICATE,
            security.KEY,
        ]

    def test_no_server_has_the_authority_s_key(self, secured):
        facts = {
            name: with_secrets(of_host, [
                file for file in secured.backend.service(secured, name).secrets
                if file.path != security.AUTHORITY_KEY and (name != "node2" or file.path != security.KEY)
            ]) for name, of_host in secured.facts.items()
        }  # fmt: skip
        lost = resolve(secured.inventory, facts)[0]
        assert differs(lost, "node1") == []  # nothing on node1 needs the key
        with pytest.raises(StepFailed, match="has the key of the authority"):
            STEP.drift(lost, "node2")

    @pytest.mark.parametrize("answer", ["403 Permission denied", "403 ACL not found"])
    def test_an_engine_that_may_not_write(self, secured, answer):
        site = secured.known("node2", with_http(secured.facts["node2"], "rights", answer))
        assert differs(site) == [("the engine's rights in Consul", "wait")]
        (finding,) = site.backend.findings(site)
        assert (finding.id, finding.host) == ("acl-denied", "node2")
        assert answer[4:] in finding.evidence

    def old(self, secured, **others):
        """Return the site with node2's secrets from before a rotation. Its agent knows no leader."""
        files = [
            replace(file, text=others.get(file.path, file.text))
            for file in secured.backend.service(secured, "node2").secrets
        ]
        return secured.known("node2", with_http(with_secrets(secured.facts["node2"], files), "leader", ""))

    @pytest.mark.parametrize("what", ["gossip key", "certificate", ""])
    def test_an_agent_that_the_others_reject(self, secured, what):
        stranger = certificates.issue(
            certificates.authority("x"), "node2", names=["node2"], addresses=["192.168.56.12"]
        )
        others = {
            "gossip key": {security.KEYRING: json.dumps(["another"])},
            "certificate": {security.CERTIFICATE: stranger.certificate},
        }
        site = self.old(secured, **others.get(what, {}))
        why = site.backend.shut_out(site, "node2")
        assert (what in why) if what else not why
        assert [f.host for f in site.backend.findings(site) if f.id == "agent-shut-out"] == ["node2"] * bool(what)
        assert not site.backend.shut_out(site, "node1")
        closed = site.plane.closed(site, "node2")
        assert (
            (what in closed.what and "provisioner up" in causes.cure(closed.problem) and not closed.heals)
            if what
            else closed is None
        )
        member = secured.known("node2", with_http(site.facts["node2"], "leader", '200 "192.168.56.11:8300"'))
        assert not member.backend.shut_out(member, "node2"), "it is a member"

    def test_others_neither_wait_for_a_host_that_is_shut_out_nor_trust_its_authority(self, secured):
        """Otherwise no host could be repaired before it, and a revoked authority would be trusted again."""
        revoked = certificates.authority("revoked")
        own = certificates.issue(revoked, "node2", names=["node2"], addresses=["192.168.56.12"])
        site = self.old(
            secured,
            **{security.AUTHORITY: revoked.certificate, security.CERTIFICATE: own.certificate, security.KEY: own.key},
        )
        members = [
            {**member, "Status": 4 if member["Name"] == "node2" else 1}
            for member in site.facts["node1"].http("members").body
        ]
        site = site.known("node1", with_http(site.facts["node1"], "members", members))
        assert differs(site, "node1") == []
        assert differs(site, "node2") != []
        reached = secured.known("node1", site.facts["node1"])
        assert differs(reached, "node1") == [("Consul's members", "wait")], (
            "it is not shut out, so the others wait for it"
        )

    def test_no_container_is_started_where_the_token_is_refused(self, secured):
        site = secured.known("node2", with_http(secured.facts["node2"], "rights", "403 rpc error: ACL not found"))
        closed = site.plane.closed(site, "node2")
        assert (
            closed.what == "its engine can't use the store: Consul refuses this host's token (rpc error: ACL not found)"
        )
        assert "provisioner up" in causes.cure(closed.problem)
        assert site.plane.closed(site, "node1") is None

    def test_if_no_engine_may_write_the_policy_is_wrong(self, secured):
        """`Step.act` corrects it, so the step continues with the next host. If only one host is refused, it stops."""
        refused = {name: with_http(facts, "rights", "403 Permission denied") for name, facts in secured.facts.items()}
        (every,), (one,) = (
            STEP.drift(site, "node2")
            for site in (replace(secured, facts=refused), secured.known("node2", refused["node2"]))
        )
        assert (every.later, one.later) == (True, False)

    @pytest.mark.parametrize("runs", [True, False])
    def test_an_agent_of_another_name(self, secured, runs):
        """The running agent counts, because somebody may have edited the file since."""
        facts = secured.facts["node2"]
        files = {JSON: facts.files[JSON], security.LOADED: facts.files[security.LOADED]}
        other = {path: text.replace('"node_name": "node2"', '"node_name": "db"') for path, text in files.items()}
        other |= {JSON: files[JSON]} if runs else {security.LOADED: ""}
        for path, text in other.items():
            facts = with_file(facts, path, text)
        (finding,) = secured.backend.findings(secured.known("node2", facts))
        assert (finding.id, finding.host, causes.severity(finding)) == ("renamed-host", "node2", Severity.STOP)
        assert "called db" in finding.evidence
        by_hand = with_file(secured.facts["node2"], JSON, files[JSON].replace("node2", "db"))
        assert list(secured.backend.findings(secured.known("node2", by_hand))) == []

    def test_a_host_s_keyring_keeps_its_other_keys_while_it_is_in_the_cluster(self, secured):
        key = security.gossip_key(secured)
        other = [replace(file, text=json.dumps(["other", key])) if file.path == security.KEYRING else file
                 for file in secured.backend.service(secured, "node2").secrets]  # fmt: skip
        apart = with_secrets(secured.facts["node2"], other)
        member = resolve(secured.inventory, {**secured.facts, "node2": apart})[0]
        assert json.loads(secret(member, "node2", security.KEYRING)) == [key, "other"]
        (finding,) = member.backend.findings(member)
        assert (finding.id, finding.host) == ("gossip-keys-left", "node2")
        assert list(secured.backend.findings(secured)) == []
        alone = member.known("node2", with_http(apart, "leader", ""))
        assert json.loads(secret(alone, "node2", security.KEYRING)) == [key]


def without_guard(facts, *paths):
    """Return facts in which users other than root can write these files."""
    return with_raw(facts, guarded="".join(f"{path}\n" for path in facts.guarded - set(paths)))


def of_an_earlier_release(facts, **other):
    """Return facts with files owned by the agent's user. other: part of a path -> another text."""
    text = facts.raw["secrets"].replace("=640 root:consul", "=600 consul:consul")
    kept = [line for line in text.split("\n") if security.GOSSIP not in line]
    facts = with_raw(facts, secrets="\n".join(kept), guarded=f"{security.AUTHORITY_KEY}\n")
    return changed(facts, **other)


def changed(facts, **other):
    lines = facts.raw["secrets"].split("\n")
    for name, text in other.items():
        path = next(path for path in security.FILES if name in path)
        lines = [line for line in lines if not line.startswith(f"{path}:")] + [
            f"{path}:{line}" for line in text.split("\n")
        ]
    return with_raw(facts, secrets="\n".join(lines) + "\n")


TOKEN = '{"acl": {"tokens": {"master": "evil", "agent": "evil", "default": "evil"}}}'


class TestTrustBetweenHosts:
    """A host's files count for other hosts only if nobody but root can write them, not even the agent's user."""

    def known(self, site, **facts):
        return resolve(site.inventory, {**site.facts, **facts})[0]

    def test_a_file_that_others_can_write_decides_nothing(self, secured):
        """Users other than root can write it on two of three hosts."""
        evil = {name: without_guard(changed(secured.facts[name], tokens=TOKEN, management=TOKEN), security.TOKENS, security.MANAGEMENT)
                for name in ("node1", "node2")}  # fmt: skip
        site = self.known(secured, **evil)
        assert security.present_management_token(site) == security.present_management_token(secured) != "evil"
        assert security.token(site, "agent") == security.token(secured, "agent")
        assert (security.TOKENS, "reload of Consul") in differs(site, "node1")
        assert differs(site, "node3") == []

    def test_an_authority_that_others_can_write_is_trusted_by_nobody(self, secured):
        other = security.new_authority(secured)
        own = certificates.issue(other, "node2", names={"node2"}, addresses=["192.168.56.12"])
        text = security.authority(secured).certificate + other.certificate
        evil = changed(secured.facts["node2"], **{"authority.pem": text.strip(), "agent.pem": own.certificate.strip()})
        site = self.known(secured, node2=without_guard(evil, security.AUTHORITY, security.CERTIFICATE))
        assert security.all_trusted(site) == security.all_trusted(secured)
        assert differs(site, "node1") == differs(site, "node3") == []
        assert (security.AUTHORITY, "reload of Consul") in differs(site)

    @pytest.mark.parametrize("odd", [("node2",), ("node1", "node2")])
    def test_a_keyring_chooses_among_root_s_keys_only(self, secured, odd):
        """The agent's user can write a keyring, so it decides for no other host. If a majority differs, the run stops."""
        site = self.known(secured, **{name: changed(secured.facts[name], keyring='["evil"]') for name in odd})
        assert security.gossip_key(site) == security.gossip_key(secured)
        assert differs(site, "node3") == []
        found = [(f.id, causes.severity(f)) for f in site.backend.findings(site)]
        assert found == ([("gossip-key-unknown", Severity.STOP)] if len(odd) > 1 else [])

    def test_an_interrupted_rotation_continues_with_the_agents_key(self, secured):
        begun = self.known(secured)
        old, new = security.gossip_key(begun), security.new_gossip_key(begun)
        assert old != new
        begun.vault.keys = (new,)
        both = brought(begun)
        assert differs(begun) == [(security.GOSSIP, "")]
        before = self.known(both)
        assert security.gossip_key(before) == old
        rotated = {name: changed(both.facts[name], keyring=json.dumps([new])) for name in HOSTS}
        after = self.known(both, **rotated)
        assert security.gossip_key(after) == new
        assert {what for what, _ in differs(after)} == {security.GOSSIP}
        assert list(after.backend.findings(after)) == []

    def test_a_host_that_missed_a_rotation_gets_the_new_key(self, secured):
        begun = self.known(secured)
        begun.vault.renewed.add("gossip key")
        new = security.gossip_key(begun)
        late = self.known(brought(begun), node3=with_http(secured.facts["node3"], "leader", ""))
        assert security.gossip_key(late) == new
        assert {what for what, _ in differs(late, "node3")} == {security.KEYRING, security.GOSSIP}

    def test_a_cluster_of_an_earlier_release_is_taken_over_without_a_restart(self, secured):
        facts = {name: of_an_earlier_release(secured.facts[name]) for name in HOSTS}
        site = self.known(secured, **facts)
        for name in HOSTS:
            drift = STEP.drift(site, name)
            assert {wording.note(d) for d in drift} == {""}
            assert security.GOSSIP in {wording.what(d) for d in drift}
            assert "case write in" in STEP.work(site, name, drift).script
            assert [secret(site, name, path) for path in security.FILES] == [
                secret(secured, name, path) for path in security.FILES
            ]

    def test_after_an_earlier_release_one_host_decides_nothing_either(self, secured):
        evil = {"tokens": TOKEN, "management": TOKEN, "keyring": '["evil"]'}
        facts = {
            name: of_an_earlier_release(secured.facts[name], **(evil if name == "node1" else {})) for name in HOSTS
        }
        site = self.known(secured, **facts)
        assert security.present_management_token(site) == security.present_management_token(secured)
        assert security.gossip_key(site) == security.gossip_key(secured)
        two = self.known(
            secured,
            **{
                **facts,
                "node2": of_an_earlier_release(
                    secured.facts["node2"], management='{"acl": {"tokens": {"master": "other"}}}'
                ),
            },
        )
        with pytest.raises(StepFailed, match=r"provisioner-management\.json differs between node1, node2, node3"):
            security.present_management_token(two)
        taken = self.known(secured, **{**two.facts, "node3": secured.facts["node3"]})
        assert security.present_management_token(taken) == security.present_management_token(secured)

    def test_a_folder_in_which_others_can_write_is_given_to_root(self, secured):
        site = self.known(secured, node2=without_guard(secured.facts["node2"], security.TOKENS, security.MANAGEMENT))
        (drift,) = STEP.drift(site, "node2")
        assert (wording.what(drift), drift.wanted, wording.note(drift)) == (
            "the folder /etc/consul.d",
            "writable by root only",
            "",
        )
        assert "chown root /etc/consul.d &&" in STEP.work(site, "node2", (drift,)).script


class TestTransition:
    """A running cluster without security goes level by level. No two agents are more than one level apart."""

    @pytest.fixture
    def plain(self, inventory):
        return resolve(inventory(store=ON), {name: capture(f"settled-{name}") for name in HOSTS})[0]

    def test_every_level_in_turn(self, plain):
        assert plain.backend.stages(plain) == (Levels(), Levels(1, 1, 1), Levels(2, 2, 2), Levels(3, 3, 3))
        site = plain
        for stage in plain.backend.stages(plain)[1:]:
            staged = replace(site, stage=stage)
            drift = STEP.drift(staged, "node2")
            assert ("the running Consul", "restart of Consul") in [(wording.what(d), wording.note(d)) for d in drift]
            assert STEP.work(staged, "node2", drift).alone
            site = brought(site, stage)
            assert {security.found(facts) for facts in site.facts.values()} == {stage}
            assert differs(replace(site, stage=stage)) == []
        assert site.backend.stages(site) == (None,)

    def test_an_interrupted_transition_continues_at_the_last_host(self, plain):
        ahead = brought(plain, Levels(1, 1, 1))
        mixed = resolve(plain.inventory, {**plain.facts, "node2": ahead.facts["node2"]})[0]
        assert mixed.backend.stages(mixed)[0] == Levels()
        assert security.levels(replace(mixed, stage=Levels()), "node2") == Levels(1, 1, 1)  # a host never goes back
        assert security.levels(replace(mixed, stage=Levels()), "node1") == Levels()
        unread = with_raw(plain.facts["node1"], secrets=ahead.facts["node1"].raw["secrets"])
        gone = mixed.backend.service(replace(mixed.known("node1", unread), stage=Levels()), "node1").gone
        assert gone == (
            security.KEYRING,
            security.GOSSIP,
            security.MANAGEMENT,
        )  # the TLS files stay: the authority's key may be nowhere else

    def test_hosts_get_tokens_only_once_consul_knows_them(self, plain):
        first = replace(plain, stage=Levels(1, 1, 1))
        assert security.TOKENS not in {file.path for file in first.backend.service(first, "node2").secrets}
        config = json.loads(first.backend.service(first, "node2").files[0].text)
        assert config["acl"]["default_policy"] == "allow"
        assert config["verify_outgoing"] is config["encrypt_verify_outgoing"] is False

    def test_a_host_that_is_not_reached_would_be_shut_out(self, plain):
        two = plain.without(frozenset({"node3"}))
        (finding,) = two.backend.findings(two)
        assert (finding.id, finding.host) == ("consul-agents-missed", "")
        assert "node3" in finding.evidence
        assert list(plain.backend.findings(plain)) == []

    def test_back_again(self, secured, inventory):
        off = resolve(inventory(), secured.facts)[0]
        assert off.backend.stages(off) == (Levels(3, 3, 3), Levels(2, 2, 2), Levels(1, 1, 1), Levels())
        assert set(off.backend.service(off, "node2").gone) == set(security.FILES)
        second = replace(off, stage=Levels(2, 2, 2))
        assert off.backend.service(second, "node2").gone == ()


def test_a_host_that_joins_a_secured_cluster_gets_what_the_others_have(secured, inventory):
    facts = {**secured.facts, "node4": capture("installed-node1")}
    four = resolve(inventory(4, each=", advertise: 192.168.56.1{}", store=ON), facts)[0]
    assert four.backend.stages(four) == (None,)
    for path in (security.KEYRING, security.TOKENS, security.AUTHORITY):
        assert secret(four, "node4", path).split() == secret(secured, "node1", path).split()
    assert certificates.signed_by(
        secret(four, "node4", security.CERTIFICATE), [secret(secured, "node1", security.AUTHORITY)]
    )


class TestRotated:
    """The differences that a rotation makes on each host. The e2e tests prove that Consul reloads at runtime."""

    @pytest.fixture
    def secured(self, secured):
        """Return the site as a new run resolves it."""
        return resolve(secured.inventory, secured.facts)[0]

    def brought(self, site):
        later = brought(site)
        return replace(later, facts={name: with_http(later.facts[name], "rights", "404 ") for name in HOSTS})

    def test_new_certificates_are_read_at_runtime_one_host_after_the_other(self, secured):
        secured.vault.renewed |= {security.certificate_of(name) for name in HOSTS}
        for name in HOSTS:
            assert differs(secured, name) == [
                (path, "reload of Consul") for path in (security.CERTIFICATE, security.KEY)
            ]
            assert STEP.work(secured, name, STEP.drift(secured, name)).alone
        assert [differs(self.brought(secured), name) for name in HOSTS] == [[], [], []]

    def test_under_a_new_authority_both_are_trusted_until_nobody_needs_the_old_one(self, secured):
        old, new = security.authority(secured).certificate, security.new_authority(secured).certificate
        secured.vault.trusted = (new,)
        assert differs(secured) == [(security.AUTHORITY, "reload of Consul")]
        assert secret(secured, "node2", security.AUTHORITY) == old + new
        first = self.brought(secured)
        first.vault.trusted = (old,)
        first.vault.renewed |= {"authority", *(security.certificate_of(name) for name in HOSTS)}
        assert secret(first, "node2", security.AUTHORITY) == new + old
        assert certificates.signed_by(secret(first, "node2", security.CERTIFICATE), [new])
        second = self.brought(first)
        second.vault.trusted = ()
        assert differs(second) == [(security.AUTHORITY, "reload of Consul")]
        assert secret(second, "node2", security.AUTHORITY) == new

    def test_interrupted_between_two_hosts_both_authorities_stay_trusted(self, secured):
        old, new = security.authority(secured).certificate, security.new_authority(secured).certificate
        secured.vault.trusted = (new,)
        first = self.brought(secured)
        first.vault.trusted = (old,)
        first.vault.renewed |= {"authority", *(security.certificate_of(name) for name in HOSTS)}
        mixed = resolve(secured.inventory, {**first.facts, "node2": self.brought(first).facts["node2"]})[0]
        assert {secret(mixed, name, security.AUTHORITY) for name in HOSTS} == {old + new}
        kept = [secret(mixed, name, security.CERTIFICATE) for name in HOSTS]
        assert [certificates.signed_by(pem, [new]) for pem in kept] == [False, True, False]

    @pytest.mark.parametrize("authority", [True, False])
    def test_after_an_interrupted_rotation_each_host_converges_in_its_turn(self, secured, authority):
        other = security.new_authority(secured)
        secured.vault.trusted = (other.certificate,)
        first = self.brought(secured)
        first.vault.renewed |= {"authority", *(security.certificate_of(name) for name in HOSTS)}
        mixed = resolve(secured.inventory, {**first.facts, "node2": self.brought(first).facts["node2"]})[0]
        run = SimpleNamespace(site=resolve(secured.inventory, self.brought(mixed).facts)[0])

        def one_after_the_other(run):
            for name in HOSTS:
                run.site = run.site.known(name, self.brought(run.site).facts[name])
                assert differs(run.site, name) == []

        for _ in consul_rotation.certificates(lambda: run.site, {}, authority=authority):
            one_after_the_other(run)
        assert len(security.all_trusted(run.site)) == 1
        assert other.certificate not in security.all_trusted(run.site)

    def test_new_tokens_restart_servers_only(self, inventory, secured):
        secured.vault.renewed |= {"token agent", "token default", "token management"}
        assert dict(differs(secured)) == {security.MANAGEMENT: "restart of Consul", security.TOKENS: "reload of Consul"}

    @pytest.mark.parametrize(
        ("store", "what", "why"),
        [
            (", security: {gossip: false}", "gossip-key", r"store\.security\.gossip is off"),
            (", security: {tls: false}", "certificates", r"store\.security\.tls is off"),
            (", security: {}", "tokens", "does not run with the security that the inventory asks for"),
        ],
    )
    def test_what_can_not_be_rotated(self, inventory, store, what, why):
        site = resolve(inventory(store=store), {name: capture(f"settled-{name}") for name in HOSTS})[0]
        run = SimpleNamespace(inventory=site.inventory, site=site, errors=[])
        assert not rotation._fit(run, what, authority=False)
        assert re.search(why, run.errors[0].text)

    def away(self, site, what, *, authority=False):
        """Return why the rotation is refused; "" if it is not."""
        run = SimpleNamespace(inventory=site.inventory, site=site, errors=[])
        assert (rotation._fit(run, what, authority=authority) is None) is bool(run.errors)
        return "".join(map(str, run.errors))

    @pytest.mark.parametrize(("what", "authority"), [("gossip-key", False), ("tokens", False), ("certificates", True)])
    def test_a_host_that_is_away_would_be_shut_out(self, secured, what, authority):
        assert self.away(secured, what, authority=authority) == ""
        why = self.away(secured.without(frozenset({"node3"})), what, authority=authority)
        assert f"nothing was changed: node3 would keep the old {what}" in why
        assert "provisioner remove node3" in why

    @pytest.mark.parametrize("what", ["gossip-key", "tokens"])
    def test_an_agent_that_the_inventory_does_not_name_would_be_shut_out(self, secured, what):
        members = [
            *secured.facts["node1"].http("members").body,
            {"Name": "other", "Status": 1, "Addr": "192.168.56.99"},
        ]
        site = secured.known("node1", with_http(secured.facts["node1"], "members", members))
        assert "other would keep the old" in self.away(site, what)
        members[-1]["Status"] = 4
        site = secured.known("node1", with_http(secured.facts["node1"], "members", members))
        assert self.away(site, what) == ""

    def test_certificates_of_the_same_authority_stay_valid_on_a_host_that_is_away(self, secured):
        assert self.away(secured.without(frozenset({"node3"})), "certificates") == ""

    def test_nothing_is_revoked_once_a_host_has_dropped_out(self, secured):
        """This holds for any reason: the step succeeded on the others."""
        run = SimpleNamespace(site=secured, errors=[])
        run.read_again = lambda: None
        run.converge = lambda _: setattr(run, "site", secured.without(frozenset({"node3"})))
        with pytest.raises(StepFailed, match="node3 dropped out"):
            rotation._bring_up_to_date(run)
        run.site, run.converge = secured, lambda _: None
        rotation._bring_up_to_date(run)

    @pytest.mark.parametrize(
        ("kind", "store", "what", "why"),
        [
            ("etcd", "", "tokens", "no tokens to rotate: only a Consul that provisioner set up"),
            (
                "zookeeper",
                "",
                "certificates",
                "no certificates to rotate: only a Consul or etcd that provisioner set up has",
            ),
            ("consul", ", endpoints: ['192.0.2.1:8500']", "tokens", "only a Consul that provisioner set up"),
            ("etcd", ", security: {tls: false}", "certificates", "this etcd was founded without TLS"),
            ("etcd", "", "certificates", "etcd has no leader"),
        ],
    )
    def test_another_store(self, inventory, kind, store, what, why):
        site = resolve(inventory(kind=kind, store=store), {name: capture(f"settled-{name}") for name in HOSTS})[0]
        assert why in self.away(site, what)

    def test_an_etcd_keeps_its_authority(self, inventory):
        site = resolve(inventory(kind="etcd"), {name: capture(f"settled-{name}") for name in HOSTS})[0]
        assert "etcd reads its authority only at start" in self.away(site, "certificates", authority=True)


class Tokens:
    """A fake of Consul's API for tokens, with the calls of these tests."""

    def __init__(self, *tokens):
        self.tokens = {accessor: {"AccessorID": accessor, **rest} for accessor, rest in tokens}
        self.acl = SimpleNamespace(token=self)

    def read_self(self, token):
        return next(t for t in self.tokens.values() if t["SecretID"] == token)

    def list(self):
        return [{key: value for key, value in t.items() if key != "SecretID"} for t in self.tokens.values()]

    def delete(self, accessor_id):
        del self.tokens[accessor_id]


def test_only_our_own_old_tokens_are_deleted():
    def made(secret, policy, by="made by provisioner"):
        return {"SecretID": secret, "Description": by, "Policies": [{"Name": policy}]}

    api = Tokens(
        ("anonymous", {"SecretID": "anonymous", "Description": "Anonymous Token"}),
        ("new", made("new", acl.ENGINES)),
        ("old", made("old", acl.ENGINES)),
        ("master", made("master", acl.MANAGEMENT, "Master Token")),
        ("manager", made("manager", acl.MANAGEMENT)),
        ("theirs", made("theirs", acl.MANAGEMENT, "made by hand")),
        ("job", made("job", "their-policy")),
    )
    acl.forget(api, "node1", {acl.ENGINES: "new", acl.MANAGEMENT: "manager"})
    assert set(api.tokens) == {"anonymous", "new", "manager", "theirs", "job"}


@pytest.mark.parametrize(("store", "prefixes", "key"), [
    ("", ["docker/"], "docker/nodes"),
    (", discovery: {path: docker/here}", ["docker/"], "docker/here"),
    (", prefix: lab", ["lab/docker/"], "lab/docker/nodes"),
    (", prefix: lab, discovery: {path: hosts}", ["lab/docker/", "lab/hosts/"], "lab/hosts"),
])  # fmt: skip
def test_the_rights_of_engines_and_the_key_that_tests_them(inventory, store, prefixes, key):
    site = resolve(inventory(store=store + ON), {})[0]
    rules = acl.rules(site)
    assert list(rules["key_prefix"]) == prefixes
    assert f"rights 8500 /v1/kv/{key}" in map(str, site.backend.sought.requests)
    assert key in rules.get("key", ()) or any(key.startswith(prefix) for prefix in prefixes)


def test_a_path_that_only_an_engine_s_own_file_has_stays_open_to_it(inventory, secured):
    own = with_file(secured.facts["node2"], DAEMON_JSON, '{"cluster-store-opts": {"kv.path": "/theirs/"}}')
    assert list(acl.rules(secured.known("node2", own))["key"]) == ["theirs"]
    named = resolve(inventory(store=", discovery: {path: hosts}" + ON), {"node2": own})[0]
    assert list(acl.rules(named)["key"]) == ["hosts"]


def test_errors_of_consul_are_shown_without_keys_and_tokens():
    said = acl._redacted(
        ValueError(
            "token 5c0e2c4a-3a0e-4f0e-9a44-0f5a7c1f6d0b with key cg8StVXbQJ0gPvMd9o7yrg== or uDBV4e+LbFW3019YKPxIrLYFyPjaBFJlm1nA+rAYF1U="
        )
    )
    assert said == "ValueError: token ... with key cg8StVXbQJ0gPvMd9o7yrg== or ..."
