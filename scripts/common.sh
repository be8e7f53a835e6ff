# shellcheck shell=sh
# Shared by scripts/demo and scripts/test: stages with timing, packages, Python and the virtual environment.
# The scripts set these before they source it: the checkout, and a file for long output.
: "${root:?}" "${log:?}"

# Override the user's settings: without compiled files, every `provisioner` would compile all its imports, which takes longer
# than its work. The files are in .venv, so root leaves none in the checkout.
unset PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX="$root/.venv/pycache"

die() { # LINE: what is missing and what to do
    printf '%s\n' "$1" >&2
    exit 1
}

# Run a stage: print its text, then its seconds. Its output goes to the log; on failure, the last lines are shown.
stage() { # TEXT COMMAND...
    text=$1
    shift
    printf '%-52s ' "$text"
    began=$(date +%s)
    printf '\n== %s\n' "$text" >>"$log"
    before=$(wc -c <"$log")
    if "$@" >>"$log" 2>&1 </dev/null; then
        printf '%4d s\n' $(($(date +%s) - began))
        return
    fi
    printf 'failed after %d s\n' $(($(date +%s) - began))
    tail -c +$((before + 1)) "$log" | tail -n 20 | sed 's/^/    /' >&2
    if tail -c +$((before + 1)) "$log" | grep -q -i -E "$no_network"; then
        printf 'No network: this stage needs one (%s). Connect to a network and run this again.\n' "$(no_network_for "$text")" >&2
    fi
    die "Full output: $log"
}

no_network='could not resolve|temporary failure (in name )?resol|name or service not known|network is unreachable|no route to host|could not connect to|newconnectionerror|failed to establish a new connection|connection timed out|unable to connect to'

no_network_for() { # TEXT of a stage
    case $1 in
    python*) echo "pip downloads the dependencies in pyproject.toml" ;;
    *) echo "apt downloads packages" ;;
    esac
}

need_debian() {
    # Other systems may have this file, too, or none.
    like=$(. /etc/os-release 2>/dev/null && echo "${ID:-} ${ID_LIKE:-}") || like=
    case " $like " in
    *" debian "* | *" ubuntu "*) ;;
    *) die "This needs Debian or Ubuntu; this system is ${like:-unknown}." ;;
    esac
    command -v apt-get >/dev/null || die "This needs apt-get, which is not installed."
}

missing_packages() { # PACKAGE...: print those that are not installed
    for package; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || printf '%s\n' "$package"
    done
}

# Debian starts a service as soon as its package is installed, unless this file forbids it. The file exists only during the
# installation, and only if the machine has none of its own.
policy=/usr/sbin/policy-rc.d
policy_text='#!/bin/sh
# Created by scripts/test or scripts/demo of provisioner while it installs packages, so that no service starts. You may remove it.
exit 101'

forbid_starts() {
    allow_starts # left by a killed run
    [ -e "$policy" ] || { printf '%s\n' "$policy_text" >"$policy" && chmod 755 "$policy"; }
}

allow_starts() {
    [ ! -e "$policy" ] || [ "$(cat "$policy")" != "$policy_text" ] || rm -f "$policy"
}

apt_install() { # PACKAGE...: without recommended packages, and without starting services
    forbid_starts
    trap allow_starts EXIT
    trap 'exit 130' INT TERM HUP
    apt_get install "$@" || { apt_get update && apt_get install "$@"; }
    code=$?
    allow_starts
    trap - EXIT INT TERM HUP
    return "$code"
}

apt_get() {
    DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 -o APT::Install-Recommends=false \
        -o Acquire::Retries=2 -o Acquire::http::Timeout=20 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"
}

new_enough='import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))'

# Set $python to Python 3.11 or later that can create virtual environments.
find_python() {
    for python in python3 python3.14 python3.13 python3.12 python3.11; do
        python=$(command -v "$python") && "$python" -c "$new_enough" 2>/dev/null && return
    done
    return 1
}

# The same, or exit with one line that says what to do.
need_python() {
    find_python && return
    version=$(python3 -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || version=
    case $version in
    "") die "python3 is not installed: apt-get install python3-venv" ;;
    3.[0-9].* | 3.10.*)
        die "python3 is $version, but provisioner needs 3.11 or later: install one (if the system offers it: apt-get install python3.11-venv) and run this again." ;;
    *) die "python3 $version can't create virtual environments: apt-get install python3-venv" ;;
    esac
}

# Create or update .venv in the checkout. Do nothing if it matches the current pyproject.toml.
make_venv() { # KIND: demo (dependencies of provisioner) or dev (also those of the tests)
    venv=$root/.venv
    if [ -e "$venv/bin/python" ]; then
        # Its Python is gone or too old, or the checkout has moved.
        "$venv/bin/python" -c "$new_enough" && [ "$(cat "$venv/checkout" 2>/dev/null || echo "$root")" = "$root" ] || rm -rf "$venv"
    fi
    [ -e "$venv/bin/python" ] || "$python" -m venv "$venv" || return
    printf '%s\n' "$root" >"$venv/checkout" || return
    wanted=
    [ "$1" = demo ] || wanted=$("$venv/bin/python" -c \
        'import sys, tomllib; print(*tomllib.load(open(sys.argv[1], "rb"))["dependency-groups"]["dev"], sep="\n")' "$root/pyproject.toml") || return
    # Each line is one argument of pip.
    printf '%s' "$wanted" | tr '\n' '\0' | xargs -0 env PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 \
        "$venv/bin/python" -m pip install --progress-bar off --no-compile --editable "$root" || return
    cp "$root/pyproject.toml" "$venv/made-for-$1" || return
    give_back "$venv"
}

venv_is_current() { # KIND
    for kind in "$1" dev; do
        cmp -s "$root/pyproject.toml" "$root/.venv/made-for-$kind" && [ "$(cat "$root/.venv/checkout")" = "$root" ] &&
            "$root/.venv/bin/python" -c "$new_enough" 2>/dev/null && return
    done
    return 1
}

# Files that root creates in a checkout belong to its owner.
give_back() { # PATH...
    [ "$(id -u)" != 0 ] || for path; do
        [ ! -e "$path" ] || chown -R -h --reference="$root" "$path" || return
    done
}
