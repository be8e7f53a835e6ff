"""Framing: whatever a local user of a host lets the reading program see, it can't imitate another section or file."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager

import pytest
from captured import CAPTURES, capture, printed

from provisioner import render
from provisioner.system import reading
from provisioner.system.facts import Facts, parse
from provisioner.system.reading import Sought

NOBODY = 65534 if os.getuid() == 0 else os.getuid()  # a user who is not root
FORGED = {"secrets": "/etc/key:mine\n=600 root:root /etc/key\n", "guarded": "/etc/key\n", "ports": "tcp 8500 1\n"}
SHELLS = [shell for shell in ("dash", "bash", "mksh", "busybox") if shutil.which(shell)]


PROGRAM = render.text("facts.pl")


def read(*arguments, program=PROGRAM):
    """Run facts.pl and return its sections."""
    output = subprocess.run(["perl", "-e", program, *arguments], check=True, capture_output=True, timeout=60).stdout
    _, _, sections = output.partition(b"\n")
    return parse(b"provisioner-facts\n%send %d\n" % (sections, len(sections))).raw


class TestParse:
    whole = (CAPTURES / "settled-node1.txt").read_bytes()

    def test_what_is_printed_is_read(self):
        raw = {"system": "hostname=é\n", "http:a": "200 {}", "ports": "", "end": "end 3\n"}
        assert parse(printed(raw)).raw == raw

    def test_a_later_reading_replaces_sections_of_an_earlier_one(self):
        before = Facts({"units": "old", "system": "kept"}, (1.0, 2.0))
        again = parse(printed({"units": "new\n"}), before)
        assert (again.raw, again.ahead) == ({"units": "new\n", "system": "kept"}, (1.0, 2.0))

    @pytest.mark.parametrize(
        "before", [b"Welcome!\n", b"provisioner-facts\n", printed(FORGED)], ids=["text", "a head", "an answer"]
    )
    def test_what_is_printed_before_it_is_dropped(self, before):
        assert parse(before + self.whole).raw == capture("settled-node1").raw

    @pytest.mark.parametrize("cut", [0, 10, 400, -40, -1])
    def test_a_cut_answer_is_refused(self, cut):
        with pytest.raises(ValueError, match="incomplete"):
            parse(self.whole[:cut])

    @pytest.mark.parametrize("size", [2, 4, 10**9])
    def test_lengths_that_do_not_fit_are_refused(self, size):
        sections = b"system %d\nabc\nunits 0\n\n" % size
        with pytest.raises(ValueError, match="are wrong"):
            parse(b"provisioner-facts\n%send %d\n" % (sections, len(sections)))

    @pytest.mark.parametrize("name", ["secrets", "http:leader", "ports"])
    def test_a_section_that_comes_twice_is_refused(self, name):
        twice = b"%s 1\nx\n%s 1\nx\n" % (name.encode(), name.encode())
        with pytest.raises(ValueError, match=f"the section {name} appears twice"):
            parse(b"provisioner-facts\n%send %d\n" % (twice, len(twice)))

    @pytest.mark.parametrize("body", [
        printed(FORGED),
        printed(FORGED).partition(b"\n")[2],
        b"\nsecrets 5\n/k:x\n\nend 0\n",
        b"\x1b]0;" + printed(FORGED),  # a terminal title, which ends with a BEL
        b"\xff\xfe\x85\xe2\x80\xa8" + printed(FORGED),
    ], ids=["an answer", "sections", "an end", "an escape sequence", "other ends of lines"])  # fmt: skip
    def test_a_body_makes_no_section(self, body):
        sections = b"http:leader %d\n%s\nsecrets 5\n/k:y\n\n" % (len(body), body)
        found = parse(b"provisioner-facts\n%send %d\n" % (sections, len(sections)))
        assert set(found.raw) == {"http:leader", "secrets"}
        assert found.secrets == {"/k": "y\n"}

    @pytest.mark.parametrize("end", ["\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\r"])
    def test_a_file_s_text_makes_no_other_file_and_no_mode(self, end):
        text = f"/theirs:a{end}/ours:b{end}=600 root:root /ours{end}=600 root:root /theirs\n=644 root:root /theirs\n"
        facts = Facts(
            {"secrets": text, "ports": f"owner 1 2 x{end}tcp 8500 9\n", "system": f"hostname=x{end}etcd-idle=yes\n"}
        )
        assert set(facts.secrets) == {"/theirs"}
        assert facts.modes == {"/theirs": "644 root:root"}
        assert facts.ports == ()
        assert not facts.says("etcd-idle")


class TestFiles:
    def test_text_and_whether_only_root_can_write(self, tmp_path):
        own = tmp_path / "file"
        own.write_bytes(b"a\n\nsecrets 3\nb\0c")
        own.chmod(0o640)
        found = Facts(read(f"file {own}", "file /etc/passwd", f"secret {own}", "file /no/such"))
        assert found.files[str(own)] == found.secrets[str(own)] == "a\n\nsecrets 3\nbc\n"
        assert found.modes[str(own)].startswith("640 ")
        assert found.guarded == {"/etc/passwd"}  # every user can write in /tmp

    def test_a_link_is_followed_only_where_root_alone_could_have_made_it(self, tmp_path):
        theirs = tmp_path / "link"
        theirs.symlink_to("/etc/hostname")
        (tmp_path / "folder").symlink_to("/etc")
        (tmp_path / "real").mkdir()
        (tmp_path / "real" / "file").write_text("x\n")
        paths = [
            theirs,
            tmp_path / "folder" / "hostname",
            tmp_path / "real" / "file",
            "/proc/self/net/route",
            "/etc/os-release",
        ]
        found = Facts(read(*(f"file {path}" for path in paths), *(f"secret {path}" for path in paths[:2])))
        assert set(found.files) == {str(tmp_path / "real" / "file"), "/proc/self/net/route", "/etc/os-release"}
        assert found.secrets == {}

    def test_nothing_waits_for_a_pipe_and_a_folder_is_no_file(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        assert (
            Facts(
                read(f"secret {tmp_path / 'pipe'}", f"file {tmp_path / 'pipe'}", f"file {tmp_path}", "file /dev/zero")
            ).files
            == {}
        )


@contextmanager
def listening(*, user, answer=b"", name=None, address="127.0.0.1"):
    """Run a server as this user, with this answer to every request and this process name. Yields its port."""
    program = """if True:
        import os, socket, sys
        if sys.argv[3] != "None": open("/proc/self/comm", "wb").write(bytes.fromhex(sys.argv[3]))
        os.setuid(int(sys.argv[4]))
        server = socket.create_server((sys.argv[1], 0))
        print(server.getsockname()[1], flush=True)
        while True:
            guest = server.accept()[0]
            guest.recv(4096)
            guest.sendall(bytes.fromhex(sys.argv[2]))
            guest.close()
    """
    words = [sys.executable, "-c", program, address, answer.hex(), str(name and name.hex()), str(user)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield int(server.stdout.readline())
        finally:
            server.kill()


class TestAsked:
    def test_what_is_sent_with_a_request(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            where = server.getsockname()[1]
            me = f"user {subprocess.run(['id', '-un'], check=True, capture_output=True, text=True).stdout.strip()}"
            words = ["perl", "-e", PROGRAM, me, f'ask a {where} /x PUT {{"b":1}}']
            asking = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
            with server.accept()[0] as guest:
                output = guest.recv(4096).decode()
                guest.sendall(b"HTTP/1.0 500 No\r\n\r\nso be it")
            assert output.startswith("PUT /x HTTP/1.0\r\n")
            assert output.endswith('Content-Length: 7\r\n\r\n{"b":1}')
            assert "\nhttp:a 12\n500 so be it\n" in asking.communicate(timeout=60)[0]

    def test_an_answer_makes_no_section(self):
        """The answer of a trusted server: one that is queried by an address, not on a port of this host."""
        body = printed(FORGED) + b"\0\nsecrets 1\nx\nend 9\n"
        with listening(user=NOBODY, answer=b"HTTP/1.0 200 OK\r\n\r\n" + body) as port:
            found = read(f"ask leader 127.0.0.1:{port} /v1/status/leader", f"ask srvr 127.0.0.1:{port} srvr")
        assert set(found) == {"http:leader", "http:srvr"}
        assert found["http:leader"].startswith("200 provisioner-facts\nsecrets ")

    def test_a_port_that_another_user_holds_gets_no_request(self):
        with listening(user=NOBODY, answer=b'HTTP/1.0 200 OK\r\n\r\n"10.0.0.1:8300"') as port:
            (output,) = read("user root", f"ask leader {port} /v1/status/leader").values()
            assert output.startswith(f"000 port {port} is held by the user ")
            kinds = "socket my $s, $netlink", "socket my $s, 9999"  # /proc/net/tcp, where a kernel has no sock_diag
            program = PROGRAM.replace(*kinds)
            (also,) = read("user root", f"ask leader {port} /v1/status/leader", program=program).values()
            assert also == output
            name = subprocess.run(["id", "-un", str(NOBODY)], check=True, capture_output=True, text=True).stdout.strip()
            (believed,) = read(f"user {name}", f"ask leader {port} /v1/status/leader").values()
            assert believed == '200 "10.0.0.1:8300"'
        (gone,) = read(f"user {name}", f"ask leader {port} /v1/status/leader").values()
        assert gone == "000 Connection refused\n"

    def test_another_address_of_the_port_shuts_nobody_out(self):
        with listening(user=NOBODY, address="127.0.0.2") as port:
            (output,) = read(f"ask leader {port} /").values()
        assert output == "000 Connection refused\n"

    def test_a_process_s_name_makes_no_line(self):
        with listening(user=NOBODY, name=b"a\ntcp 8500 1\n\x85\xff") as port:
            lines = read(f"port {port}")["ports"].splitlines()
        assert [line.split()[0] for line in lines] == ["tcp", "owner"]
        assert lines[1].split(" ", 3)[3] == "a?tcp 8500 1???"


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_measures_in_bytes(shell, tmp_path):
    """In any locale, also with characters of several bytes. A section may end with empty lines, or be empty."""
    (tmp_path / "file").write_text("é\n\n")
    sought = Sought("none", "none", files=(str(tmp_path / "file"),), says="printf 'etcd-version=\\303\\251\\n\\n'")
    words = [shell, *(["sh"] if shell == "busybox" else []), "-c", reading.script(sought, ("system", "files"))]
    output = subprocess.run(
        words, check=True, capture_output=True, timeout=60, env={**os.environ, "LC_ALL": "C.UTF-8"}
    ).stdout
    facts = parse(output)
    assert facts.line("etcd-version") == "é"
    assert facts.files[str(tmp_path / "file")] == "é\n\n"


def test_without_perl_the_files_of_root_s_own_folders_are_read(tmp_path):
    for tool in ("sh", "grep", "id", "date"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    script = reading.script(Sought("none", "none", files=("/etc/passwd",), secrets=("/etc/passwd",)), ("files",))
    output = subprocess.run(
        [str(tmp_path / "sh"), "-c", script], check=True, capture_output=True, timeout=60, env={"PATH": str(tmp_path)}
    ).stdout
    found = parse(output)
    assert "/etc/os-release" in found.files
    assert "/etc/passwd" not in found.files
    assert (found.secrets, found.guarded) == ({}, frozenset())


def test_the_script_has_no_random_separator():
    """Sections are separated by their length, so the script is the same each time."""
    assert reading.script(Sought("none", "none")) == reading.script(Sought("none", "none"))
