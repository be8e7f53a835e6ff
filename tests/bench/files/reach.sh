#!/bin/sh
# usage: reach.sh NAME PEER[=ADDRESS]...: ping every peer from the host's probe, by name, by address, and with a full packet.
set -eu
from=$1
shift
docker exec -i "probe-$from" sh -eu -s "$@" <<'PINGS'
end=$(($(date +%s) + 30))
for peer; do
    name=probe-${peer%%=*}
    until ping -q -c 1 -W 1 "$name" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt $end ]
        sleep 0.05
    done
    address=${peer#*=}
    [ "$address" != "$peer" ] || address=$(getent ahostsv4 "$name" | { read -r found _ && echo "$found"; })
    ping -q -c 1 -W 5 "$address" >/dev/null
    ping -q -c 1 -W 5 -M do -s 1422 "$address" >/dev/null
done
PINGS
