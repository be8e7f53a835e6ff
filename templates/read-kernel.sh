# Part of the program that reads a host's kernel (observe/kernel.py). Words in capitals are replaced. Only reads.
# Each `f NAME TEXT` writes one section. What a missing program would print has none: see gaps.py.
lacks=''
for t in TOOLS; do command -v "$t" >/dev/null || lacks=$lacks$t$n; done
f lacks "$lacks"
# r NAME PROGRAM ...: writes what the program prints. If it fails, there is no section, but a line in the section "failed".
failed='' v=''
r() {
  k=$1
  shift
  # What it prints, and one more line: 0, or 1 and the first line of its errors.
  v=$({ e=$("$@" 2>&1 >&3 3>&-) && echo "${n}0" || echo "${n}1 $(printf '%s\n' "$e" | head -n 1 | cut -c1-300)"; } 3>&1)
  e=${v##*"$n"}
  v=$(printf %s "${v%"$n"*}")
  [ "$e" = 0 ] && f "$k" "$v" && return
  failed="$failed$k ${e#* }$n"
  v=''
  return 1
}
units=$(systemctl show -p Id,MainPID,InvocationID,ActiveState,SubState,LoadState,NRestarts,ActiveEnterTimestampMonotonic UNITS 2>/dev/null)
of() { printf '%s\n' "$units" | awk -v RS= -v unit="$1" -v key="$2" 'index("\n" $0 "\n", "\nId=" unit "\n") && match($0, "(^|\n)" key "=[^\n]*") {
  v = substr($0, RSTART, RLENGTH); sub(/^.*=/, "", v); print v }'; }
pid=$(of docker.service MainPID)
[ "${pid:-0}" != 0 ] || pid=''
f engine-state "$(of docker.service ActiveState)"
f virtualisation "$(systemd-detect-virt 2>/dev/null)"
f sysctl "$(for k in SYSCTLS; do v=$(cat "/proc/sys/$k") && echo "$k=$v"; done)"
f unforwarded "$(grep -lxs 0 /proc/sys/net/ipv4/conf/*/forwarding)"
# The last ten minutes. Files in /proc/sys need cat: the shell's read gets only their first byte.
f kernel-log "$(read -r up _ </proc/uptime; dmesg 2>/dev/null | awk -v from="$((${up%.*} - 600))" -F '[][ ]+' '$2 > from' | grep -E 'eighbou?r.* table overflow|nf_conntrack: table full' | tail -n 5)"
f neighbour-count "$(awk 'NR == 2 { print $1 }' /proc/net/stat/arp_cache 2>/dev/null)"
# The last line of the running engine's log with each known text, of its last 3000 lines.
f engine-log "$(i=$(of docker.service InvocationID)
  [ -z "$i" ] || journalctl -qo cat -n 3000 "_SYSTEMD_INVOCATION_ID=$i" | awk 'BEGIN { for (n = 1; n < ARGC; n++) { text[n] = ARGV[n]; ARGV[n] = "" } }
    { for (n in text) if (index($0, text[n])) last[n] = substr($0, 1, 600) } END { for (n in last) print last[n] }' ENGINE_SAYS)"
# On one manager of a swarm: the services of which not all tasks run, the last tasks of some, and the number of services.
manages=MANAGES
[ -z "$manages" ] || f services "$(timeout 5 docker service ls --format '{{.ID}} {{.Name}} {{.Mode}} {{.Replicas}}' 2>/dev/null | head -n 1000 | {
  all=0 short=0
  while read -r id name mode count _; do
    all=$((all + 1))
    case $mode in replicated | global) ;; *) continue ;; esac
    [ "${count%/*}" -lt "${count#*/}" ] 2>/dev/null && [ "$((short += 1))" -le 5 ] || continue
    echo "short|$name|${count%/*}|${count#*/}"
    timeout 5 docker service ps --no-trunc --format 'task|{{.Name}}|{{.Node}}|{{.CurrentState}}|{{.Error}}' "$id" 2>/dev/null </dev/null | head -n 10 | cut -c1-600
  done
  echo "all|$all"
})"
# The engine's own tables of gossip, if they are asked for: see tables.pl.
set -- GOSSIP
[ $# = 0 ] || f tables "$(timeout 5 perl -e "$ASK_ENGINE" "$@" 2>/dev/null)"
# Services whose main process a signal has stopped: unit and process ID.
f stopped "$(printf '%s\n' "$units" | awk -F= '
  function end() {
    if (p > 0) while ((getline line < ("/proc/" p "/status")) > 0) if (line ~ /^State:.T/) print u, p
    u = ""; p = 0
  }
  $1 == "Id" { u = $2 } $1 == "MainPID" { p = $2 } /^$/ { end() } END { end() }')"
# Services that failed, and those that systemd starts again and again: unit, state, and the line of their log that says most. One of
# them may just be starting, or run for a moment: systemd has restarted it twice, the last time seconds ago.
f ended "$(read -r up _ </proc/uptime; printf '%s\n' "$units" | awk -F= -v up="$up" '
  function end() {
    if (of["NRestarts"] > 1 && (of["SubState"] ~ /^start/ || of["SubState"] == "running" && up - of["ActiveEnterTimestampMonotonic"] / 1e6 < 5)) of["SubState"] = "auto-restart"
    if (of["Id"] != "" && (of["ActiveState"] == "failed" || of["SubState"] ~ /^auto-restart/)) print of["Id"], of["SubState"]
    split("", of)
  }
  /^$/ { end() } { of[$1] = $2 } END { end() }' | while read -r u s; do
    i=$(of "$u" InvocationID)
    case $(of "$u" SubState) in start*) i='' ;; esac # it has said nothing yet
    set -- journalctl -qo cat "_SYSTEMD_${i:+INVOCATION_ID=}${i:-UNIT=$u}"
    # Some log how serious a line is, and others only words.
    v=$("$@" -n 1 -p crit 2>/dev/null | cut -c1-300)
    echo "$u $s ${v:-$("$@" -n 20 2>/dev/null | awk 'NF { last = $0 } tolower($0) ~ /error|fail|fatal|invalid|denied|refused|cannot|can.t|unable|no such|in use/ { why = $0 }
      /^(Caused by: )?[a-zA-Z_.]+(Exception|Error): / { reason = $0 } END { print substr(reason != "" ? reason : why != "" ? why : last, 1, 300) }')}"
  done)"
# The state of containerd, unless the engine has started one of its own.
f containerd "$([ -z "$pid" ] || [ "$(of containerd.service LoadState)" != loaded ] || {
    for c in $(cat "/proc/$pid/task/"*/children 2>/dev/null); do [ "$(cat "/proc/$c/comm" 2>/dev/null)" != containerd ] || exit 0; done
    of containerd.service ActiveState
  })"
f proxies "$([ -z "$pid" ] || tr '\0' '\n' <"/proc/$pid/environ" | sed -nE 's/^(https?_proxy|HTTPS?_PROXY|all_proxy|ALL_PROXY)=.+/\1=set/p; s/^(no_proxy|NO_PROXY)=/\1=/p')"
# Containers whose first DNS server is not the engine's: ID and server. A container can write anything to its file, of any size, and
# also while it is read: so large files are left out, and time (seconds) and memory (KiB) are limited.
root=ROOT
# shellcheck disable=SC3045 # dash, bash and busybox have these limits
f resolvers "$(ulimit -t 3; ulimit -v 1000000; [ -z "$root" ] || find "$root/containers" -maxdepth 2 -name resolv.conf -type f -size -9 -exec awk 'FNR == 1 { found = 0 }
  $1 == "nameserver" && !found { found = 1; if ($2 != "127.0.0.11") print FILENAME, $2 }' {} + 2>/dev/null |
  sed -nE 's;^.*/([0-9a-f]{64})/resolv\.conf ([0-9a-fA-F.:]{2,39})$;\1 \2;p' | head -n 2000)"
# Sockets of the engine, beyond loopback and gossip, that answer its API without TLS.
f exposed "$([ -z "$pid" ] || ss -Hltnp 2>/dev/null | awk -v p="pid=$pid," 'index($0, p) && $4 !~ /^(127\.|\[::1\])|:(2377|7946)$/ { print $4 }' | head -n 5 | perl -MIO::Socket -ne '
    chomp; my ($to, $port) = /^(\*|\[::\]|[\d.]+):(\d+)$/ or next;
    my $s = IO::Socket::INET->new(PeerAddr => $to =~ /^[\d.]+$/ && $to ne "0.0.0.0" ? $to : "127.0.0.1", PeerPort => $port, Timeout => 1) or next;
    local @SIG{qw(ALRM PIPE)} = (sub { $s->shutdown(2) }, "IGNORE");
    alarm 1;
    print $s "GET /_ping HTTP/1.0\r\n\r\n";
    my $said = join "", <$s>;
    alarm 0;
    print "$_\n" if $said =~ m{^HTTP/1\.[01] 200 .*^Api-Version: }ims')"
rules() {
  v=$("$1") || return
  v=$(printf '%s\n' "$v" | grep -E '^[*:-]')
  [ ${#v} -le 400000 ] || { echo 'more than 400000 characters' >&2; return 1; }
  printf %s "$v"
}
for t in iptables-legacy-save iptables-nft-save; do
  command -v "$t" >/dev/null && r "$t" rules "$t"
done
of_network() {
  r routes ip -j -4 route show table all
  f rules "$(ip -j -4 rule show 2>/dev/null)"
  # One program asks for all routes. Its errors name the line: "Command failed -:3" follows the reason.
  set -- PEERS
  v=''
  [ $# = 0 ] || v=$({ printf 'route get %s\n' "$@" | ip -j -4 -force -batch - 2>&1 >&3 3>&- | awk 'BEGIN { for (n = 1; n < ARGC; n++) { to[n] = ARGV[n]; ARGV[n] = "" } }
    sub(/^Command failed .*:/, "") { print "unrouted", to[$0 + 0], why; why = ""; next } { why = $0 }' "$@"; } 3>&1)
  f gets "$(printf '%s\n' "$v" | grep -v '^unrouted ')"
  f unrouted "$(printf '%s\n' "$v" | sed -n 's/^unrouted //p')"
  r neighbours ip -j -4 neigh show nud permanent
}
# As r, in the network namespace of the file $s. For a minute, engines keep the files of those that are gone, which is no failure.
inside() {
  before=$failed k=space:$name:$1
  shift
  r "$k" nsenter "--net=$s" "$@" && return
  [ "$(stat -fc %t "$s" 2>/dev/null)" = 6e736673 ] || failed=$before
  return 1
}
of_spaces() {
  jobs='' idle='' held='' balancers=''
  # The inodes of all namespaces that have a process.
  used=" $(stat -Lc %i /proc/[0-9]*/ns/net 2>/dev/null | sort -u | tr '\n' ' ')"
  # Since when each namespace exists, and the time now, in seconds since 1970.
  f since "$(date +%s; stat -c '%Y %n' /var/run/docker/netns/* 2>/dev/null)"
  for s in /var/run/docker/netns/*; do
    name=${s##*/}
    case $name in default | *[!a-zA-Z0-9_-]*) continue ;; esac
    inside links ip -d -j link || continue
    inside addresses ip -j -4 address
    i=$(stat -Lc %i "$s" 2>/dev/null)
    case $used in *" ${i:-none} "* | ' ') ;; *) [ -z "$i" ] || idle=$idle$name$n ;; esac
    # In the namespace of a container: which names of others its DNS server does not know, and which others do not answer it.
    for asked in NAMES; do
      own=${asked%% *}
      case $v in *"\"${own:-none}\""*) jobs="${jobs}names $own $s ${asked#* }$n" ;; esac
    done
    for asked in ECHOES; do
      own=${asked%% *}
      case $v in *"\"${own:-none}\""*) jobs="${jobs}echo $own $s ${asked#* }$n" ;; esac
    done
    # Which connections to services it gets.
    for asked in CONNECTIONS; do
      own=${asked%% *}
      case $v in *"\"${own:-none}\""*) jobs="${jobs}call $own $s ${asked#* }$n" ;; esac
    done
    inside neighbours ip -j -4 neigh
    case $name in
      *-*)
        command -v bridge >/dev/null && inside forwarding bridge -j fdb show
        rules=LIST_RULES
        # shellcheck disable=SC2086 # split on purpose
        command -v "${rules%% *}" >/dev/null && f "space:$name:filters" "$(nsenter "--net=$s" $rules 2>/dev/null | grep -E '^(table|[[:space:]]+chain) |policy drop|[^-_a-z](drop|reject)([^-_a-z]|$)' | head -c 4000)"
        ;;
      *)
        inside routes ip -j -4 route
        # Connections of containers to virtual addresses of services. Load balancers come later: "lb_" follows all digits.
        case $name in lb_*) balancers="$balancers $s" ;; *[!0-9a-f]*) ;; *)
          set -- VIRTUAL
          [ $# = 0 ] || [ ${#held} -gt 200000 ] || held="$held $(nsenter "--net=$s" ss -Htn state established "$@" 2>/dev/null | awk 'NR <= 100 { print $3, $4 }')"
          ;;
        esac
        ;;
    esac
  done
  # Those that the load balancers have forgotten (IPVS).
  case $held in *[0-9]*)
    # shellcheck disable=SC2086 # split on purpose
    f forgotten "$(set -f; for s in $balancers; do nsenter "--net=$s" cat /proc/net/ip_vs_conn 2>/dev/null; done | perl -e "$FORGOTTEN" $held)"
    ;;
  esac
  f idle "$idle"
  [ -z "$jobs" ] || f asked "$(printf %s "$jobs" | perl -e "$TOGETHER" "$ASK" "$ASK_OTHERS" "$CALL" 2>/dev/null)"
}
if command -v ip >/dev/null && r links ip -d -j link; then
  of_network
  command -v nsenter >/dev/null && of_spaces
fi
f failed "$failed"
