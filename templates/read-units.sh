# Part of the program that reads a host (system/reading.py). Words in capitals are replaced.
v=$(systemctl show -p UNITKEYS UNITS)
# Started: when the unit's main process began, in hundredths of a second of the host's uptime. systemd's own clock stops while the host
# is suspended, and the wall clock may be set.
printf '%s\n' "$v" | awk '{ print }
  /^MainPID=[1-9]/ { f = "/proc/" substr($0, 9) "/stat"; if ((getline s < f) > 0) { sub(/.*\) /, "", s); split(s, a, " "); print "Started=" a[20] } }' ||
  printf '%s\n' "$v"
