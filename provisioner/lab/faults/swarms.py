"""Faults that only a swarm has: the managers' port, and nodes that rest, are locked, or are in another swarm."""

from provisioner.lab.faults.base import Fault, Place
from provisioner.lab.faults.filters import rule_fault

_SWARM = ("swarm",)
_KEY = "/run/fault-swarm-key"
_TOKEN = "/run/fault-swarm-token"  # noqa: S105 # a path
_WAIT = "for n in $(seq 60); do {} && exit 0; sleep 0.5; done; exit 1"  # 30 seconds
_DOWN = """(for id in $(docker node ls --format '{{.ID}} {{.Status}}' | sed -n 's/ Down$//p'); do
  docker node demote "$id" >/dev/null 2>&1; docker node rm --force "$id" || exit 1; done)"""
# A manager that leaves before it has ceased to be one stays a member of the managers' quorum.
_LEAVE = f"""(umask 077; docker swarm join-token -q manager >{_TOKEN}); docker node demote "$HOST"
for n in $(seq 40); do [ "$(docker info -f '{{{{.Swarm.ControlAvailable}}}}')" = false ] && break; sleep 0.5; done
docker swarm leave --force"""
_REJOIN = f"""[ -s {_TOKEN} ] || exit 0; docker swarm leave --force 2>/dev/null
docker swarm join --advertise-addr "$SELF" --token "$(cat {_TOKEN})" "$PEER:2377" && rm {_TOKEN}
systemctl restart docker
{_WAIT.format(f"docker node ls >/dev/null 2>&1 && {_DOWN}")}"""  # an engine 20.10 takes no part in gossip before it is restarted

FAULTS = (
    rule_fault(
        "manager-blocked",
        "manager-blocked",
        "the host drops what comes in on the port of the swarm's managers",
        "INPUT -p tcp --dport 2377 -j DROP",
        stores=_SWARM,
    ),
    rule_fault(
        "manager-refused",
        "manager-blocked",
        "the host refuses connections to the port of the swarm's managers",
        "INPUT -p tcp --dport 2377 -j REJECT --reject-with tcp-reset",
        stores=_SWARM,
    ),
    rule_fault(
        "manager-blocked-out",
        "manager-blocked",
        "the host drops what goes out to the port of the swarm's managers",
        "OUTPUT -p tcp --dport 2377 -j DROP",
        stores=_SWARM,
    ),
    rule_fault(
        "manager-blocked-from",
        "manager-blocked",
        "the host drops what one other host sends to the port of the swarm's managers",
        'INPUT -s "$PEER" -p tcp --dport 2377 -j DROP',
        place=Place.PATH,
        stores=_SWARM,
    ),
    Fault(
        "node-drained",
        "node-resting",
        "the node of the host is drained",
        'docker node update --availability drain "$HOST"',
        'docker node update --availability active "$HOST"',
        stores=_SWARM,
    ),
    Fault(
        "swarm-locked",
        "swarm-locked",
        "the swarm has autolock, and the host's engine was restarted",
        f"docker swarm update --autolock=true >/dev/null && (umask 077; docker swarm unlock-key -q >{_KEY}) || exit 1\nsleep 5; systemctl restart docker",
        # An engine that is unlocked sometimes gets no orders from its swarm before it is restarted. Restarted at once, it would be locked again.
        f"[ -s {_KEY} ] || exit 0; docker swarm unlock <{_KEY}; ("
        + _WAIT.format(f"docker swarm update --autolock=false >/dev/null 2>&1 && rm {_KEY}")
        + ") || exit 1; sleep 5; systemctl restart docker; "
        + _WAIT.format("docker node ls >/dev/null 2>&1"),
        stores=_SWARM,
    ),
    Fault(
        "other-swarm",
        "other-swarm",
        "the host left its swarm, and made one of its own",
        _LEAVE + '\ndocker swarm init --advertise-addr "$SELF" >/dev/null',
        _REJOIN,
        Place.PATH,
        stores=_SWARM,
    ),
    Fault("node-left", "node-left", "the host left its swarm", _LEAVE, _REJOIN, Place.PATH, stores=_SWARM),
    Fault(
        "service-broken",
        "service-tasks-missing",
        "a service has an image that no registry has",
        "docker service inspect fault-service >/dev/null 2>&1 ||"
        " docker service create --quiet --detach --name fault-service nothing.invalid/none:1 >/dev/null;"
        " for n in $(seq 60); do docker service ps --format '{{.Error}}' fault-service | grep -q . && exit 0; sleep 0.5; done; exit 1",
        "docker service rm fault-service >/dev/null 2>&1 || :",
        stores=_SWARM,
    ),
)
