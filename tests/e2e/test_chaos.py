"""Some rounds of scripts/chaos: a seed always draws the same round, and a round is judged by the state of the hosts."""

from __future__ import annotations

import pytest

from tests.chaos import judge
from tests.chaos.play import Player
from tests.chaos.scenario import HOSTS, KINDS, Round, draw

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

# Short rounds on fresh hosts, where `up` is interrupted before the cluster has ever settled.
SEEDS = {"consul": 4718, "etcd": 4711, "zookeeper": 4735, "swarm": 4774}


@pytest.mark.some(2)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_round(make_lab, tmp_path, kind):
    player = Player(kind, make_lab(hosts=len(HOSTS), image=kind.image), tmp_path)
    result = player.play(SEEDS[kind.name])
    assert not result.wrong, result
    assert any("killed after" in command for command in result.commands), result
    if kind.name == "consul":
        faults_are_seen(player)


def faults_are_seen(player: Player) -> None:
    """The judge reports exactly the faults that were created."""
    cluster = player._cluster
    made = {
        "node1": "systemd-run -q --unit=broken false; sleep 1",
        "node2": "docker stop -t 0 plain; touch /etc/provisioner/.provisioner.abcdefgh",
        "node3": "docker run --rm -d --name left --network none -v /usr:/usr:ro -v /bin:/bin:ro -v /lib:/lib:ro -v /lib64:/lib64:ro tests/box sleep 60",
    }
    for host, script in made.items():
        cluster.sh(host, script, check=False)
    found = judge.faults(cluster, swarm=False)
    assert found == [
        "node1: failed units: broken.service",
        "node2: not running: plain",
        "node2: temporary files are left: /etc/provisioner/.provisioner.abcdefgh",
        "node3: containers are left: left",
    ]


def test_a_seed_always_draws_the_same_round():
    """Different seeds draw different rounds, and together they cover everything that can happen."""
    for kind in KINDS.values():
        rounds = [draw(kind, seed) for seed in range(400)]
        assert rounds == [draw(kind, seed) for seed in range(400)]
        assert len({str(each) for each in rounds}) > 350
        assert {each.start for each in rounds} == {"fresh", "settled"}
        commands = {act.command.split()[0] for each in rounds for act in each.acts}
        assert commands == {"up"} | ({"rotate"} if kind.rotations else set()) | ({"remove"} if kind.leaves else set())
        acts = [act for each in rounds for act in each.acts]
        assert all(any(getattr(act, what) for act in acts) for what in ("killed", "drift", "concurrent", "loss"))
        assert all(act.killed or act.loss for act in acts)
        assert all(heals(each) for each in rounds)


def heals(drawn: Round) -> bool:
    """Whether the round ends with `up`, or with a removed host that stays out."""
    return drawn.healing[-1].startswith("up") or (drawn.removes and not KINDS[drawn.kind].returns)
