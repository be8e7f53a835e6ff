# What every repairing script begins with. Messages for people: "provisioner: WHAT<tab>WHAT TO DO NEXT" on stderr.
set -u
# Of a unit that has an init script too, systemctl has update-rc.d keep links that systemd does not use, and that loads all
# units anew two times more.
export SYSTEMCTL_SKIP_SYSV=1
fail() { # WHAT CURE: this host can't go on
    printf 'provisioner: %s\t%s\n' "$1" "${2:-}" >&2
    exit 70
}
fail_all() { # WHAT CURE: no host must go on
    printf 'provisioner: %s\t%s\n' "$1" "${2:-}" >&2
    exit 71
}
has() { command -v "$1" >/dev/null 2>&1; }
keep() { # PATH: a copy beside it, named after its content: made once, and never overwritten
    [ -s "$1" ] || return 0
    sum=$(sha256sum <"$1") && copy="$1.${sum%"${sum#????????}"}.bak" &&
        { [ -e "$copy" ] || { cp -p "$1" "$copy.new" && mv -f "$copy.new" "$copy"; }; } || {
        rm -f "${copy:-$1}.new"
        fail "can't keep a copy of $1" "look at the free space: df ${1%/*}"
    }
}
put() { # PATH MODE OWNER BASE64: the whole file or nothing
    dir=${1%/*}
    [ -d "$dir" ] || mkdir -p "$dir" || fail "can't make the folder $dir" "look at its file system"
    new=$(mktemp "$dir/.provisioner.XXXXXXXX") || fail "can't write in $dir" "look at the free space: df $dir"
    if printf %s "$4" | base64 -d >"$new" && chown "$3" "$new" && chmod "$2" "$new" && sync "$new" && mv -f "$new" "$1"
    then sync "$dir"
    else
        rm -f "$new"
        fail "can't write $1; the old one is untouched" "look at the free space and the mount options: df $dir"
    fi
}
