#!/bin/sh
# Boots one host of the lab, in three stages:
#   join     joins cgroups of the machine, then executes a command (arguments: cgroup.procs files, --, the command)
#   enter    enters the host's network namespace and creates its other namespaces
#   inside   process 1 of the host: mounts its file systems, detaches those of the machine, starts systemd
# host.py passes all values in the environment. None of them is evaluated:
#   LAB_SCRIPT this file   LAB_HOST the host's folder   LAB_LOWER the disk's read-only layers, the top one first   LAB_FRESH 1 on a first boot
#   LAB_CGROUPS "v2", or the cgroup v1 hierarchies as MOUNTPOINT:OPTIONS   LAB_INIT_ARGS arguments of systemd
set -eu

mount_cgroups() {
    if [ "$LAB_CGROUPS" = v2 ]; then
        mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 sys/fs/cgroup
        return
    fi
    mount -t tmpfs -o mode=755,nosuid,nodev,noexec tmpfs sys/fs/cgroup
    for hierarchy in $LAB_CGROUPS; do
        mkdir "sys/fs/cgroup/${hierarchy%%:*}"
        case "$hierarchy" in
        *:cgroup2) mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "sys/fs/cgroup/${hierarchy%%:*}" ;;
        *) mount -t cgroup -o "nosuid,nodev,noexec,${hierarchy#*:}" cgroup "sys/fs/cgroup/${hierarchy%%:*}" ;;
        esac
    done
}

# Protects the machine's settings: in /proc/sys, only those of the host's network namespace can be written.
protect_machine() {
    mount --bind proc/sys proc/sys
    mount -o remount,bind,ro proc/sys
    mount --bind proc/sys/net proc/sys/net
    mount -o remount,bind,rw proc/sys/net
    if [ -e proc/sysrq-trigger ]; then
        mount --bind proc/sysrq-trigger proc/sysrq-trigger
        mount -o remount,bind,ro proc/sysrq-trigger
    fi
}

# Gives the host a boot ID of its own, new at each boot. Otherwise, all hosts would have the machine's.
give_boot_id() {
    cat /proc/sys/kernel/random/uuid > run/boot-id
    mount --bind run/boot-id proc/sys/kernel/random/boot_id
    mount -o remount,bind,ro proc/sys/kernel/random/boot_id
    rm run/boot-id
}

# Device nodes: name, mode, major, minor. Only those that the machine has.
make_devices() {
    mount -t tmpfs -o mode=755,nosuid tmpfs dev
    mkdir dev/pts dev/shm dev/net
    while read -r name mode major minor; do
        [ -e "/dev/$name" ] || continue
        mknod -m "$mode" "dev/$name" c "$major" "$minor"
    done <<NODES
null 666 1 3
zero 666 1 5
full 666 1 7
random 666 1 8
urandom 666 1 9
tty 666 5 0
kmsg 644 1 11
net/tun 666 10 200
fuse 666 10 229
NODES
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
    ln -s pts/ptmx dev/ptmx
    ln -s /proc/self/fd dev/fd
    ln -s /proc/self/fd/0 dev/stdin
    ln -s /proc/self/fd/1 dev/stdout
    ln -s /proc/self/fd/2 dev/stderr
    : > dev/console
    mount --bind "$(readlink /proc/self/fd/2)" dev/console
}

# The engine's data is on a real file system, because its overlay2 driver does not work on overlayfs.
bind_engine_data() {
    mkdir -p var/lib/docker var/lib/containerd
    mount --bind "$LAB_HOST/docker" var/lib/docker
    mount --bind "$LAB_HOST/containerd" var/lib/containerd
}

# Records the machine's process ID and start time. Together they identify this process uniquely.
record_init() {
    read -r stat < /proc/self/stat
    # shellcheck disable=SC2086 # split on purpose
    set -- $stat
    pid=$1
    shift 21
    printf '%s %s\n' "$pid" "$1" > "$LAB_HOST/init.new"
    mv "$LAB_HOST/init.new" "$LAB_HOST/init"
}

inside() {
    record_init
    cd "$LAB_HOST/root"
    mount -t overlay overlay \
        -o "lowerdir=$LAB_LOWER,upperdir=$LAB_HOST/upper,workdir=$LAB_HOST/work,index=off,redirect_dir=on" "$LAB_HOST/root"
    cd "$LAB_HOST/root"
    if [ "$LAB_FRESH" = 1 ]; then
        cp -a "$LAB_HOST/seed/." .
    fi
    mount -t proc -o nosuid,nodev,noexec proc proc
    protect_machine
    mount -t sysfs -o nosuid,nodev,noexec sysfs sys
    mount_cgroups
    make_devices
    mount -t tmpfs -o mode=755,nosuid,nodev tmpfs run
    give_boot_id
    bind_engine_data
    pivot_root . mnt
    # shellcheck disable=SC2086,SC2016 # split on purpose; expanded by the inner shell
    exec chroot . /bin/sh -c 'umount -l /mnt; cd /; exec /usr/bin/env -i container=lab TERM=dumb \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /sbin/init "$@"' \
        init $LAB_INIT_ARGS < dev/console > dev/console 2>&1
}

stage=$1
shift
case "$stage" in
join)
    while [ "$1" != -- ]; do
        echo 0 > "$1"
        shift
    done
    shift
    exec "$@"
    ;;
enter)
    exec nsenter --net="$LAB_HOST/netns" \
        unshare --cgroup --mount --pid --uts --ipc --fork --kill-child sh "$LAB_SCRIPT" inside
    ;;
inside)
    inside
    ;;
esac
