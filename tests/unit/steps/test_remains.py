"""What we have put on a host, from its probe and its record, and which daemon.json is restored."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess

import pytest
from captured import capture, with_file, with_raw

from provisioner.inventory import Dns
from provisioner.steps import OWNED, remains, unrecorded
from provisioner.steps.leaving import Leave, LeaveEngine
from provisioner.system import owned
from provisioner.system.owned import Data, Owned, parse, probe
from provisioner.system.reading import DAEMON_JSON

NODE3 = capture("settled-node3")
CLUSTER = {"cluster-store": "consul://127.0.0.1:8500", "cluster-advertise": "192.168.56.13:2376"}


def backup(text: str, time: int = 1, name: str = "") -> str:
    name = name or hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"backup\t{DAEMON_JSON}.{name}.bak\t600 1:2 {time}\t{base64.b64encode(text.encode()).decode()}\n"


def before(text: str, *backups: str, dns: str = "") -> remains.Before:
    facts = with_raw(with_file(NODE3, DAEMON_JSON, text), owned="".join(backups))
    return remains.before("node3", facts, Dns(servers=[dns]) if dns else Dns())


class TestDaemonJson:
    OLD = '{"debug" : true}'  # we would format it differently

    def test_bytes_are_restored_if_a_copy_has_the_same_settings(self):
        found = before(json.dumps({"debug": True, **CLUSTER}), backup(self.OLD))
        assert found.text == self.OLD
        assert found.backup in found.copies

    def test_the_oldest_copy_is_restored_and_copies_with_our_keys_are_removed(self):
        ours = backup(json.dumps({"debug": True, **CLUSTER}), time=3)
        found = before(json.dumps({"debug": True, **CLUSTER}), ours, backup('{"debug":true}', time=2), backup(self.OLD))
        assert found.text == self.OLD
        assert len(found.copies) == 2

    def test_later_changes_of_others_stay_and_so_does_the_copy(self):
        found = before(json.dumps({"debug": False, **CLUSTER}), backup(self.OLD))
        assert json.loads(found.text) == {"debug": False}
        assert (found.backup, found.copies) == ("", ())

    def test_a_file_with_our_keys_only_is_removed(self):
        assert before(json.dumps(CLUSTER)) == remains.Before("")

    def test_an_empty_file_is_restored(self):
        found = before(json.dumps(CLUSTER), backup(""))
        assert (found.text, found.backup) == ("", f"{DAEMON_JSON}.e3b0c442.bak")

    def test_the_inventory_s_resolvers_are_replaced_by_the_earlier_ones(self):
        old = '{"dns": ["192.0.2.1"]}'
        found = before(json.dumps({"dns": ["192.0.2.9"], **CLUSTER}), backup(old), dns="192.0.2.9")
        assert found.text == old
        assert json.loads(before(json.dumps({"dns": ["192.0.2.9"]})).text) == {"dns": ["192.0.2.9"]}

    def test_interrupted_before_the_bytes_were_restored(self, site):
        halfway = LeaveEngine().drift(
            site(node3=with_raw(with_file(NODE3, DAEMON_JSON, '{\n    "debug": true\n}\n'), owned=backup(self.OLD))),
            "node3",
        )
        assert any(d.target == DAEMON_JSON and d.wanted == self.OLD for d in halfway)

    def test_a_file_that_is_nobody_s_copy_is_left_alone(self):
        found = before(json.dumps({"debug": True, **CLUSTER}), backup(self.OLD, name="12345678"))
        assert f"{DAEMON_JSON}.12345678.bak" not in found.copies

    def test_a_copy_with_invalid_json_is_not_restored(self):
        assert before(json.dumps(CLUSTER), backup("{")).backup == ""


class TestParse:
    OWN = Owned(files=("/etc/own/*.conf",), folders=("/etc/own",), data=(Data("/var/lib/own", "/etc/own/a.conf"),))

    @pytest.mark.parametrize(
        "line", ["kept\t/etc", "kept\t/var/lib/own.x/../../etc.bak", "data\t/etc", "file\t/etc/passwd", "file\t/etc/own/a/b.conf",
                 "kept\t/var/lib/own.1.bak/sub", "empty\t/etc", "file\t/etc/own/a b.conf", "old\t/etc/own/a.conf", "user\troot x"],
    )  # fmt: skip
    def test_what_was_not_declared_is_ignored(self, line):
        """Others can write to some folders: a file name with a line break could contain any line."""
        found = parse(f"{line}\n", self.OWN)
        assert not [name for names in found.there.values() for name in names]

    def test_what_was_declared(self):
        text = "file\t/etc/own/a.conf\nkept\t/var/lib/own.20260101T000000Z.bak\nempty\t/etc/own\nnote\tbegun\t-\tfresh\nnote\tuser\tx\t\n"
        found = parse(text, self.OWN)
        assert found.of("file") == {"/etc/own/a.conf"}
        assert found.of("kept") == {"/var/lib/own.20260101T000000Z.bak"}
        assert not found.incomplete
        assert set(found.noted("user")) == {"x"}

    def test_a_note_with_an_invalid_name_is_ignored(self):
        assert parse("note\tuser\tx; reboot\t\n", self.OWN).noted("user") == {}

    def test_a_record_is_incomplete_only_on_hosts_of_an_earlier_version(self):
        assert parse("note\tbegun\t-\tearlier\n", self.OWN).incomplete
        assert parse("file\t/etc/own/a.conf\n", self.OWN).incomplete
        assert not parse("user\tx\ninstalled\tdocker.io\n", self.OWN).incomplete

    @pytest.mark.parametrize("shell", [s for s in ("dash", "bash") if shutil.which(s)])
    def test_the_probe_reports_what_exists(self, tmp_path, shell):
        (tmp_path / "a.conf").write_text("text")
        (tmp_path / "empty").mkdir()
        own = Owned(
            files=(f"{tmp_path}/*.conf",),
            folders=(f"{tmp_path}/empty", str(tmp_path)),
            units=("x.service",),
            users=("root",),
        )
        done = subprocess.run(
            [shell, "-c", probe(own, f"{tmp_path}/daemon.json")], text=True, capture_output=True, check=False
        )
        assert done.returncode in {0, 1}
        assert done.stderr == ""
        found = parse(done.stdout, own)
        assert found.of("file") == {f"{tmp_path}/a.conf"}
        assert found.of("empty") == {f"{tmp_path}/empty"}
        assert "root" in found.of("user")

    def test_declared_paths_are_safe_in_a_shell(self):
        assert owned.SAFE.fullmatch(
            " ".join((*OWNED.files, *OWNED.folders, *OWNED.units, *OWNED.users, *OWNED.programs))
        )


class TestLeaveByTheRecord:
    def leave(self, site, *lines: str, **words):
        facts = with_raw(NODE3, owned="".join(f"{line}\n" for line in lines))
        return [(d.kind, d.target) for d in Leave(**words).drift(site(node3=facts), "node3")], Leave(**words).work(
            site(node3=facts), "node3", ()
        ).script

    def test_only_users_that_a_run_created_are_removed(self, site):
        known = ("note\tbegun\t-\tfresh", "user\tconsul", "user\tetcd", "note\tuser\tconsul\t")
        drift, script = self.leave(site, *known)
        assert ("user", "consul") in drift
        assert ("user", "etcd") not in drift
        assert "userdel consul" in script
        assert "chown -h root:root" in script, "its data are kept, and no later user with its UID owns them"

    def test_without_a_record_users_are_removed_only_on_request(self, site):
        assert ("user", "consul") not in self.leave(site, "user\tconsul")[0]
        facts = {
            lines: with_raw(NODE3, owned=lines) for lines in ("user\tconsul\n", "user\tconsul\ninstalled\tconsul\n")
        }
        found = [unrecorded.candidates(site(node3=of), "node3", packages=False) for of in facts.values()]
        assert found == [[("user", "consul")], []], "it is removed with its package"
        adopted = unrecorded.Adopt().done(site(node3=facts["user\tconsul\n"]))
        assert ("user", "consul") in [(d.kind, d.target) for d in Leave().drift(adopted, "node3")]

    def test_a_host_that_lost_its_power_during_a_write_keeps_neither_file_nor_folder(self, site):
        """The first note on a host may have made the record's folder, and nothing else."""
        lines = ("empty\t/var/lib/provisioner", "file\t/etc/provisioner/.provisioner.a1b2c3d4e5f6")
        drift, script = self.leave(site, *lines, "note\tbegun\t-\tfresh")
        assert ("folder", "/var/lib/provisioner") in drift
        assert ("file", "/etc/provisioner/.provisioner.a1b2c3d4e5f6") in drift
        assert script.index("/.provisioner.a1b2c3d4e5f6") < script.index("rmdir")

    def test_a_program_is_removed_if_it_was_uploaded(self, site):
        path = "/usr/local/bin/consul"
        assert path not in self.leave(site, f"file\t{path}", "note\tbegun\t-\tfresh")[1]
        assert path in self.leave(site, f"file\t{path}", f"note\tprogram\t{path}\t")[1]

    def test_units_and_modes_are_restored(self, site):
        notes = (
            "note\tunit\tetcd.service\tenabled active",
            "note\tmode\t/var/lib/etcd\t750 104:105",
            "note\tmode\t/etc\t777 1:1",
        )
        script = self.leave(site, *notes)[1]
        assert "systemctl -q enable etcd.service" in script
        assert "systemctl start etcd.service" in script
        assert "files folder /var/lib/etcd 750 104:105" in script
        assert "/etc 777" not in script

    def test_data_are_deleted_only_on_request(self, site):
        kept = "kept\t/var/lib/consul.20260101T000000Z.bak"
        assert "rm -rf" not in self.leave(site, kept)[1]
        drift, script = self.leave(site, kept, data=True)
        assert ("data", "/var/lib/consul.20260101T000000Z.bak") in drift
        assert "rm -rf -- /var/lib/consul.20260101T000000Z.bak" in script
