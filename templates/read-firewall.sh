# Part of the program that reads a host (system/reading.py). Words in capitals are replaced.
# An active unit has a link in /run/systemd/units.
for p in FILTERS; do command -v "$p" >/dev/null && echo "program=$p"; done
[ -e /proc/net/if_inet6 ] && echo ipv6=yes
for u in LOADERS; do
  [ -L "/run/systemd/units/invocation:$u" ] && echo "active=$u"
  for w in /etc/systemd/system/*.wants/"$u"; do [ -L "$w" ] && echo "enabled=$u"; done
done
