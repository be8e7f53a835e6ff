#!/bin/sh
# Runs libvirtd in separate namespaces: its networks, rules, sockets, settings and machines are not visible outside, and end
# with this process. hypervisor.py starts it as process 1 of the namespaces. Argument: a folder for all its files.
set -eu
dir=$1

ip link set lo up
mount -t sysfs sysfs /sys # shows the bridges of this network namespace to libvirt
mount -t tmpfs tmpfs /run # hides the machine's D-Bus, firewalld and systemd
mkdir -p /run/lock "$dir/etc" "$dir/lib/images" "$dir/cache" "$dir/log"
cat >"$dir/etc/libvirtd.conf" <<END
auth_unix_rw = "none"
END
# No separate user and no cgroups are needed: all processes run as root and end with the namespaces.
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
