"""The state of the hosts' kernels: routes, forwarding entries, VXLAN devices, the engine's rules and bridges."""

from provisioner.causes.base import ENGINE, RESTART, RULES, START, WITHOUT_STORE, Cause, Family
from provisioner.model import Severity

_NEIGHBOURS = (
    "sysctl -w net.ipv4.neigh.default.gc_thresh1=8192 net.ipv4.neigh.default.gc_thresh2=12288"
    " net.ipv4.neigh.default.gc_thresh3=16384"
)
_INSIDE = "nsenter --net=/var/run/docker/netns/{space}"
_ENTRY = f"{_INSIDE} bridge fdb replace {{mac}} dev {{device}} dst {{right}} self permanent"
_ADDRESS = f"{_INSIDE} ip neigh replace {{address}} lladdr {{mac}} dev {{device}} nud permanent"

_FROZEN = "let the process of {unit} continue, and find out what stopped it"
_CONTINUE = ("kill -CONT {pid}",)
_OF_ENGINE = ("docker.service", "engine", "gossip", "network", "swarm")  # drifts of an engine that does not answer

FAMILY = Family(
    "kernel",
    "Kernels of the hosts",
    (
        Cause(
            "ip-forward",
            "the host does not forward packets",
            Severity.ERROR,
            "With net.ipv4.ip_forward at 0, containers have no outbound access, and published ports are unreachable. The engine"
            " enables forwarding when it starts, so something disabled it later. Overlay traffic between hosts may continue.",
            "enable forwarding, and find what disables it: grep -rs ip_forward /etc/sysctl.conf /etc/sysctl.d",
            variants={
                "interface": "enable forwarding for this interface, and find what disables it: grep -rs forwarding /etc/sysctl.conf"
                " /etc/sysctl.d /etc/systemd/network"
            },
            commands={"": ("sysctl -w net.ipv4.ip_forward=1",), "interface": ("sysctl -w {setting}=1",)},
            fixes=frozenset({"", "interface"}),
            touches={"": "net.ipv4.ip_forward", "interface": "{setting}"},
            explains=("forward-blocked", "resolver-silent", "published-unanswered"),
        ),
        Cause(
            "route-shadow",
            "a route of the host covers an overlay's subnet",
            Severity.ERROR,
            "Packets to these addresses from the host itself, or from NAT on it, take the route and never reach the containers."
            " The route was added after the network was created, for example by a VPN.",
            "remove the route, or recreate the network with another subnet (change `subnet` in the inventory, then `provisioner"
            " up --recreate {network} INVENTORY`)",
            commands={"": ("ip route del {route} dev {device}",)},
            touches={"": "route {route}"},
            explains=("overlay-blocked", "subnet-overlap"),
        ),
        Cause(
            "firewall-reload",
            "the engine's firewall rules are gone",
            Severity.ERROR,
            "The engine sets its rules when it starts. A reload or a flush of the firewall removed them. Containers have no"
            " outbound access, published ports are closed, and networks are no longer isolated from each other.",
            "restart the engine, which sets its rules again; configure the program that flushed them to keep the engine's chains",
            commands={"": (RESTART,)},
            fixes=frozenset({""}),
            touches={"": ENGINE},
            explains=(
                "forward-blocked",
                "networks-joined",
                "resolver-silent",
                "overlay-blocked",
                "published-unanswered",
            ),
        ),
        Cause(
            "forward-dropped",
            "a rule in front of the engine's rules drops all forwarded packets",
            Severity.ERROR,
            "Packets between containers and the outside pass the chain FORWARD. The rule drops them before the engine's rules accept"
            " them: containers have no outbound access, and published ports are closed. Traffic on an overlay itself may continue.",
            "delete the rule, or limit it to the packets that it should drop",
            warns="it drops only what containers on overlays send to the outside",
            commands={"": ("{tool} -D {rule}",)},
            touches={"": "rule {rule} of filter"},
            drifts=RULES,
            explains=("forward-blocked", "resolver-silent", "published-unanswered"),
        ),
        Cause(
            "iptables-split",
            "both backends of iptables have rules",
            Severity.WARNING,
            "iptables-legacy and iptables-nft are separate sets of rules, and packets traverse both. Rules in one are invisible in"
            " the other, and may drop packets that the other accepts.",
            "use one backend (update-alternatives --config iptables), and remove the rules from the other",
            explains=("forward-blocked",),
        ),
        Cause(
            "br-netfilter",
            "bridged packets pass the host's firewall",
            Severity.ERROR,
            "The module br_netfilter sends packets between containers of one bridge through iptables. With the policy DROP, chain"
            " FORWARD drops them. Engines 27 and later do not load the module, and set no rules for it.",
            "disable this, or unload the module, unless something else on the host needs it",
            commands={"": ("sysctl -w net.bridge.bridge-nf-call-iptables=0",)},
            touches={"": "net.bridge.bridge-nf-call-iptables"},
            explains=("forward-blocked",),
        ),
        Cause(
            "gwbridge",
            "the bridge for outbound traffic of overlay containers does not work",
            Severity.ERROR,
            "Containers on overlay networks use the bridge docker_gwbridge for outbound traffic and published ports. If it is missing,"
            " down or without its address, they have none. If its MTU is larger than the host's, large packets from outside may be lost (moby#41406).",
            "restart the engine, which creates the bridge again",
            variants={
                "down": "set the bridge up again",
                "address": "give the bridge its address again",
                "mtu": "stop the host's containers on overlays, remove the network docker_gwbridge, and create it with the MTU"
                " {mtu}: docker network create -d bridge -o com.docker.network.bridge.name=docker_gwbridge -o"
                " com.docker.network.bridge.enable_icc=false -o com.docker.network.bridge.enable_ip_masquerade=true -o"
                " com.docker.network.driver.mtu={mtu} docker_gwbridge",
            },
            warns="only its MTU is too large",
            commands={
                "": (RESTART,),
                "down": ("ip link set docker_gwbridge up",),
                "address": ("ip address add {address} dev docker_gwbridge",),
            },
            fixes=frozenset({"", "down", "address"}),
            touches={"": ENGINE, **dict.fromkeys(("down", "address"), "link docker_gwbridge")},
            explains=("forward-blocked", "probe-failed", "resolver-silent", "published-unanswered"),
        ),
        Cause(
            "neigh-overflow",
            "the kernel's neighbour table is full",
            Severity.ERROR,
            "Each container that a host reaches takes an entry. Beyond net.ipv4.neigh.default.gc_thresh3 entries, packets to other"
            " containers are lost at random.",
            "raise the limits of the kernel's table",
            commands={"": (_NEIGHBOURS,)},
            fixes=frozenset({""}),
            touches={"": "net.ipv4.neigh.default.gc_thresh3"},
            explains=("overlay-blocked", "packet-loss", "transfer-stalled", "connection-dropped"),
        ),
        Cause(
            "conntrack-full",
            "the kernel's connection table is full",
            Severity.ERROR,
            "The host drops packets of new connections once net.netfilter.nf_conntrack_max entries are in use.",
            "find what opens so many connections, or raise the limit on {host}",
            commands={"": ("sysctl -w net.netfilter.nf_conntrack_max={twice}",)},
            touches={"": "net.netfilter.nf_conntrack_max"},
            explains=("overlay-blocked", "packet-loss", "vxlan-blocked", "transfer-stalled", "connection-dropped"),
        ),
        Cause(
            "vni-mismatch",
            "a network has a different VXLAN number on one host",
            Severity.ERROR,
            "The VXLAN device of this network has another number (VNI) on this host. It exchanges no packets with the other hosts.",
            "recreate the network's namespace on {host}: stop its containers on the network, and restart the engine",
            variants={
                "kept": "start the engine on {host} once without its store: it keeps a record of a container that is gone, so its last"
                " restart did not replace the network's namespace",
                "apart": "recreate the network's namespace on {name} or {other}, whichever has the wrong number: stop its containers"
                " on the network, and restart the engine. If you can't tell, do so on one of them, and look again",
            },
            commands={"": (RESTART,), "kept": (WITHOUT_STORE,)},
            explains=("overlay-blocked",),
        ),
        Cause(
            "vxlan-exists",
            "an orphaned VXLAN device holds a network's number",
            Severity.ERROR,
            "The kernel allows one VXLAN device for each number and port. A crashed engine left this one, so the engine can't"
            " create its own. Containers do not start on the network, or receive nothing.",
            "delete the device",
            variants={
                "space": "delete the device in its namespace",
                "journal": "look for unused VXLAN devices: ip -d link show type vxlan",
            },
            commands={
                "": ("ip link del {device}",),
                "space": ("nsenter --net=/var/run/docker/netns/{space} ip link del {device}",),
            },
            fixes=frozenset({""}),
            evident=frozenset({""}),
            touches={"": "link {device}", "space": "link {device} in {space}"},
            explains=("probe-failed", "overlay-blocked"),
        ),
        Cause(
            "vxlan-lost",
            "the VXLAN device of a network is missing, down or wrong",
            Severity.ERROR,
            "A network's namespace on this host has containers, but no VXLAN device that is up and has the port of the other hosts."
            " Packets to and from other hosts are lost.",
            "restart the engine, which creates the device again",
            variants={
                "down": "set the device up again",
                "other": "restart the engine, and see whether it creates a right one",
            },
            commands={
                "": (RESTART,),
                "other": (RESTART,),
                "down": ("nsenter --net=/var/run/docker/netns/{space} ip link set {device} up",),
            },
            fixes=frozenset({"down"}),
            touches={"": ENGINE, "down": "link {device} in {space}"},
            explains=("overlay-blocked", "fdb-lost"),
        ),
        Cause(
            "link-down",
            "an interface of an overlay is down or cut off",
            Severity.ERROR,
            "A bridge or an interface in a network's namespace, or a container's interface on the network, was set down. Or it is"
            " up, but the bridge does not forward to it, or a rule drops its packets. No packet passes through it.",
            "set the interface up again",
            variants={
                "apart": "make the interface a port of the bridge again",
                "port": "let the bridge forward to the port again",
                "isolated": "let the bridge pass packets between its interfaces again",
                "filtered": "delete the rule: nsenter --net=/var/run/docker/netns/{space} nft -a list table {table}",
            },
            commands={
                "": (f"{_INSIDE} ip link set {{device}} up",),
                "apart": (f"{_INSIDE} ip link set {{device}} master {{bridge}}",),
                "port": (f"{_INSIDE} bridge link set dev {{device}} state 3",),
                "isolated": (f"{_INSIDE} bridge link set dev {{device}} isolated off",),
            },
            fixes=frozenset({"", "apart", "port", "isolated"}),
            touches={
                "": "link {device} in {space}",
                "apart": "bridge of {device} in {space}",
                "port": "state of {device} in {space}",
                "isolated": "isolation of {device} in {space}",
            },
            explains=("overlay-blocked", "published-unanswered"),
        ),
        Cause(
            "fdb-stale",
            "an entry for a container points to the wrong host or MAC address",
            Severity.ERROR,
            "The kernel sends packets for a container to a host on which it no longer runs, or to a MAC address that it does not have."
            " Engines keep such entries after containers moved or gossip messages were lost.",
            "replace the entry, so that packets for {mac} go to {right}",
            variants={"mac": "replace the entry, so that packets for {address} go to {mac}"},
            commands={"": (_ENTRY,), "mac": (_ADDRESS, _ENTRY)},
            fixes=frozenset({"", "mac"}),
            touches={"": "entry for {mac} in {space}", "mac": "entry for {mac} in {space}"},
            explains=("overlay-blocked",),
        ),
        Cause(
            "fdb-lost",
            "a forwarding entry is missing",
            Severity.ERROR,
            "The host does not know a container's MAC address, or the host on which it runs, so packets for it are lost. In a swarm, it"
            " must know both, because the kernel asks nobody, and forgets in minutes what it learned from packets. Engines 29 lose entries of"
            " nodes that were briefly unreachable. Engines 20.10 with a store add entries when packets need them, but may lose one of the two.",
            "add the entry",
            variants={"address": "add the entries"},
            commands={"": (_ENTRY,), "address": (_ADDRESS, _ENTRY)},
            fixes=frozenset({"", "address"}),
            touches={"": "entry for {mac} in {space}", "address": "entry for {mac} in {space}"},
            explains=("overlay-blocked",),
        ),
        Cause(
            "address-lost",
            "a container has lost its address on an overlay",
            Severity.ERROR,
            "The engine gave the container an address and a route to the network's subnet. One of them is gone from the container's"
            " interface, so it is not reached there. A program in the container, or somebody in its namespace, removed it.",
            "add the address again",
            variants={"route": "add the route again"},
            commands={
                "": (f"{_INSIDE} ip address add {{address}} dev {{device}}",),
                "route": (f"{_INSIDE} ip route add {{subnet}} dev {{device}} src {{source}}",),
            },
            fixes=frozenset({"", "route"}),
            touches={"": "address {address} in {space}", "route": "route {subnet} in {space}"},
            explains=("overlay-blocked",),
        ),
        Cause(
            "lost-in-overlay",
            "packets are lost inside an overlay",
            Severity.ERROR,
            "Packets between two containers stop at one point on their way, and nothing else that was observed explains it. They"
            " were counted at the containers' interfaces, the VXLAN devices and the hosts' interfaces.",
            "restart the engine on {host}: systemctl restart docker",
            variants={
                "asked": "restart the engines that do not answer: they know no forwarding entries for containers on the other hosts",
                "bridge": "look at the ports and filters in the network's namespace on {host}: nsenter"
                " --net=/var/run/docker/netns/{space} sh -c 'bridge -d link; tc -s qdisc; nft list ruleset'; if nothing there drops"
                " packets, restart the engine",
                "sent": "find what drops the packets on {host} after the VXLAN device: tc -s qdisc; ip xfrm policy; nft list ruleset",
                "between": "find what drops packets of this overlay between {source} and {to}",
                "taken": "find why the VXLAN device on {host} does not take the packets: its number and port must be those of the other"
                " hosts (nsenter --net=/var/run/docker/netns/{space} ip -d link show type vxlan), and nothing may drop them before it"
                " (tc -s qdisc; nft list ruleset)",
                "silent": "find what drops packets in the containers of {host}: nft list ruleset and sysctl"
                " net.ipv4.conf.all.rp_filter in their namespaces",
            },
            commands={"asked": (RESTART,)},
            touches={"asked": ENGINE},
            explains=("overlay-blocked",),
        ),
        Cause(
            "duplicate-ip",
            "two containers have the same address",
            Severity.ERROR,
            "Two containers on one network have the same address, and either of them answers. The store assigned it twice.",
            "disconnect one of them and connect it again: {both}",
            variants={"unnamed": "find the container on {host} that has this address and disconnect it: {both}"},
            commands={
                "": (
                    "docker network disconnect {network} {name}",
                    "docker network connect {network} {name}",
                )
            },
            touches={"": "endpoint of {name} on {network}"},
            explains=("overlay-blocked", "name-stale"),
        ),
        Cause(
            "gateway-given",
            "a container has the address of the network's gateway",
            Severity.ERROR,
            "The container and the network's gateway have the same address, so the container is unreachable.",
            "disconnect {name} and connect it again",
            variants={
                "unnamed": "find the container on {host} that has this address, disconnect it and connect it again"
            },
            commands={
                "": (
                    "docker network disconnect {network} {name}",
                    "docker network connect {network} {name}",
                )
            },
            touches={"": "endpoint of {name} on {network}"},
            explains=("overlay-blocked",),
        ),
        Cause(
            "proxy",
            "the engine's calls to the store go through a proxy",
            Severity.ERROR,
            "The engine has a proxy in its environment, and the store's address is not exempt. Calls to the store fail or hang.",
            "add {address} to NO_PROXY in the engine's unit, and restart it",
            commands={"": (RESTART,)},
            touches={"": ENGINE},
            explains=("store-down", "store-unreachable", "probe-failed"),
        ),
        Cause(
            "lxc-host",
            "the host is an LXC container",
            Severity.WARNING,
            "In an LXC container, the kernel hides what swarm services need, so their names do not resolve.",
            "use a virtual or a physical machine",
            explains=("names-unresolved",),
        ),
        Cause(
            "encrypted-u32",
            "the kernel can't mark packets for encryption",
            Severity.ERROR,
            "The engine encrypts only the packets that a rule of iptables marks. The kernel or iptables lacks the match xt_u32"
            " (engines up to 20.10.23) or xt_bpf, so no rule was set. Packets of encrypted networks leave in the clear, and the"
            " other hosts drop them (moby#43382). Not reproduced in the lab, whose kernel lacks IPsec.",
            "install the kernel's modules and load them, or use a newer engine; then restart the engine",
            commands={"": ("modprobe -a xt_u32 xt_bpf", RESTART)},
            touches={"": ENGINE},
            explains=("packets-readable", "overlay-blocked"),
        ),
        Cause(
            "bridge-full",
            "a network's bridge is full",
            Severity.ERROR,
            "A kernel bridge has at most 1023 ports. On each host, every container on the network and every leftover interface"
            " takes one.",
            "delete interfaces that no container uses, or spread the containers over more networks",
            explains=("probe-failed",),
        ),
        Cause(
            "subnet-full",
            "the network has no free address",
            Severity.ERROR,
            "Every container takes an address, and in a swarm each node takes one more. New containers do not start, or wait for"
            " a long time.",
            "create a second network, or recreate {network} with a larger subnet",
            explains=("probe-failed", "leaked-address"),
        ),
        Cause(
            "engine-down",
            "the engine or its containerd does not run",
            Severity.ERROR,
            "No container runs or starts on this host, and the other engines do not reach it. Without containerd, running containers"
            " continue, and none starts.",
            "start the engine; `provisioner up INVENTORY` does that too. If it fails again, correct what its log complains about"
            " (journalctl -u docker)",
            variants={
                "hangs": "the engine runs but does not answer: check journalctl -u docker, the disk, and firewall rules that drop"
                " loopback",
                "fails": "correct what its log complains about (journalctl -u docker), then start it: systemctl restart docker",
                "socket": "restart the socket and the engine; if the engine was told to listen elsewhere (`hosts` in daemon.json, -H in"
                " systemctl cat docker), add unix:///var/run/docker.sock",
                "containerd": "start containerd, on which the engine relies to run containers: journalctl -u containerd says why it stopped",
            },
            commands={
                "": (START,),
                "containerd": ("systemctl start containerd",),
                "socket": ("systemctl restart docker.socket docker",),
            },
            fixes=frozenset({"", "containerd", "socket"}),
            touches={"": ENGINE, "fails": ENGINE, "socket": ENGINE, "containerd": "containerd.service"},
            drifts=_OF_ENGINE,
            explains=("engine-hangs", "probe-failed", "engines-apart", "overlay-blocked", "names-unresolved"),
        ),
        Cause(
            "engine-limited",
            "an engine has reached a limit of its host",
            Severity.ERROR,
            "Each container needs space on disks, memory, open files and processes. The engine gets no more of one of them, so it starts no"
            " container. Those that run may fail next.",
            "see what the engine says: journalctl -u docker",
            variants={
                "disk": "find the disk that the message names, and what fills it: df -h; df -i; docker system df",
                "files": "raise LimitNOFILE of the engine (systemctl edit docker), and restart it; what it has now: grep 'open files'"
                " /proc/$(pidof dockerd)/limits; ls /proc/$(pidof dockerd)/fd | wc -l",
                "tasks": "raise TasksMax of the engine (systemctl edit docker), or the limit of the whole host; what they are now:"
                " systemctl show -p TasksCurrent,TasksMax docker; sysctl kernel.pid_max kernel.threads-max",
                "memory": "find what uses the memory: free -m; systemctl show -p MemoryCurrent,MemoryMax docker",
                "read-only": "find out why the disk that the message names is read-only: findmnt -O ro; dmesg | tail",
            },
            explains=("probe-failed",),
        ),
        Cause(
            "runtime-missing",
            "a program that the engine runs is missing",
            Severity.ERROR,
            "An engine starts containers with other programs, such as runc and containerd-shim. One of them is missing, or it can't be"
            " executed.",
            "install the package again that has the program: runc, containerd or docker.io of Debian; containerd.io of Docker",
            explains=("probe-failed",),
        ),
        Cause(
            "engine-hangs",
            "the engine runs but does not answer",
            Severity.ERROR,
            "The engine accepts requests but does not answer within five seconds. The usual reasons are a store without a leader,"
            " a firewall that drops loopback, or a full disk.",
            "check journalctl -u docker, df -h and iptables -S INPUT; then restart the engine",
            variants={"frozen": _FROZEN},
            commands={"": (RESTART,), "frozen": _CONTINUE},
            fixes=frozenset({"frozen"}),
            evident=frozenset({"frozen"}),
            touches={"": ENGINE, "frozen": "{unit}"},
            drifts=_OF_ENGINE,
            explains=("probe-failed", "engines-apart", "overlay-blocked", "names-unresolved"),
        ),
        Cause(
            "store-hangs",
            "the store's server runs but does not answer",
            Severity.ERROR,
            "The store on this host accepts requests but does not answer them. Engines that query it hang too, and so does every docker"
            " command on the host. The usual reasons are a full or very slow disk, a frozen process, or a firewall that drops loopback.",
            "check the store's log, df -h and iptables -S INPUT; then restart the store",
            variants={"frozen": _FROZEN},
            commands={"frozen": _CONTINUE},
            fixes=frozenset({"frozen"}),
            evident=frozenset({"frozen"}),
            touches={"frozen": "{unit}"},
            drifts=("server", "store"),
            explains=("engine-hangs", "store-down", "store-no-leader", "probe-failed"),
        ),
        Cause(
            "loopback-dropped",
            "the firewall drops packets on loopback",
            Severity.ERROR,
            "The engine and the store communicate over the loopback interface of their host. With the policy DROP and no rule for"
            " loopback, every request hangs.",
            "accept loopback packets before all other rules",
            variants={"rule": "delete the rule, or accept loopback packets before it"},
            commands={
                "": ("{tool} -I INPUT 1 -i lo -j ACCEPT",),
                "rule": ("{tool} -t filter -D {rule}",),
            },
            fixes=frozenset({"", "rule"}),
            touches={"": "chain INPUT of {tool}", "rule": "rule {rule} of filter"},
            drifts=RULES,
            explains=(
                "engine-hangs",
                "store-hangs",
                "store-down",
                "probe-failed",
                "store-no-leader",
                "engines-apart",
                "overlay-blocked",
            ),
        ),
    ),
)
