"""Parts of templates/probe.sh.j2, as real shells run them."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from provisioner import render

TEXT = (render.folder() / "probe.sh.j2").read_text()
SHELLS = [shell for shell in (["dash"], ["bash", "--posix"]) if shutil.which(shell[0])]
# The clean-up continues after the proof. It gets these signals once it has begun.
CLEAN_UP = """
{ aside; : >begun; exec sleep 30; } &
until [ -e begun ]; do sleep 0.01; done
for signal in %s; do kill -s "$signal" $!; done
sleep 0.2
kill -0 $! 2>/dev/null && echo "goes on" || echo ended
kill -s KILL $! 2>/dev/null
"""


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize(("signals", "then"), [("HUP INT PIPE", "goes on"), ("TERM", "ended")])
def test_the_clean_up_outlives_the_controller_and_not_the_host(tmp_path, shell, signals, then):
    """A shutdown sends SIGTERM, and waits 90 s for a process that ignores it."""
    (trap,) = re.findall("^trap .*$", TEXT, re.MULTILINE)
    (aside,) = re.findall(r"^aside\(\) \{.*?^\}$", TEXT, re.MULTILINE | re.DOTALL)
    script = f"{trap}\n{aside}\n{CLEAN_UP % signals}"
    ended = subprocess.run(
        [*shell, "-c", script], cwd=tmp_path, check=False, capture_output=True, text=True, timeout=20
    )
    assert ended.stdout == f"{then}\n", ended.stderr


def test_what_a_probe_writes_is_its_own():
    """It counts as a read. docs/decisions/values-not-texts.md says what this shows, and what it does not."""
    requests = re.findall(r'\b(?:engine (?:\d+|"\$patience")|gone) ([A-Z]+) "([^"]*)"(?: "((?:[^"\\]|\\.)*)")?', TEXT)
    assert set(requests) == {
        ("GET", "$path", ""),  # of `needed`
        ("POST", "/images/create?fromSrc=-&repo=provisioner/probe:$tag", ""),
        ("DELETE", "/images/provisioner/probe:$1", ""),
        ("DELETE", "/containers/provisioner-probe-$1-$suffix?force=1", ""),
        ("POST", "/networks/$network/disconnect", r"{\"Container\":\"provisioner-probe-$1-$suffix\",\"Force\":true}"),
    }
    assert (
        len(requests) == len(re.findall(r'\b(?:engine (?:\d+|"\$patience")|gone) ', TEXT)) - 1
    )  # `gone` passes its own request on
    uncommented = re.sub(r"(?m)(?:^|\s)#.*$", "", TEXT)
    commands = re.sub(r"""\\.|'[^']*'|"(?:[^"\\]|\\.)*\"""", '""', uncommented)
    assert re.findall(r"(?<!in )\bdocker +(\S+)", commands) == ["run"]
    assert '--name "$name" --label provisioner.probe="$run"' in TEXT
    assert set(re.findall(r">\s*([^&\s>]\S*)", commands)) == {"/dev/null"}
    assert not re.search(
        r"(?<!-)\b(?:rm|mv|cp|ln|dd|tee|touch|mkdir|chmod|chown|install|systemctl|iptables|nft|ip)\b", commands
    )


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize(
    ("unit", "said", "then"),
    [
        (True, "{}", "goes on"),
        (True, "the engine: no answer in time", "provisioner: the engine gives no answer within 1 seconds\t"),
        (True, "page not found", "goes on"),
        (False, "{}", "provisioner: the engine is stopped\t"),
    ],
)
def test_no_probe_is_started_on_an_engine_that_does_not_answer(tmp_path, shell, unit, said, then):
    """Nor is a stopped engine asked, which would start it."""
    (part,) = re.findall(r"^# A request to a stopped engine.*?(?=^# The image)", TEXT, re.MULTILINE | re.DOTALL)
    (tmp_path / "units").mkdir()
    if unit:
        (tmp_path / "units" / "invocation:docker.service").symlink_to("x")
    head = f"stop() {{ printf 'provisioner: %s\\t%s\\n' \"$@\"; exit 70; }}\nengine() {{ echo '{said}'; }}\npatience=1 needed='/networks/n /info'\n"
    script = head + part.replace("/run/systemd/units", str(tmp_path / "units")) + "echo 'goes on'\n"
    ended = subprocess.run([*shell, "-uc", script], check=False, capture_output=True, text=True, timeout=20)
    assert ended.stdout.startswith(then), ended.stderr
