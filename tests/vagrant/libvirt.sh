#!/bin/sh
# libvirtd in namespaces of its own: its networks, rules, sockets, settings and machines are seen by nobody else and end
# with this process. Started by hypervisor.py as process 1 of its namespaces; the only argument is a folder for all of it.
set -eu
dir=$1

ip link set lo up
mount -t sysfs sysfs /sys # libvirt looks for its bridges there: those of this network namespace
mount -t tmpfs tmpfs /run # nor does it meet the machine's D-Bus, firewalld or systemd
mkdir -p /run/lock "$dir/etc" "$dir/lib/images" "$dir/cache" "$dir/log"
cat >"$dir/etc/libvirtd.conf" <<END
auth_unix_rw = "none"
END
# Nobody's user and no cgroups: what is inside is root's, and ends with the namespaces.
cat >"$dir/etc/qemu.conf" <<END
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
END
for each in etc lib cache log; do
    case $each in etc) target=/etc/libvirt ;; *) target=/var/$each/libvirt ;; esac
    mount --bind "$dir/$each" "$target"
done
libvirtd
