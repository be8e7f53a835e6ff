#!/bin/bash
# The raw script that scripts/bench compares with. It does the whole job over ssh, with one connection per host and all hosts in
# parallel. Docker and Consul must be installed. It checks nothing, keeps no existing state and repairs nothing. At the end of
# each phase it prints a line on stderr, for tests/bench/phases.py.
#
# usage: raw.sh KEY KNOWN_HOSTS NAME=ADDRESS...    (the first three are Consul's servers)
set -eu

options=(-F none -i "$1" -o "UserKnownHostsFile=$2" -o IdentitiesOnly=yes -o BatchMode=yes)
shift 2
folder=$(mktemp -d)
options+=(-o ControlMaster=auto -o "ControlPath=$folder/%h" -o ControlPersist=60)
declare -a names=() addresses=()
for host; do
    names+=("${host%%=*}")
    addresses+=("${host#*=}")
done
servers=("${addresses[@]:0:3}")
network=demo subnet=10.99.0.0/24

finish() {
    for address in "${addresses[@]}"; do
        ssh "${options[@]}" -O exit "root@$address" 2>/dev/null &
    done
    wait
    rm -rf "$folder"
}
trap finish EXIT

# A phase: each host runs the script that a function prints, all hosts in parallel. The first failure ends the run.
on() { # NUMBER FUNCTION
    ssh "${options[@]}" "root@${addresses[$1]}" sh -s < <("$2" "$1") >"$folder/answer.$1"
}
everywhere() { # FUNCTION
    local number jobs=()
    for number in "${!names[@]}"; do
        on "$number" "$1" &
        jobs+=($!)
    done
    for job in "${jobs[@]}"; do wait "$job"; done
}

json_list() { # WORD...
    local text
    text=$(printf '"%s", ' "$@")
    printf '[%s]' "${text%, }"
}

set_up() { # NUMBER: set up the firewall and Consul, wait for its leader, reload the engine
    local address=${addresses[$1]} peers='' server=false expect='' other
    for other in "${addresses[@]}"; do
        [ "$other" = "$address" ] || peers+="-A PROVISIONER-PEERS -s $other/32 -j ACCEPT"$'\n'
    done
    if [ "$1" -lt "${#servers[@]}" ]; then
        server=true expect=$'\n'"    \"bootstrap_expect\": ${#servers[@]},"
    fi
    cat <<END
set -eu
echo 'connect  done' >&2
mkdir -p /etc/provisioner /etc/consul.d /etc/docker /etc/systemd/system/docker.service.d
install -d -o consul -g consul -m 0750 /var/lib/consul
cat >/etc/provisioner/firewall.sh <<'FILE'
#!/bin/sh
iptables -w -C INPUT -j PROVISIONER 2>/dev/null || jump='-I INPUT 1 -j PROVISIONER'
ip6tables -w -C INPUT -j PROVISIONER 2>/dev/null || jump6='-I INPUT 1 -j PROVISIONER'
iptables-restore -w --noflush <<RULES
*filter
:PROVISIONER - [0:0]
:PROVISIONER-PEERS - [0:0]
-A PROVISIONER -i lo -p tcp -m multiport --ports 7946,8300,8301,8500 -j ACCEPT
-A PROVISIONER -i lo -p udp -m multiport --ports 4789,7946,8301 -j ACCEPT
-A PROVISIONER -p udp -m multiport --dports 4789,7946,8301 -j PROVISIONER-PEERS
-A PROVISIONER -p udp -m multiport --dports 4789,7946,8301 -j DROP
-A PROVISIONER -p tcp -m multiport --dports 7946,8300,8301 -j PROVISIONER-PEERS
-A PROVISIONER -p tcp -m multiport --dports 7946,8300,8301 -j DROP
-A PROVISIONER -p tcp -m multiport --sports 7946,8300,8301 -m conntrack --ctstate ESTABLISHED -j PROVISIONER-PEERS
$peers\${jump:-}
COMMIT
RULES
ip6tables-restore -w --noflush <<RULES
*filter
:PROVISIONER - [0:0]
-A PROVISIONER ! -i lo -p udp -m multiport --dports 4789,7946,8301 -j DROP
-A PROVISIONER ! -i lo -p tcp -m multiport --dports 7946,8300,8301 -j DROP
\${jump6:-}
COMMIT
RULES
FILE
chmod 755 /etc/provisioner/firewall.sh
cat >/etc/systemd/system/provisioner-firewall.service <<'FILE'
[Unit]
Description=Ports of the overlay networks
Before=docker.service consul.service
After=netfilter-persistent.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/etc/provisioner/firewall.sh

[Install]
WantedBy=multi-user.target
FILE
cat >/etc/consul.d/provisioner.json <<'FILE'
{
    "node_name": "${names[$1]}",
    "server": $server,$expect
    "bind_addr": "$address",
    "advertise_addr": "$address",
    "client_addr": "127.0.0.1",
    "retry_join": $(json_list "${servers[@]}"),
    "retry_interval": "1s",
    "data_dir": "/var/lib/consul",
    "ports": {"serf_wan": -1},
    "performance": {"raft_multiplier": 2},
    "leave_on_terminate": false,
    "skip_leave_on_interrupt": true,
    "disable_update_check": true
}
FILE
chown root:consul /etc/consul.d/provisioner.json
chmod 640 /etc/consul.d/provisioner.json
cat >/etc/systemd/system/consul.service <<'FILE'
[Unit]
Description=Consul agent
Wants=network-online.target
After=network-online.target provisioner-firewall.service
StartLimitIntervalSec=0

[Service]
User=consul
Group=consul
ExecStart=/usr/bin/consul agent -config-dir=/etc/consul.d
ExecReload=/bin/kill -HUP \$MAINPID
KillMode=process
KillSignal=SIGTERM
Restart=on-failure
RestartSec=2
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
FILE
cat >/etc/systemd/system/docker.service.d/provisioner.conf <<'FILE'
[Unit]
Wants=consul.service
After=consul.service provisioner-firewall.service

[Service]
ExecStartPre=-/bin/sh -c 'n=0; until consul catalog nodes >/dev/null 2>&1 || [ \$n -ge 120 ]; do n=\$((n+1)); sleep 1; done'
TimeoutStartSec=300
FILE
cat >/etc/docker/daemon.json <<'FILE'
{
    "cluster-store": "consul://127.0.0.1:8500",
    "cluster-advertise": "$address:2376"
}
FILE
systemctl daemon-reload
echo 'firewall  done' >&2
systemctl -q enable --now provisioner-firewall consul
until curl -s 127.0.0.1:8500/v1/status/leader | grep -q :; do sleep 0.05; done
echo 'store  done' >&2
systemctl reload docker
echo 'daemon  done' >&2
until ss -lnt | grep -q :7946; do sleep 0.05; done
echo 'gossip  done' >&2
END
}

make_network() {
    cat <<END
docker network inspect $network >/dev/null 2>&1 || docker network create -d overlay --subnet $subnet $network
END
}

start_probe() { # NUMBER: start a container that uses the host's programs, and print its address
    cat <<END
set -eu
until docker network inspect $network >/dev/null 2>&1; do sleep 0.05; done
tar -c -T /dev/null | docker import - raw/probe >/dev/null
start() {
    docker run -d --rm --name probe-${names[$1]} --network $network --log-driver none \
        -v /usr:/usr:ro -v /bin:/bin:ro -v /sbin:/sbin:ro -v /lib:/lib:ro -v /lib64:/lib64:ro raw/probe sleep 600 >/dev/null
}
# Sometimes a call of the engine to the store fails temporarily, and leaves an endpoint of that name in the store.
n=0
until start 2>/dev/null; do
    [ \$((n += 1)) -lt 20 ]
    docker rm -f probe-${names[$1]} >/dev/null 2>&1 || :
    docker network disconnect -f $network probe-${names[$1]} >/dev/null 2>&1 || sleep 0.5
done
docker inspect -f '{{.NetworkSettings.Networks.$network.IPAddress}}' probe-${names[$1]}
END
}

reach_others() { # NUMBER: ping the others by name until the name is known, by address, and with a packet of full size
    local number
    cat <<END
docker exec -i probe-${names[$1]} sh -e <<'PINGS'
end=\$((\$(date +%s) + 30))
reach() { # NAME ADDRESS
    until ping -q -c 1 -W 1 "\$1" >/dev/null 2>&1; do
        [ "\$(date +%s)" -lt \$end ]
        sleep 0.05
    done
    ping -q -c 1 -W 5 "\$2" >/dev/null
    ping -q -c 1 -W 5 -M do -s 1422 "\$2" >/dev/null
    echo "$1 \$1 \$2"
}
END
    for number in "${!names[@]}"; do
        [ "$number" = "$1" ] || printf 'reach probe-%s %s\n' "${names[$number]}" "$(cat "$folder/address.$number")"
    done
    echo PINGS
}

remove_probe() { # NUMBER
    printf 'docker rm -f probe-%s >/dev/null; docker rmi raw/probe >/dev/null\n' "${names[$1]}"
}

everywhere set_up
on 0 make_network
echo 'networks  done' >&2
everywhere start_probe
echo "proof $network  all  has a probe at its address" >&2
for number in "${!names[@]}"; do mv "$folder/answer.$number" "$folder/address.$number"; done
everywhere reach_others
echo "proof $network  all  reached the others" >&2
cat "$folder"/answer.* | wc -l
everywhere remove_probe
echo "proof $network  all  settled" >&2
