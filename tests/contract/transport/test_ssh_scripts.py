"""How scripts run on a host, tested with a real sshd."""

import threading
import time

import pytest

from provisioner.errors import CommandFailed, Refused, TimedOut, Unreachable


def test_a_script_gives_its_exit_code_and_both_streams(connection):
    result = connection.read("echo out; echo err >&2; exit 3", accept=(0, 3))
    assert (result.code, result.stdout, result.stderr) == (3, "out\n", "err\n")


def test_a_code_that_is_not_accepted_is_an_error_that_names_host_and_script(connection):
    with pytest.raises(CommandFailed) as caught:
        connection.read("# reading the engine's facts\necho why >&2; exit 4")
    assert caught.value.result.code == 4
    assert str(caught.value) == "one: exit code 4\n  tried: reading the engine's facts\n  | why"


def test_scripts_begin_alike_everywhere(connection):
    lines = connection.read('umask; pwd; echo "$LC_ALL"; echo "$PATH"; cat; echo end').stdout.splitlines()
    assert lines[:3] == ["0022", "/", "C"]
    assert "/usr/sbin" in lines[3].split(":")
    assert lines[4] == "end"


def test_a_syntax_error_runs_nothing_of_the_script(connection):
    with pytest.raises(CommandFailed) as caught:
        connection.read("echo ran\nif true; then")
    assert caught.value.result.stdout == ""


def test_much_on_stderr_beside_stdout_does_not_block(connection):
    result = connection.read("echo a; head -c 3000000 /dev/zero | tr '\\0' e >&2; echo b")
    assert (result.stdout, len(result.stderr)) == ("a\nb\n", 3_000_000)


def test_endless_output_is_stopped(connection):
    with pytest.raises(CommandFailed, match="larger than 16 MiB"):
        connection.read("yes")


def test_a_script_that_hangs_times_out_and_is_killed(connection, tmp_path):
    began = time.monotonic()
    with pytest.raises(TimedOut) as caught:
        connection.read(
            f"# sleeping\ntrap 'echo ended >{tmp_path}/ended; exit' TERM\necho so far\nsleep 30 & wait", deadline=0.5
        )
    assert 0.5 <= time.monotonic() - began < 5
    assert str(caught.value) == "one: the script did not end within 0.5 seconds\n  tried: sleeping\n  | so far"
    assert connection.read(f"sleep 1; cat {tmp_path}/ended").stdout == "ended\n"


def test_a_daemon_that_keeps_the_output_open_does_not_hold_us(connection):
    began = time.monotonic()
    assert connection.read("sleep 15 & echo started").stdout == "started\n"
    assert time.monotonic() - began < 10


def test_output_that_comes_late_after_the_exit_is_not_cut(connection):
    assert connection.read("echo first; (sleep 1.5; echo last) &").stdout == "first\nlast\n"


def test_output_that_could_harm_a_terminal_is_made_harmless(connection):
    result = connection.read("printf '\\033[31mred\\033[0m\\033]0;title\\007 \\377\\r\\n\\tnext'")
    assert result.stdout == "red \ufffd\n\tnext"


def test_a_script_that_is_killed_is_an_error_of_its_own(connection):
    with pytest.raises(CommandFailed, match="killed by a signal"):
        connection.read("kill -9 $$", accept=range(-1, 256))


def test_a_server_that_dies_is_reported_as_a_lost_connection(sshd, connection):
    threading.Timer(0.3, sshd.cut).start()
    began = time.monotonic()
    with pytest.raises(Unreachable, match=r"connection lost after \d\.\d seconds"):
        connection.read("echo begun; sleep 20")
    assert time.monotonic() - began < 10
    with pytest.raises(Unreachable, match="the connection is lost"):
        connection.read("true")


def test_big_scripts_arrive_whole(connection):
    text = "x" * 1_000_000
    assert connection.read(f"text='{text}'; echo ${{#text}}").stdout == "1000000\n"


def test_fifty_scripts_on_one_connection(connection):
    assert all(connection.read(f"echo {n}").stdout == f"{n}\n" for n in range(50))


def test_noise_of_a_forced_command_is_dropped(sshd):
    sshd.start("ForceCommand echo NOISE; echo NOISE >&2; printf 'half a line'; eval \"$SSH_ORIGINAL_COMMAND\"")
    result = sshd.connect().read("echo out; echo err >&2")
    assert (result.stdout, result.stderr) == ("out\n", "err\n")


def test_a_host_that_runs_no_commands_says_so(sshd):
    sshd.start('ForceCommand echo "Please login as the user \\"admin\\""; exit 142')
    with pytest.raises(Refused, match="runs no commands") as caught:
        sshd.connect().read("echo out")
    assert 'Please login as the user "admin"' in str(caught.value)


def test_too_few_sessions_are_reported_with_the_option_that_limits_them(sshd):
    sshd.start("MaxSessions 1")
    connection = sshd.connect()
    assert connection.read("echo one").stdout == "one\n"
    with connection.stream("cat"), pytest.raises(Refused, match="refuses another session") as caught:
        connection.read("echo two")
    assert "MaxSessions" in caught.value.cure
