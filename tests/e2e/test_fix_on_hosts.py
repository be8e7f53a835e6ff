"""`doctor --fix` on real hosts: what it can cure is cured, by the commands that it names and no others."""

from __future__ import annotations

import os
import random
import shlex
from functools import partial
from typing import TYPE_CHECKING

import pytest

from provisioner import cli
from provisioner.causes import CAUSES
from provisioner.lab import FAULTS
from tests.e2e.cures import clean, curable, paste
from tests.e2e.test_doctor import back, chosen, containers

if TYPE_CHECKING:
    from provisioner.lab import Lab
    from tests.e2e.cluster import Cluster, Run

pytestmark = [pytest.mark.lab, pytest.mark.timeout(3000 if os.environ.get("PROVISIONER_ALL") == "1" else 1500)]

SEED = int(os.environ.get("PROVISIONER_SEED", "0")) or random.SystemRandom().randrange(1, 10_000)
ODD = 'it\'s $(touch /tmp/pwned) `touch /tmp/pwned` "x" \\ ; touch /tmp/pwned'


def fix(cluster: Cluster, *options: str) -> Run:
    return cluster.run("doctor", "--fix", "--yes", *options)


def block(comment: str, action: str = "-I") -> str:
    """A command that makes a host drop the data of overlays, by a rule with this comment; with "-D", one that deletes this rule."""
    return f"iptables {action} INPUT -p udp --dport 4789 -m comment --comment {shlex.quote(comment)} -j DROP"


def by_fix(store: str, *more: str) -> list[str]:
    """Return the faults of causes that `--fix` can cure, in some form at least, on a cluster of this kind."""
    return [fault.id for fault in chosen(store, *more) if curable(fault) and CAUSES[fault.cause].fixes]


@pytest.mark.parametrize(
    ("kind", "faults", "also"),
    [
        ("consul", by_fix("consul"), [["vxlan-blocked", "ip-forward"]]),
        ("swarm-28", by_fix("swarm", "firewall-reload"), []),
    ],
    ids=["consul", "swarm-28"],
)
def test_what_can_be_cured_is_cured(settled, capsys, kind, faults, also):
    """Some of the faults, or all with PROVISIONER_ALL=1; also two at once on two hosts. See test_doctor.py for cures that are pasted."""
    cluster, dice, wrong = settled(kind), random.Random(SEED), []
    some = faults if os.environ.get("PROVISIONER_ALL") == "1" else dice.sample(faults, 2 if cluster.store else 1)
    containers(cluster)
    assert cluster.run("verify").code == 0  # and the engines have time to end what they do after containers start
    for names in (*([name] for name in some), *also):
        containers(cluster)  # the last fault may have left containers without forwarding entries to each other
        places = dice.sample(sorted(cluster.lab.hosts), 3)
        for name, host in zip(names, places, strict=False):
            cluster.lab.break_(FAULTS[name], host, places[2] if FAULTS[name].place.pair else "")
        run = fix(cluster)
        states = {(done["cause"], done["state"]) for done in run.report["fixes"]}
        wanted = {(FAULTS[name].cause, "converged") for name in names}
        if not states and len(names) == 1:  # a rule that `--fix` does not delete, since it is for more than the cluster
            paste(cluster, run.report["causes"])
            run, wanted = fix(cluster), set()
        if run.code or not run.proven or not wanted <= states:
            wrong.append(f"{names} on {places}: {states}\n{run.err[-3000:]}")
        with capsys.disabled():
            print(f"{names} on {places}: {run.report['seconds']:.1f} s")
        clean(cluster)
        if kind.startswith("swarm"):
            back(cluster)
    assert not wrong, f"seed {SEED}:\n" + "\n".join(wrong)
    assert cluster.run("verify").code == 0


def replaced(lab: Lab, host: str) -> None:
    """In the process of `provisioner`: replace the rule while the user is asked."""
    ask = cli._agreed_fixes

    def meanwhile(*args, **options):
        fixes = ask(*args, **options)
        lab.exec(host, ["sh", "-c", f"if {block('a rule', '-D')}; then {block('another')}; fi"])
        return fixes

    cli._agreed_fixes = meanwhile


def test_it_runs_what_it_has_shown_and_nothing_else(settled):
    cluster = settled("consul")
    cluster.sh("node2", block(ODD))

    # Another run holds a host's lock.
    hold = "mkdir -p /run/provisioner; exec 9>>/run/provisioner/session.lock; flock 9; echo 1 1 somebody >/run/provisioner/session.lock"
    cluster.sh("node3", f"({hold}; exec sleep 3600) >/dev/null 2>&1 & echo $! >/run/holder")
    busy = fix(cluster)
    cluster.sh("node3", "kill $(cat /run/holder)")
    assert (busy.code, busy.report["writes"]) == (1, 0), busy.err
    assert [done["state"] for done in busy.report["fixes"]] == ["skipped"]
    assert [cause["id"] for cause in busy.report["causes"]][:1] == ["vxlan-blocked"]

    # The comment of the rule is one word of the command.
    run = cluster.killed(1, "answered", "--fix", "--yes", command="doctor")
    assert run.code == -9, run.err
    assert "4789 -m comment" not in cluster.sh("node2", "iptables-save")
    assert cluster.sh("node2", "ls /tmp/pwned", check=False) == ""
    after = fix(cluster)
    assert (after.code, after.report["fixes"]) == (0, []), after.err

    # A rule that was changed after it was shown is left alone, until it was shown as it is now.
    cluster.sh("node2", block("a rule"))
    process = cluster.begin("doctor", "--fix", "--yes", before=[partial(replaced, cluster.lab, "node2")])
    changed = cluster.ended(process)
    first, second = changed.report["fixes"]
    assert (first["state"], "has changed" in first["reason"]) == ("skipped", True), changed.err
    assert (second["state"], "another" in second["commands"][0], changed.code) == ("converged", True, 0), changed.err

    # A rule that can't be shown on one line is not deleted.
    cluster.sh("node2", block("two\nlines"))
    lines = fix(cluster)
    assert (lines.code, lines.report["fixes"]) == (1, []), lines.err
    cluster.sh("node2", block("two\nlines", "-D"))
    assert cluster.run("verify").code == 0
