import base64
import hashlib
import hmac
import threading

import pytest

from provisioner.transport.known_hosts import KnownHosts, fingerprint, host_name, parse

KEY = base64.b64encode(b"a key").decode()
OTHER = base64.b64encode(b"another").decode()


def hashed(name, salt=b"s" * 20):
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize(
    ("address", "port", "name"),
    [
        ("10.0.0.1", 22, "10.0.0.1"),
        ("10.0.0.1", 2222, "[10.0.0.1]:2222"),
        ("Web.Example", 22, "web.example"),
        ("fe80::1", 22, "fe80::1"),
        ("fe80::1", 2222, "[fe80::1]:2222"),
    ],
)
def test_names_have_openssh_s_form(address, port, name):
    assert host_name(address, port) == name


@pytest.mark.parametrize(
    ("patterns", "name", "found"),
    [
        ("web", "web", True),
        ("web", "web2", False),
        ("a,web,b", "web", True),
        ("web", "[web]:2222", False),
        ("[web]:2222", "[web]:2222", True),
        ("[web]:2222", "w", False),
        ("*.example", "web.example", True),
        ("10.0.0.?", "10.0.0.7", True),
        ("10.0.0.?", "10.0.0.77", False),
        ("*,!web", "web", False),
        ("*,!web", "db", True),
        ("!web", "db", False),
        ("WEB", "web", True),
        (hashed("web"), "web", True),
        (hashed("[web]:2222"), "[web]:2222", True),
        (hashed("web"), "db", False),
        ("|1|broken", "web", False),
        ("|1|###|###", "web", False),
    ],
)
def test_which_hosts_a_line_matches(patterns, name, found):
    (entry,) = parse(f"{patterns} ssh-ed25519 {KEY} a comment")
    assert entry.matches(name) is found


def test_lines_without_a_usable_key_are_skipped_but_counted():
    text = f"\n# comment\nweb\nweb ssh-rsa ###\n@unknown * ssh-rsa {KEY}\n  web\tssh-rsa {KEY}\n"
    assert [(entry.kind, entry.line, entry.revoked) for entry in parse(text)] == [("ssh-rsa", 6, False)]


def test_a_revoked_key_is_marked_and_never_requested(tmp_path):
    file = tmp_path / "known_hosts"
    file.write_text(f"@revoked * ssh-rsa {KEY}\nweb ssh-ed25519 {OTHER}\n")
    known = KnownHosts(file)
    assert [entry.revoked for entry in known.lookup("web")] == [True, False]
    assert known.kinds("web") == ("ssh-ed25519",)


def test_an_authority_is_no_key_of_a_host(tmp_path):
    file = tmp_path / "known_hosts"
    file.write_text(
        f"@cert-authority *.example ssh-rsa {KEY}\n@cert-authority * ssh-rsa {OTHER}\n@revoked * ssh-rsa {OTHER}\n"
    )
    known = KnownHosts(file)
    assert known.authorities("web.example") == {b"a key"}
    assert known.authorities("web") == set()
    assert [entry.revoked for entry in known.lookup("web.example")] == [True]


def test_further_files_are_read_and_never_written(tmp_path):
    (tmp_path / "more").write_text(f"web ssh-rsa {KEY}\n")
    known = KnownHosts(tmp_path / "known_hosts", (tmp_path / "more", tmp_path / "none"))
    assert [(entry.path, entry.line) for entry in known.lookup("web")] == [(tmp_path / "more", 1)]
    known.add("db", "ssh-rsa", b"another")
    assert (tmp_path / "more").read_text() == f"web ssh-rsa {KEY}\n"


def test_a_fingerprint_has_ssh_keygen_s_form():
    # printf 'a key' | openssl dgst -sha256 -binary | base64
    assert fingerprint(b"a key") == "SHA256:j6Oqsvqpt54KA5jaW1q9B4AUJEKlvoC5pkYI1xjLH80"


def test_a_new_host_is_appended_once(tmp_path):
    file = tmp_path / "new folder" / "known_hosts"
    known = KnownHosts(file)
    assert known.lookup("web") == ()
    assert known.add("web", "ssh-ed25519", b"a key") == ()
    assert [entry.key for entry in known.add("web", "ssh-ed25519", b"another")] == [b"a key"]
    assert file.read_text() == f"web ssh-ed25519 {KEY}\n"
    assert oct(file.stat().st_mode) == "0o100600"
    assert oct(file.parent.stat().st_mode) == "0o40700"


def test_a_key_that_another_process_has_recorded_meanwhile_counts(tmp_path):
    file = tmp_path / "known_hosts"
    known = KnownHosts(file)
    file.write_text(f"web ssh-ed25519 {OTHER}\n")
    assert [entry.key for entry in known.add("web", "ssh-ed25519", b"a key")] == [b"another"]
    assert file.read_text() == f"web ssh-ed25519 {OTHER}\n"


def test_a_last_line_without_a_newline_stays_intact(tmp_path):
    file = tmp_path / "known_hosts"
    file.write_text(f"db ssh-rsa {OTHER}")
    KnownHosts(file).add("web", "ssh-ed25519", b"a key")
    assert file.read_text() == f"db ssh-rsa {OTHER}\nweb ssh-ed25519 {KEY}\n"


def test_many_threads_lose_no_entries(tmp_path):
    file = tmp_path / "known_hosts"
    tables = [KnownHosts(file) for _ in range(4)]
    threads = [
        threading.Thread(target=tables[n % 4].add, args=(f"host{n}", "ssh-ed25519", b"key %d" % n)) for n in range(40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(line.split()[0] for line in file.read_text().splitlines()) == sorted(f"host{n}" for n in range(40))


def test_a_file_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(OSError, match="directory"):
        KnownHosts(tmp_path)
