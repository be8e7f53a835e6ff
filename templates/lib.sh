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
files() { # WHAT PATH ...: changes a file or a folder where other users may write, too; FILES is files.pl, which tells what
    perl -e "$FILES" "$@" || {
        [ $? = 70 ] || fail "can't change files: perl does not run as it should" "look at what \`perl -v\` says there, and run again"
        exit 70
    }
}
keep() { # PATH: a copy beside it, named after its content: made once, and never overwritten
    [ -e "$1" ] || return 0
    sum=$(sha256sum <"$1") || fail "can't keep a copy of $1" "look at its file system"
    copy="$1.${sum%"${sum#????????}"}.bak"
    [ -e "$copy" ] || files copy "$1" "$copy"
}
note() { # KIND NAME HOW ...: what is about to be made or changed, and how it was: the first note on a thing stays
    files note /var/lib/provisioner/record "$@" || exit 70
}
unit_before() { # UNIT: notes whether it is enabled and active, before ours takes its place
    note unit "$1" "$(systemctl is-enabled "$1" 2>/dev/null) $(systemctl is-active "$1" 2>/dev/null)"
}
put() { # PATH MODE OWNER BASE64: the whole file or nothing. printf is the shell's own: the text stands in no argument
    printf %s. "$4" | files put "$1" "$2" "$3" || exit 70
}
