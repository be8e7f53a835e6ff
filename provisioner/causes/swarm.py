"""Swarm mode."""

from provisioner.causes.base import ADVERTISE, ENGINE, MEMBERSHIP, RESTART, VERSION, Cause, Family
from provisioner.model import Severity

FAMILY = Family(
    "swarm",
    "Swarm mode",
    (
        Cause(
            "store-in-use",
            "the engine uses an external store",
            Severity.STOP,
            "An external store and swarm mode exclude each other: the engine can't join a swarm (moby v20.10).",
            "remove {keys} from {path} and restart docker; or keep the external store: {keep}",
            variants={
                "networks": "remove the store's networks (docker network rm {networks}), remove {keys} from {path} and restart"
                " docker; or keep the external store: {keep}"
            },
        ),
        Cause(
            "other-swarm",
            "the engine is in another swarm",
            Severity.STOP,
            "An engine is in one swarm at a time. Services may run in the other swarm, so the engine stays in it.",
            "if nothing needs that swarm: docker swarm leave --force, on this host",
            variants={
                "unreached": "make {unknown} reachable first, and run again; or, if that swarm is not this cluster's and nothing"
                " needs it: docker swarm leave --force, on this host",
                "same-label": "keep the swarm of {hosts}: move what you need into it; then run docker swarm leave --force on"
                " each node of the other swarm, and run again",
            },
            touches=dict.fromkeys(("", "unreached", "same-label"), MEMBERSHIP),
        ),
        Cause(
            "join-unanswered",
            "an engine asks to join the swarm, and no manager lets it in",
            Severity.WARNING,
            "The engine asks a manager for its certificate, and goes on asking. Port 2377/tcp is blocked on the way to the managers,"
            " or their answers do not come back. Until then, the engine is in no swarm, and no container there joins its networks.",
            "make sure that 2377/tcp passes from this host to {asked}; the engine then joins by itself. `provisioner up INVENTORY`"
            " starts the join again, with a new token",
            drifts=("swarm", "network"),
            explains=("engines-apart", "probe-failed"),
        ),
        Cause(
            "second-swarm",
            "a host is alone in a second swarm of the cluster",
            Severity.WARNING,
            "Two swarms were created for one cluster, for example by two runs at the same time. The host shares no network with"
            " the others.",
            "run `provisioner up INVENTORY`: if that swarm is empty, the host leaves it and joins the others",
            fixable=True,
            explains=("engines-apart",),
        ),
        Cause(
            "swarm-locked",
            "the engine is locked",
            Severity.STOP,
            "In a swarm with autolock, a restarted engine waits for the swarm's key. Until it has the key, it does not take part"
            " in the swarm.",
            "docker swarm unlock, on this host, with the key; docker swarm unlock-key on {manager} shows it",
            variants={
                "no-leader": "docker swarm unlock, on this host, with the key; at the same time unlock enough managers for a"
                " majority"
            },
            touches=dict.fromkeys(("", "no-leader"), MEMBERSHIP),
            explains=("probe-failed",),
        ),
        Cause(
            "swarm-error",
            "the engine can't join its swarm",
            Severity.STOP,
            "The engine belongs to a swarm and fails to take part in it. It starts no task, and its containers lose the swarm's"
            " networks.",
            "fix the error; or, if no container needs the swarm: docker swarm leave, on this host, and run again",
            touches={"": MEMBERSHIP},
        ),
        Cause(
            "swarm-leaderless",
            "the swarm has no leader",
            Severity.WARNING,
            "A swarm without a majority of its managers has no leader. Running containers continue, but nothing in the swarm"
            " can change, and no container can join its networks.",
            "start the managers' hosts and engines; only if a majority of the managers is gone for good: {anew}; then run again,"
            " without those hosts or with new ones",
            variants={
                "start": "start the swarm's managers first: provisioner up INVENTORY starts their engines, and reports which do"
                " not take part"
            },
            drifts=("swarm", "network"),
            explains=("probe-failed",),
        ),
        Cause(
            "node-resting",
            "a node is drained or paused",
            Severity.WARNING,
            "Somebody took the node out of scheduling. A container that starts there can't join the swarm's networks. A run does"
            " not change the node's availability.",
            "when it should take part again: docker node update --availability active {node}, on a manager",
            explains=("probe-failed",),
        ),
        Cause(
            "node-left",
            "a node has left the swarm",
            Severity.ERROR,
            "The host's engine is in no swarm, but the managers still list it as a node. It gets no tasks, and no container"
            " there can join the swarm's networks.",
            "let it join again with a token (docker swarm join-token worker, on {manager}), then remove its old node: docker node"
            " rm --force {node}",
            variants={
                "half": "finish it: docker swarm leave --force, on this host; it can then join again with a token (docker swarm"
                " join-token worker, on {manager}); then remove its old node: docker node rm --force {node}"
            },
            explains=("probe-failed", "overlay-blocked", "names-unresolved", "network-detached"),
            drifts=("swarm", "stale-node"),
        ),
        Cause(
            "networking-off",
            "an engine takes no part in the networks of its swarm",
            Severity.ERROR,
            "The engine answers, and its node is in the swarm. But the engine has not noticed the swarm where it makes networks: it"
            " listens to no gossip and creates no overlay. It can get there when it starts or is unlocked (moby#34864).",
            "if this persists for a minute, restart the engine (its containers stop meanwhile)",
            commands={"": (RESTART,)},
            fixes=frozenset({""}),
            touches={"": ENGINE},
            explains=(
                "probe-failed",
                "engines-apart",
                "overlay-blocked",
                "names-unresolved",
                "service-tasks-missing",
                "network-detached",
            ),
        ),
        Cause(
            "service-tasks-missing",
            "tasks of a service do not run",
            Severity.WARNING,
            "The swarm can't run all tasks of a service, and says why. The image may be missing, no node may fit, or no address"
            " may be left. Clients of the service get fewer answers or none.",
            "on {manager}: docker service ps --no-trunc {service}; remove what its errors name, then docker service update --force"
            " {service}",
        ),
        Cause(
            "network-unallocated",
            "the swarm can't allocate a network",
            Severity.WARNING,
            "The swarm's leader gives each network a number and subnets before anything can use it. It can't if a subnet overlaps with"
            " that of another network, if its address pool is used up, or if the network has subnets of IPv6 only. Tasks on it stay in"
            " the state new, and containers do not start.",
            "docker network rm {network}, and create it again with an IPv4 subnet that overlaps with no other network (docker network"
            " inspect shows their subnets); the leader's log says more: journalctl -u docker",
            explains=("service-tasks-missing", "probe-failed"),
        ),
        Cause(
            "ipvs-missing",
            "the kernel can't balance connections to services",
            Severity.ERROR,
            "A swarm's services have virtual addresses and published ports, which the kernel module ip_vs (IPVS) serves. Without it,"
            " the name of a service resolves, but no connection to it opens on this host. Containers still reach each other.",
            "install the kernel's package with this module and load it, then restart the engine; or create the services with"
            " --endpoint-mode dnsrr, and publish their ports with mode=host",
            commands={"": ("modprobe ip_vs", RESTART)},
            touches={"": ENGINE},
            explains=("published-unanswered", "vip-unanswered"),
        ),
        Cause(
            "published-unanswered",
            "a host does not answer a published port of a service",
            Severity.WARNING,
            "Each node of a swarm answers the published ports of all services (routing mesh). Other hosts answer this port, so the"
            " service runs. A firewall between the hosts or on this one drops the connection, or the engine's rules are gone.",
            "find the rule on {at} that drops {protocols}: iptables -S DOCKER-USER; iptables -S FORWARD; if iptables -t nat -S"
            " DOCKER-INGRESS does not name the port, restart the engine; if it does, look into the namespace of the routing mesh:"
            " nsenter --net=/var/run/docker/netns/ingress_sbox iptables -S",
            variants={"between": "find what filters {protocols} between {source} and {to}"},
        ),
        Cause(
            "vip-unanswered",
            "a virtual address of a service does not answer",
            Severity.ERROR,
            "The name of a service resolves to its virtual address. Each host has a load balancer for it, which sends connections on to the"
            " tasks (IPVS). Containers reach these directly, so the load balancer of this host has lost its entries or filters packets.",
            "look for its entries and rules on {host}: nsenter --net=/var/run/docker/netns/{space} ipvsadm -Ln, or iptables -S there;"
            " restarting the engine sets it up anew",
            variants={
                "some": "it may have entries of tasks that are gone; look on {host}: nsenter --net=/var/run/docker/netns/{space} ipvsadm -Ln;"
                " restarting the engine sets it up anew"
            },
            commands={"": (RESTART,), "some": (RESTART,)},
            touches=dict.fromkeys(("", "some"), ENGINE),
        ),
        Cause(
            "ipvs-idle",
            "a load balancer has forgotten connections to a service",
            Severity.WARNING,
            "The load balancer of a virtual address (IPVS) forgets a connection after 15 minutes without data. Both ends still hold it."
            " What the client sends next is answered with a reset, or not at all, until it connects again.",
            "restart the clients, and let them send keepalives more often, if their programs ask for any: docker service update"
            " --sysctl-add net.ipv4.tcp_keepalive_time=600 CLIENT; or create {service} again with --endpoint-mode dnsrr, which needs no"
            " load balancer",
        ),
        Cause(
            "engines-apart",
            "engines do not know each other from gossip",
            Severity.WARNING,
            "Engines announce by gossip where containers run. Two engines that do not know each other forward no packets to"
            " the other's containers, and in a swarm resolve no names of them.",
            "{reunion}",
            explains=(
                "overlay-blocked",
                "names-unresolved",
                "table-differs",
                "fdb-lost",
            ),
        ),
        Cause(
            "table-differs",
            "an engine's gossip tables do not match the containers",
            Severity.ERROR,
            "Each engine of a swarm has tables of gossip: the names of a network's containers, and the host of each. What is missing"
            " there has no name or gets no packets from this host; what is outdated there leads to nobody. Only `doctor --deep` reads"
            " these tables.",
            "engines exchange their tables every 30 seconds; if the difference is still there after a minute, restart the engine on"
            " {host}, which then gets the tables from the others (its containers stop meanwhile): systemctl restart docker",
            variants={
                "own": "the engine of {host} does not announce its own containers; on {host}: docker restart {containers}, which"
                " announces them again (docker start if one stays off: its network may be gone for a moment); for services, docker"
                " service update --force",
                "stale": "if the entries are still there after a minute, restart the engine on {host}, to which they belong (its"
                " containers stop meanwhile): systemctl restart docker; the others then forget what it announced before",
            },
            explains=("overlay-blocked", "names-unresolved", "name-stale", "fdb-lost", "fdb-stale"),
        ),
        Cause(
            "dns-lost",
            "engines forgot the names of a host's containers",
            Severity.ERROR,
            "Engines 29.0 to 29.6 forget the names of a node that was cut off for some seconds, and do not learn them again"
            " (moby#53141). The containers answer by address. Not reproduced in the lab, which has no such engine.",
            "restart the engine on {host}, which announces its containers again; for services, docker service update --force is"
            " enough. Then update the engines on {hosts}",
            variants={
                "several": "restart the engines on {hosts}, one after the other; for services, docker service update --force is"
                " enough. Then update these engines"
            },
            commands={"": (RESTART,)},
            fixes=frozenset({""}),
            touches={"": ENGINE},
            explains=("names-unresolved",),
        ),
        Cause(
            "local-dns",
            "names of local networks do not resolve in a swarm",
            Severity.ERROR,
            "Engine 29.0.0 stops resolving names of containers on local networks once it is in a swarm (moby#51491). Not"
            " reproduced in the lab, which has no such engine.",
            "update the engine to 29.0.1 or later",
            touches={"": VERSION},
            explains=("names-unresolved",),
        ),
        Cause(
            "spi-mismatch",
            "engines can't decrypt each other's packets",
            Severity.ERROR,
            "Engines 29.0.0 to 29.2.0 number the keys of encrypted networks differently from all others (moby#51798). Names"
            " resolve, but no packet passes between these and other engines. Not reproduced in the lab, which has no such engine.",
            "update the engine to 29.2.1 or later; until then, use the same version on all hosts",
            touches={"": VERSION},
            explains=("overlay-blocked",),
        ),
        Cause(
            "encrypted-port",
            "encrypted networks need the data path port 4789",
            Severity.ERROR,
            "Engines before 23.0.7, and 24.0.0 to 24.0.2, encrypt only packets to port 4789 (moby#45635). With another data path"
            " port, packets leave in the clear, and the other hosts drop them. Not reproduced in the lab, whose kernel lacks IPsec.",
            "update the engine, or create the swarm again with data_path_port 4789",
            touches={"": VERSION},
            explains=("overlay-blocked", "packets-readable"),
        ),
        Cause(
            "ipv6-underlay",
            "the engine can't send overlays over IPv6",
            Severity.ERROR,
            "Engines before 25.0 send VXLAN over IPv4 only. In a swarm with IPv6 addresses, their endpoints can't be added, and no"
            " packet passes (moby#43643). Not reproduced in the lab, which has IPv4 only.",
            "update the engine to 25.0 or later, or create the swarm again with IPv4 addresses",
            touches={"": VERSION},
            explains=("overlay-blocked",),
        ),
        Cause(
            "gossip-state",
            "the engines' gossip is too large to exchange",
            Severity.ERROR,
            "Engines regularly exchange everything they know, and refuse an exchange that is larger than memberlist's limit of 10 to"
            " 20 MB (moby#41416). Names and addresses of new containers are then missing on some hosts. Swarms with thousands of"
            " endpoints reach this limit. Not reproduced in the lab.",
            "attach services to fewer networks, remove unused ones, and spread the containers over several swarms",
            explains=("engines-apart", "table-differs", "names-unresolved", "overlay-blocked"),
        ),
        Cause(
            "swarm-certificate",
            "a node's certificate has expired",
            Severity.STOP,
            "Managers refuse a node whose certificate has expired, for example a node that was off for months. A node that fails"
            " to renew its certificate in time will be refused soon (moby#42660).",
            "docker swarm leave --force, on this host, and run again; if it is the only manager, set its clock back first",
            variants={"soon": "check that it reaches a manager on 2377/tcp, and that the swarm has a leader"},
            warns="the certificate is still valid",
            touches={"": MEMBERSHIP},
        ),
        Cause(
            "address-changed",
            "the swarm knows a node by another address",
            Severity.STOP,
            "A node can't change the address that it advertises while it is in the swarm (moby#41043). The others send to the"
            " old address, and their packets are lost.",
            "set `advertise` of this host to {known}; or let it join the swarm again: {leave}, then run again",
            touches={"": ADVERTISE},
        ),
        Cause(
            "swarm-fixed",
            "the swarm was created with other settings",
            Severity.STOP,
            "The port for VXLAN and the address pools are fixed when a swarm is created. With another port in the inventory, the"
            " hosts' firewalls would block the data path.",
            "set what the swarm was created with: `{key}: {value}` under `swarm`; or create it again, after docker swarm leave"
            " --force on every host",
            variants={
                "store": "set what the swarm was created with: `{key}: {value}` under `swarm`, in place of `store`; or create it"
                " again, after docker swarm leave --force on every host"
            },
        ),
        Cause(
            "node-left-out",
            "nodes of the swarm are missing from the inventory",
            Severity.STOP,
            "The hosts' firewalls shut out nodes that the inventory does not name. If a majority of the managers were among them,"
            " the swarm would lose its leader.",
            "add them to the inventory; or remove them from the swarm: docker node demote and docker node rm, on a manager",
            warns="a majority of the managers stays",
        ),
    ),
)
