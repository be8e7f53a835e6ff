# Part of the program that reads a host (system/reading.py). Words in capitals are replaced.
read -r v </proc/sys/kernel/hostname; echo "hostname=$v"
echo "uid=$(id -u)"; echo "now=$(date +%s.%N)"; read -r v _ </proc/uptime; echo "uptime=$v"
for p in PROGRAMS; do v=$(command -v "$p") && echo "program=$p $v"; done
command -v dockerd >/dev/null && ! command -v docker >/dev/null && echo no-docker=yes
d=/var/lib/docker; [ -d $d ] || d=/var/lib
c=DATA; [ -d $c ] || c=/var/lib
df -Pk /etc "$d" "$c" /usr | { read -r _; while read -r _ size _ free _ mount; do echo "disk=$free $size $mount"; done; }
v=$(cksum /etc/docker/key.json) && echo "key=$v"
case $w in *" in-swarm"*) set -- KERNEL OF_NODES ;; *) set -- KERNEL ;; esac
for k; do [ -d "/sys/module/$k" ] || grep -q " ${k}_" /proc/kallsyms || modprobe -nq "$k" || echo "lacks=$k"; done
SAYS
