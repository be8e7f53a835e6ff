# Part of the program that reads a host (system/reading.py). Words in capitals are replaced.
awk -v ports=PORTS -v user=OWNER '
BEGIN { n = split(ports, list, ","); while (n) { port[sprintf("%04X", list[n])] = list[n]; n-- } }
FILENAME == "/etc/passwd" { split($0, f, ":"); if (f[1] == user) own[f[3]] = 1; next }
$4 == "01" && $8 != 0 && !($8 in own) && !($8 >= 61184 && $8 <= 65519) {
  split($3, to, ":"); key = $8 " " substr(to[1], length(to[1]) - 7) " " port[to[2]]
  if (to[2] in port && !seen[key]++ && ++count <= 8) print key, $10
}' /etc/passwd /proc/net/tcp /proc/net/tcp6 | while read -r u a p i; do
  f=$(find /proc/[0-9]*/fd -lname "socket:\[$i\]" 2>/dev/null | head -n 1)
  echo "$u $a $p $(tr -cd 'A-Za-z0-9._-' <"${f%/fd/*}/comm")"
done
