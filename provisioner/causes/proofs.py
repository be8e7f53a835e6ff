"""What proofs find: containers that do not reach each other, names that do not resolve, networks that leak."""

from provisioner.causes.base import RESTART, RULES, WITHOUT_STORE, Cause, Family
from provisioner.model import Severity

FAMILY = Family(
    "proofs",
    "Failed proofs",
    (
        Cause(
            "probe-failed",
            "a host's probe did not start or ended early",
            Severity.ERROR,
            "The proof starts a container on the network on each host. On this host it did not start or ended early, so nothing"
            " is known about the host's paths.",
            "see the engine's log: journalctl -u docker",
            variants={
                "told": "{cure}",
                "lost": "check the host and the network path to it; the probe ends by itself",
                "load": "check the load of the host",
                "again": "run it again",
                "first": "fix the probe of {hosts} first",
            },
        ),
        Cause(
            "sandbox-lost",
            "the engine remembers a network namespace that is gone",
            Severity.ERROR,
            "An engine 20.10 was killed (power cut, SIGKILL) while a container was on the network, or somebody unmounted the"
            " network's namespace. The engine still looks for the old namespace, so no container starts there.",
            "restart the engine on {host}: only then does it forget the network's old namespace",
            variants={
                "kept": "start the engine on {host} once without its store: it keeps a record of a container that is gone, since it"
                " was killed or the store lost the container's endpoint, and looks for that container's namespace",
            },
            commands={"": (RESTART,), "kept": (WITHOUT_STORE,)},
            explains=("probe-failed",),
        ),
        Cause(
            "overlay-blocked",
            "containers do not reach each other",
            Severity.ERROR,
            "Packets between two hosts' containers get lost, although both engines run. A firewall between the hosts that blocks"
            " VXLAN or gossip is the most frequent reason. An engine can also hold outdated forwarding entries.",
            "check that {port}/udp (data), 7946/tcp and 7946/udp (gossip) pass between these hosts in both directions; if they"
            " do, restart the engines: one may hold outdated forwarding entries",
            variants={
                "passes": "these ports pass between the hosts, as the test has just shown: read what the engines say (journalctl -u"
                " docker), then restart them, one after the other; one may hold outdated forwarding entries",
                "running": "restart {names}, which gives it new interfaces and entries: new containers on the same hosts reach each other",
            },
            explains=("transfer-stalled", "connection-dropped"),
        ),
        Cause(
            "names-unresolved",
            "names of containers are not resolved",
            Severity.ERROR,
            "Containers reach each other by address, but the engine's DNS server does not know their names. Engines learn names"
            " from their store, or in a swarm by gossip.",
            "check that 7946/tcp and 7946/udp pass between these hosts, and that their engines use the same store; if only names of"
            " containers that run are missing a minute later, too, docker restart announces these containers again",
            variants={
                "alone": "restart {name}: the engine has lost its store for this container alone, and does not try again",
                "silent": "restart {name}: the engine then sets the rules for its DNS server in the container's namespace again",
                "unwatched": "restart the engine, which then watches the store again. Observed with 20.10: a call to the store failed while"
                " it gave no answer, and the engine did not repeat it",
            },
            commands={"unwatched": (RESTART,)},
            fixes=frozenset({"unwatched"}),
        ),
        Cause(
            "name-stale",
            "a name resolves to a wrong address",
            Severity.ERROR,
            "The engine's DNS server answers with the address of a container that is gone or has another one now. The old endpoint"
            " was never removed, or the engine missed the change.",
            "if the container runs, docker restart announces its address again; if the wrong address stays, look for the endpoint of a"
            " deleted container: docker network inspect {network}; in a swarm, `provisioner doctor --deep INVENTORY` names the engine"
            " that announces it; if none does, restart the engine whose DNS server answers it",
        ),
        Cause(
            "path-mtu",
            "full-size packets do not pass",
            Severity.ERROR,
            "Small packets pass, and packets of the network's full size are lost: the path between the hosts has a smaller MTU"
            " than their interfaces. Connections open, and then hang as soon as data flows.",
            "raise the MTU of the path, or set mtu: {mtu} for the network {network} and recreate it",
            variants={
                "unmeasured": "find what loses large packets on the path, or set a smaller mtu for the network {network} and recreate it",
                "running": "restart {names}, which gives it new interfaces and entries: new containers on the same hosts reach each other",
            },
            explains=("transfer-stalled",),
        ),
        Cause(
            "offload",
            "packets arrive with wrong checksums",
            Severity.ERROR,
            "Packets between the hosts arrive with a wrong checksum, and the kernel drops them. Network cards and hypervisors with"
            " faulty checksum offload for VXLAN cause this. Names and small packets may pass while data stall.",
            "turn off checksum offload on the interfaces between the hosts, first on the sender: ethtool -K DEVICE tx off; if that"
            " helps, make it permanent, or update the card's driver",
            explains=("overlay-blocked", "transfer-stalled"),
        ),
        Cause(
            "data-corrupt",
            "data change on their way between containers",
            Severity.ERROR,
            "A transfer between two hosts arrived with other bytes than were sent, and no checksum noticed. Broken memory or"
            " firmware of a network card, or a program that rewrites packets, can cause this. Files and databases would be damaged.",
            "find what rewrites packets between these hosts (nft list ruleset; tc filter show; middleboxes); if there is nothing,"
            " turn off the offloads of their network cards (ethtool -K DEVICE rx off tx off gro off gso off tso off), and test"
            " their memory",
        ),
        Cause(
            "transfer-stalled",
            "a transfer of data stalls",
            Severity.ERROR,
            "Echoes of full size pass between two containers, but data over TCP stop arriving. Loss, wrong checksums or"
            " faulty segmentation offload can cause this.",
            "check the error counters of the interfaces between these hosts (ip -s link; nstat -az TcpRetransSegs), and turn off"
            " segmentation offload for a test: ethtool -K DEVICE gso off tso off gro off",
        ),
        Cause(
            "connection-dropped",
            "a connection between containers was interrupted",
            Severity.ERROR,
            "An open connection got no answer for seconds, or ended, although containers reach each other before and after it."
            " The path between the hosts is unstable.",
            "look for what happened at that time: the journals of both hosts, their links (ip -s link), switches and firewalls"
            " between them; `provisioner doctor INVENTORY` observes the paths",
        ),
        Cause(
            "forward-blocked",
            "forwarded packets are dropped",
            Severity.ERROR,
            "Containers on a bridge do not reach each other, or do not reach a published port of another host. A rule of a"
            " host's firewall drops forwarded packets.",
            "check that no rule of the hosts' firewalls drops packets forwarded to or from containers (chain FORWARD)",
        ),
        Cause(
            "mac-filtered",
            "the underlay drops the containers' MAC addresses",
            Severity.ERROR,
            "Containers on macvlan have MAC addresses of their own. Switches of virtual machines and of clouds drop frames from"
            " addresses that they did not assign.",
            "allow the containers' MAC addresses on the network between the hosts (virtual machines: promiscuous mode, forged"
            " transmits); if that is not possible, use ipvlan or an overlay",
        ),
        Cause(
            "networks-joined",
            "containers of different networks reach each other",
            Severity.ERROR,
            "Something carries packets or names between two networks that the engine keeps apart, so their separation protects"
            " nothing.",
            "find what connects the networks: routes (`ip route`), firewall rules that somebody inserted before the engine's,"
            " an engine that sets no rules (`iptables: false`), containers on both networks, resolvers that know their names",
        ),
        Cause(
            "cluster-ports-open",
            "containers reach the cluster's ports of other hosts",
            Severity.ERROR,
            "Packets of a container leave with its host's address, so other hosts take them for the engine's. A container could"
            " send frames into any overlay and read the store.",
            "`provisioner up INVENTORY` sets the rules that drop these packets (chain PROVISIONER-FORWARD in iptables' table mangle, chain"
            " forward of nftables' table inet provisioner); if they disappear again, find out what flushes them",
            drifts=RULES,
            fixable=True,
        ),
        Cause(
            "internal-open",
            "an internal network has a way out",
            Severity.ERROR,
            "Containers on a network that should be internal reach other hosts. The engine created the network without"
            " `internal`, or something else forwards its packets.",
            "on the host, `docker network inspect {network}` should show that the network is internal; if it does, find what"
            " forwards its packets: the host's chain FORWARD, `ip route` in a container",
        ),
        Cause(
            "packets-readable",
            "an encrypted network sends readable packets",
            Severity.ERROR,
            "The host sends no encrypted packet to another one, or sends VXLAN in the clear. If the kernel lacks what encryption"
            " needs, the engine continues without it and only logs a line.",
            "see the engine's log: journalctl -u docker; encryption needs the kernel modules esp4, xt_policy, and xt_u32 or"
            " xt_bpf (modprobe -a esp4 xt_policy xt_u32 xt_bpf), and IP protocol 50 must pass between the hosts",
        ),
        Cause(
            "builtin-network",
            "a built-in network is not as the engine documents it",
            Severity.ERROR,
            "A container on `none` has more than the loopback interface, or one on `host` does not have the host's addresses."
            " The engine's networks were changed, or the engine is broken.",
            "see the engine's log and its networks: journalctl -u docker, docker network ls",
        ),
        Cause(
            "resolvers-outdated",
            "the engine uses other DNS settings",
            Severity.ERROR,
            "The resolvers of the inventory answer, but containers do not use them, or lack the search domains or options of the"
            " inventory. The engine was started with other settings.",
            "run `provisioner up INVENTORY`, which restarts the engines that were started with other DNS settings",
            fixable=True,
        ),
        Cause(
            "resolver-silent",
            "resolvers do not answer containers",
            Severity.ERROR,
            "The resolvers of the inventory give no answer to containers of this host. External names are not resolved there.",
            "check that 53/udp passes from {hosts} to {resolvers}, and that a resolver runs there",
        ),
        Cause(
            "resolver-refuses",
            "resolvers refuse to answer containers",
            Severity.ERROR,
            "The resolvers receive the query and refuse it. Many resolvers answer only the clients that they are configured for.",
            "configure {resolvers} to answer queries of the hosts, or set dns.check to a name that it knows",
            variants={"name": "check what {resolvers} knows about {name} (dns.check)"},
        ),
        Cause(
            "name-unknown",
            "resolvers do not know the name in dns.check",
            Severity.ERROR,
            "The resolvers answer that the name in dns.check of the inventory has no address.",
            "set dns.check to a name that the resolvers know; they know no address of {name}",
        ),
    ),
)

SYMPTOMS = frozenset(
    cause.id for cause in FAMILY.causes
)  # what proofs see, often without the place that is to be repaired
