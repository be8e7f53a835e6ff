"""Faults of a host's kernel (settings, routes, neighbours, links) and of its processes."""

from provisioner.lab.faults.base import Fault, Place

_ADDRESS, _MASKS = "/run/fault-gwbridge", "/run/fault-masquerade"
_ENDPOINTS = "docker ps -q | xargs -r docker inspect -f '{{range .NetworkSettings.Networks}}{{.NetworkID}}/{{.EndpointID}} {{end}}'"

FAULTS = (
    Fault(
        "address-conflict",
        "address-conflict",
        "the host also has the address of another host, and answers for it",
        'ip address add "$PEER/32" dev eth0',
        'ip address del "$PEER/32" dev eth0 2>/dev/null || :',
        Place.PATH,
    ),
    Fault(
        "no-route",
        "no-route",
        "a route of the host discards packets to one other host",
        'ip route replace unreachable "$PEER"',
        'ip route del unreachable "$PEER" 2>/dev/null || :',
        Place.PATH,
    ),
    Fault(
        "route-elsewhere",
        "no-route",
        "the route to one other host leads to an interface without it",
        "ip link add tun-fault type veth peer name tun-fault-peer 2>/dev/null; ip link set tun-fault up; ip link set tun-fault-peer up;"
        ' ip route replace "$PEER" dev tun-fault',
        "ip link del tun-fault 2>/dev/null || :",
        Place.PATH,
    ),
    Fault(
        "neighbour-wrong",
        "neighbour-wrong",
        "a permanent neighbour entry has a wrong MAC address for one other host",
        'ip neigh replace "$PEER" lladdr 02:00:5e:00:53:01 dev eth0 nud permanent',
        'ip neigh del "$PEER" dev eth0 2>/dev/null || :',
        Place.PATH,
    ),
    Fault(
        "iptables-split",
        "iptables-split",
        "the unused backend of iptables also has a rule",
        "iptables-legacy -w -I INPUT -s 192.0.2.1 -j DROP",
        "while iptables-legacy -w -D INPUT -s 192.0.2.1 -j DROP 2>/dev/null; do :; done",
    ),
    Fault(
        "duplicate-hostname",
        "duplicate-hostname",
        "the host has the name of another host",
        'hostname "$TO"',
        'hostname "$HOST"',
        Place.PATH,
    ),
    Fault(
        "ip-forward",
        "ip-forward",
        "the host does not forward packets",
        "sysctl -qw net.ipv4.ip_forward=0",
        "sysctl -qw net.ipv4.ip_forward=1",
    ),
    Fault(
        "gwbridge-unforwarded",
        "ip-forward",
        "the host does not forward packets from its containers",
        "sysctl -qw net.ipv4.conf.docker_gwbridge.forwarding=0",
        "sysctl -qw net.ipv4.conf.docker_gwbridge.forwarding=1",
    ),
    Fault(
        "route-shadow",
        "route-shadow",
        "a route of the host covers the subnet of the network demo",
        "ip link add tun-fault type veth peer name tun-fault-peer 2>/dev/null; ip link set tun-fault up; ip link set tun-fault-peer up;"
        " ip route replace 10.99.0.0/16 dev tun-fault",
        "ip link del tun-fault 2>/dev/null || :",
    ),
    Fault(
        "gwbridge-down",
        "gwbridge",
        "the bridge docker_gwbridge is down",
        "ip link set docker_gwbridge down",
        "ip link set docker_gwbridge up",
    ),
    Fault(
        "gwbridge-unaddressed",
        "gwbridge",
        "the bridge docker_gwbridge has lost its address",
        f"""[ -e {_ADDRESS} ] || ip -o -4 address show dev docker_gwbridge | sed 's/.* inet \\([^ ]*\\) .*/\\1/' >{_ADDRESS}
ip address flush dev docker_gwbridge""",
        f"[ ! -e {_ADDRESS} ] || {{ ip address add $(cat {_ADDRESS}) dev docker_gwbridge 2>/dev/null; rm {_ADDRESS}; }}",
    ),
    Fault(
        "masquerade-lost",
        "firewall-reload",
        "the rule that gives the host's address to what its containers send out is deleted",
        f"""[ -e {_MASKS} ] || iptables -w -t nat -S POSTROUTING | grep '! -o docker_gwbridge' >{_MASKS}
sed 's/^-A/iptables -w -t nat -D/' {_MASKS} | sh 2>/dev/null || :""",
        f"[ ! -e {_MASKS} ] || {{ sed 's/^-A\\(.*\\)/iptables -w -t nat -C\\1 2>\\/dev\\/null || iptables -w -t nat -A\\1/' {_MASKS} | sh; rm {_MASKS}; }}",
    ),
    Fault(
        "mtu",
        "mtu",
        "the MTU of the host's interface is 1400 bytes",
        "ip link set eth0 mtu 1400",
        "ip link set eth0 mtu 1500",
    ),
    Fault(
        "source-mismatch",
        "source-mismatch",
        "the host sends from a second address",
        'ip address add "${SELF%.*}.2${SELF##*.}/24" dev eth0 2>/dev/null;'
        ' ip route replace "${SELF%.*}.0/24" dev eth0 src "${SELF%.*}.2${SELF##*.}"',
        'ip route replace "${SELF%.*}.0/24" dev eth0 src "$SELF"; ip address del "${SELF%.*}.2${SELF##*.}/24" dev eth0 2>/dev/null || :',
    ),
    Fault(
        "engine-down",
        "engine-down",
        "the engine is stopped",
        "systemctl stop docker.socket docker",
        "systemctl start docker.socket docker",
    ),
    Fault(
        "engine-hangs",
        "engine-hangs",
        "the engine's process is frozen",
        "kill -STOP $(systemctl show -p MainPID --value docker)",
        "kill -CONT $(systemctl show -p MainPID --value docker)",
    ),
    Fault(
        "containerd-hangs",
        "engine-hangs",
        "the process of containerd is frozen",
        "kill -STOP $(systemctl show -p MainPID --value containerd)",
        "kill -CONT $(systemctl show -p MainPID --value containerd)",
    ),
    Fault(
        "containerd-down",
        "engine-down",
        "containerd is stopped",
        "systemctl stop containerd",
        "systemctl start containerd",
    ),
    Fault(
        "socket-lost",
        "engine-down",
        "the engine runs, and somebody deleted its socket",
        "rm -f /var/run/docker.sock",
        "[ -S /var/run/docker.sock ] || systemctl restart docker.socket docker",
    ),
    Fault(
        "disk-read-only",
        "engine-limited",
        "the disk on which the engine creates containers is read-only",
        "findmnt /var/lib/docker/containers >/dev/null || {"
        " mount --bind /var/lib/docker/containers /var/lib/docker/containers && mount -o remount,bind,ro /var/lib/docker/containers; }",
        "! findmnt /var/lib/docker/containers >/dev/null || umount /var/lib/docker/containers",
    ),
    Fault(
        "runtime-missing",
        "runtime-missing",
        "runc, with which the engine starts containers, can't be executed",
        "chmod -x /usr/*bin/runc",
        "chmod +x /usr/*bin/runc",
    ),
    Fault(
        "endpoints-lost",
        "endpoint-lost",
        "the store has lost the endpoints of the host's containers",
        f"for each in $({_ENDPOINTS}); do consul kv delete docker/network/v1.0/endpoint/$each/; done",
        "docker ps -q | xargs -r docker restart -t 0",
        stores=("consul",),
    ),
    Fault(
        "store-fails",
        "store-down",
        "the store's configuration has an invalid file, and its server ends again and again",
        "echo '{' >/etc/consul.d/zz-fault.json; systemctl restart consul || :\n"
        "for n in $(seq 20); do [ $(systemctl show -p NRestarts --value consul) -gt 1 ] && break; sleep 0.5; done",
        "! rm /etc/consul.d/zz-fault.json 2>/dev/null || systemctl restart consul",
        stores=("consul",),
    ),
    Fault(
        "store-hangs",
        "store-hangs",
        "the process of the store's server is frozen",
        "for unit in consul etcd zookeeper; do pid=$(systemctl show -p MainPID --value $unit);"
        ' [ "$pid" = 0 ] || kill -STOP "$pid"; done',
        "for unit in consul etcd zookeeper; do pid=$(systemctl show -p MainPID --value $unit);"
        ' [ "$pid" = 0 ] || kill -CONT "$pid"; done',
        stores=("consul", "etcd", "zookeeper"),
    ),
    Fault(
        "store-down",
        "store-down",
        "the store's server is stopped",
        "for unit in consul etcd zookeeper; do ! systemctl is-active -q $unit || { echo $unit >/run/fault-store; systemctl stop $unit; }; done",
        "[ ! -f /run/fault-store ] || { systemctl start $(cat /run/fault-store) && rm /run/fault-store; }",
        stores=("consul", "etcd", "zookeeper"),
    ),
    Fault(
        "host-frozen",
        "host-lost",
        "all processes of the host are frozen; its kernel still accepts connections",
        "kill -STOP -1",
        "kill -CONT -1",
    ),
    Fault(
        "sshd-stopped",
        "host-lost",
        "the host's SSH server is stopped",
        "systemctl stop ssh.socket ssh 2>/dev/null || systemctl stop ssh",
        "systemctl start ssh",
    ),
    Fault(
        "sshd-frozen",
        "host-lost",
        "the host's SSH server is frozen, with all its sessions",
        "kill -STOP $(pidof sshd)",
        "kill -CONT $(pidof sshd)",
    ),
)
