"""A host without Perl stops before anything is changed, since its swarm or store can't be seen without Perl."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from captured import capture, with_raw

from provisioner import causes, preflight, render
from provisioner.controlplane import resolve
from provisioner.system import packages
from provisioner.system.facts import Facts

# The sections that facts.pl prints.
OF_PERL = ("files", "secrets", "guarded", "addresses", "ports", "gossip")


def without_perl(facts: Facts, manager: str = "apt-get") -> Facts:
    """Return the facts as read without Perl: the section "files" remains, the other sections of facts.pl are missing."""
    kept = {
        name: text
        for name, text in facts.raw.items()
        if name == "files" or not (name in OF_PERL or name.startswith("http:"))
    }
    lines = [line for line in kept["system"].split("\n") if not line.startswith(("program=perl ", "program=apt-get "))]
    return Facts({**kept, "system": "\n".join([*lines, f"program={manager} /usr/bin/{manager}"])})


def problems(inventory, facts):
    return preflight.run(resolve(inventory(1, more="control_plane: kv"), {"node1": facts})[0])


@pytest.mark.parametrize("state", ["bare", "installed-node1", "settled-node1", "swarm-node1"])
def test_it_is_the_only_problem_and_names_the_host_and_the_command(inventory, state):
    (problem,) = problems(inventory, without_perl(capture(state)))
    assert (problem.id, problem.host) == ("no-perl", "node1")
    assert problem.evidence.startswith("it has no Perl (Debian GNU/Linux 1")
    assert "apt-get install --reinstall perl-base" in causes.cure(problem)


@pytest.mark.parametrize(
    ("manager", "command"),
    [
        ("dnf", "dnf install perl"),
        ("apk", "apk add perl"),
        ("zypper", "zypper install perl"),
        ("emerge", "emerge dev-lang/perl"),
        ("pkg", "with its own package manager"),
    ],
)
def test_the_command_is_that_of_the_hosts_own_package_manager(inventory, manager, command):
    (problem,) = problems(inventory, without_perl(capture("bare"), manager))
    assert f"({command})" in causes.cure(problem)
    assert packages.to_install_perl({manager}) in command or manager == "pkg"


def test_a_perl_that_does_not_run_is_named_before_what_it_would_have_read(inventory):
    facts = without_perl(capture("settled-node1"))
    system = facts.raw["system"] + "\nprogram=perl /usr/bin/perl"
    (problem,) = problems(inventory, Facts({**facts.raw, "system": system}))
    assert (problem.id, problem.evidence[:40]) == ("no-perl", "its Perl (/usr/bin/perl) does not run (D")


def test_modules_that_are_missing_are_named(inventory):
    (problem,) = problems(inventory, with_raw(capture("bare"), perl="IO::Socket Socket\n"))
    assert problem.evidence == "its Perl lacks the modules IO::Socket, Socket (Debian GNU/Linux 11 (bullseye))"


def test_what_a_host_says_of_modules_is_read_as_names_alone():
    assert Facts({"perl": "Socket \x1b[31m$(reboot)\n"}).perl_lacks == ("Socket", "m", "reboot")


def test_each_module_that_a_program_uses_is_looked_for():
    looked_for = set(re.search(r"my @needed = qw\((.*)\)", render.text("facts.pl"))[1].split())
    used = set()
    for path in Path(render.folder()).iterdir():
        text = path.read_text(encoding="utf-8")
        used |= set(re.findall(r"(?:^|;\s*)\s*(?:use|require) ([A-Za-z][\w:]*)", text, re.MULTILINE))
        used |= set(re.findall(r"perl -M([\w:]+)", text))
    assert {"strict", "Socket", "IPC::Open2", "IO::Socket"} <= used
    assert used <= looked_for
