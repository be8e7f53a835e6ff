"""What a proof shows: containers that do not reach each other, names that are not found, networks that leak."""

from provisioner.causes.base import Cause, Family
from provisioner.model import Severity

FAMILY = Family(
    "proofs",
    "Failed proofs",
    (
        Cause(
            "probe-failed",
            "a host's probe did not start or ended early",
            Severity.ERROR,
            "The proof starts a container on the network of each host. On this host it did not start or ended early, so nothing"
            " is known about the host's paths.",
            "look at: journalctl -u docker",
            variants={
                "told": "{cure}",
                "lost": "look at the host and at the network between; the probe ends by itself",
                "load": "look at the load of the host",
                "again": "run it again",
                "first": "fix the probe of {hosts} first",
            },
        ),
        Cause(
            "sandbox-lost",
            "the engine remembers a network namespace that is gone",
            Severity.ERROR,
            "Engine 20.10 went down hard (power cut, SIGKILL) with a container on the network. It still looks for the network's"
            " old namespace, so no container starts there.",
            "systemctl restart docker: it went down hard, and forgets the network's old namespace only when started again",
            explains=("probe-failed",),
        ),
        Cause(
            "overlay-blocked",
            "containers do not reach each other",
            Severity.ERROR,
            "Packets between two hosts' containers get lost, although both engines run. A firewall between the hosts that blocks"
            " VXLAN or gossip is the most frequent reason. An engine can also hold outdated forwarding entries.",
            "see that {port}/udp (data), 7946/tcp and 7946/udp (gossip) pass between these hosts, both ways; if they do,"
            " an engine may remember what is no longer true, and forgets it when it is restarted",
        ),
        Cause(
            "names-unresolved",
            "names of containers are not resolved",
            Severity.ERROR,
            "Containers reach each other by address, but the engine's DNS server does not know their names. Engines learn names"
            " by gossip, and only from engines that share their store or swarm.",
            "see that 7946/tcp and 7946/udp pass, and that these engines use one store",
        ),
        Cause(
            "name-stale",
            "a name resolves to an address that nobody has",
            Severity.ERROR,
            "The engine's DNS server answers with the address of a container that is gone. Its endpoint was never removed.",
            "look for endpoints of containers that are gone: docker network inspect {network}",
        ),
        Cause(
            "path-mtu",
            "full-size packets do not pass",
            Severity.ERROR,
            "Small packets pass, and packets of the network's full size are lost: the path between the hosts has a smaller MTU"
            " than their interfaces. Connections open, and then hang as soon as data flows.",
            "raise the MTU of the path, or make the network {network} with mtu: {mtu}",
        ),
        Cause(
            "forward-blocked",
            "forwarded packets are dropped",
            Severity.ERROR,
            "Containers on a bridge do not reach each other, or do not get out and back in through a published port. A rule of"
            " the host's firewall drops forwarded packets.",
            "see that nothing of the hosts' firewalls drops what is forwarded to and from containers (chain FORWARD)",
        ),
        Cause(
            "mac-filtered",
            "the underlay drops the containers' MAC addresses",
            Severity.ERROR,
            "Containers on macvlan have MAC addresses of their own. Switches of virtual machines and of clouds drop frames from"
            " addresses that they did not assign.",
            "the network between the hosts must let the containers' own MAC addresses pass (virtual machines: promiscuous mode,"
            " forged transmits); if it can't, use ipvlan or an overlay",
        ),
        Cause(
            "networks-joined",
            "containers of different networks reach each other",
            Severity.ERROR,
            "Something carries packets or names between two networks that the engine keeps apart, so their separation protects"
            " nothing.",
            "look for what carries packets or names between the networks: `ip route` on the hosts, rules of the firewall"
            " that others have put before the engine's (or that it makes none: `iptables: false`), containers that are on both,"
            " resolvers that know their names",
        ),
        Cause(
            "cluster-ports-open",
            "containers reach the cluster's ports of other hosts",
            Severity.ERROR,
            "Packets of a container leave with its host's address, so other hosts take them for the engine's. A container could"
            " send frames into any overlay and read the store.",
            "`provisioner up` sets the rules that drop these packets (chain PROVISIONER-FORWARD in iptables' table mangle, chain"
            " forward of nftables' table inet provisioner); if they are gone again, look for what flushes them there",
            fixable=True,
        ),
        Cause(
            "internal-open",
            "an internal network has a way out",
            Severity.ERROR,
            "Containers on a network that is meant to be internal reach other hosts. The engine made the network without"
            " `internal`, or something else forwards its packets.",
            "`docker network inspect {network}` there should say that it is internal; look for what else carries packets"
            " out of it: chain FORWARD of the host, and `ip route` in a container",
        ),
        Cause(
            "packets-readable",
            "an encrypted network sends readable packets",
            Severity.ERROR,
            "The host sends no encrypted packet to another one, or sends VXLAN in the clear. If the kernel lacks what encryption"
            " needs, the engine goes on without it and only logs a line.",
            "look there at: journalctl -u docker; an engine needs esp4 and xt_policy of its kernel for it, and xt_u32 or"
            " xt_bpf (modprobe esp4 xt_policy xt_u32 xt_bpf), and protocol 50 has to pass between the hosts",
        ),
        Cause(
            "builtin-network",
            "a built-in network is not as the engine documents it",
            Severity.ERROR,
            "A container on `none` has more than the loopback interface, or one on `host` does not have the host's addresses."
            " The engine's networks were changed, or the engine is broken.",
            "look at: journalctl -u docker, docker network ls",
        ),
        Cause(
            "resolvers-outdated",
            "the engine uses other DNS settings",
            Severity.ERROR,
            "The resolvers of the inventory answer, but containers do not use them, or lack the search domains or options of the"
            " inventory. The engine was started with other settings.",
            "run `provisioner up`, which starts engines again that were started with other resolvers",
            fixable=True,
        ),
        Cause(
            "resolver-silent",
            "resolvers do not answer containers",
            Severity.ERROR,
            "The resolvers of the inventory give no answer to containers of this host. Names outside are not resolved there.",
            "see that 53/udp passes from {hosts} to {resolvers}, and that a resolver runs there",
        ),
        Cause(
            "resolver-refuses",
            "resolvers refuse to answer containers",
            Severity.ERROR,
            "The resolvers receive the question and refuse it. Many answer only addresses that they are configured for.",
            "have {resolvers} answer the addresses of the hosts, or name in dns.check a name that it knows",
            variants={"name": "see what {resolvers} knows of {name} (dns.check)"},
        ),
        Cause(
            "name-unknown",
            "resolvers do not know the name in dns.check",
            Severity.ERROR,
            "The resolvers answer, and say that the name which the inventory gives for the check has no address.",
            "name in dns.check a name that the resolvers know; they know no address of {name}",
        ),
    ),
)
