# The beginning of every script that changes a host. Messages for people:
# "provisioner: ID<tab>WHAT<tab>WHAT TO DO NEXT" on stderr, with an ID of the catalogue of causes.
set -u
# For a unit that has an init script too, systemctl would call update-rc.d for links that systemd does not use, and reload
# all units two more times.
export SYSTEMCTL_SKIP_SYSV=1
fail() { # ID WHAT CURE: this host can't continue
    printf 'provisioner: %s\t%s\t%s\n' "$1" "$2" "${3:-}" >&2
    exit 70
}
fail_all() { # ID WHAT CURE: no host may continue
    printf 'provisioner: %s\t%s\t%s\n' "$1" "$2" "${3:-}" >&2
    exit 71
}
has() { command -v "$1" >/dev/null 2>&1; }
files() { # WHAT PATH ...: changes a file or folder, safely also where other users can write; FILES is files.pl, see there
    perl -e "$FILES" "$@" || {
        [ $? = 70 ] || fail no-perl "can't change files: perl does not work" "check what \`perl -v\` prints on this host, and run again"
        exit 70
    }
}
keep() { # PATH: makes a copy in the same folder, named after its content; an existing copy is never overwritten
    [ -e "$1" ] || return 0
    sum=$(sha256sum <"$1") || fail file-failed "can't keep a copy of $1" "look at its file system"
    copy="$1.${sum%"${sum#????????}"}.bak"
    [ -e "$copy" ] || files copy "$1" "$copy"
}
note() { # KIND NAME HOW ...: records what is about to change, and its earlier state; the first note on a thing is kept
    files note /var/lib/provisioner/record "$@" || exit 70
}
unit_before() { # UNIT: records whether it is enabled and active, before ours replaces it
    note unit "$1" "$(systemctl is-enabled "$1" 2>/dev/null) $(systemctl is-active "$1" 2>/dev/null)"
}
put() { # PATH MODE OWNER BASE64: writes the whole file or nothing. printf is a builtin, so the text is in no process's argv
    printf %s. "$4" | files put "$1" "$2" "$3" || exit 70
}
