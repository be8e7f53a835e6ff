# Part of the program that reads a host (system/reading.py). Words in capitals are replaced.
# Detects a package's own server that nobody has written to: one member at localhost, and no key in either API. From 3.4 on,
# etcd does not serve v2, and only its metrics show other members.
[ -e JSON ] || ! [ -L /run/systemd/units/invocation:UNIT ] || {
  v=$(perl -e "$ASK" "user etcd" "ask members PORT /v2/members" "ask keys PORT /v2/keys" "ask metrics PORT /metrics")
  case $v in *'"peerURLs":["http://localhost:2380"]'*'"node":{"dir":true}}'*'
etcd_debugging_mvcc_keys_total 0
'*) echo etcd-idle=yes ;;
  *'http:members '*'
404 '*'http:keys '*'
404 '*etcd_network_known_peers*) ;;
  *'http:members '*'
404 '*'http:keys '*'
404 '*'
etcd_debugging_mvcc_keys_total 0
'*) echo etcd-idle=yes ;; esac
}
[ -e JSON ] && [ -L /run/systemd/units/invocation:UNIT ] || etcd --version | while read -r _ w v; do [ "$w" != Version: ] || echo "etcd-version=$v"; done
# A server that could not join has only member/snap. One that the others have removed says so as it ends.
[ ! -d DATA/member/wal ] || {
  echo etcd-data=yes
  [ -L /run/systemd/units/invocation:UNIT ] || {
    i=$(systemctl show -p InvocationID --value UNIT) # of its last run
    [ -z "$i" ] || ! journalctl -qo cat -n 60 "_SYSTEMD_INVOCATION_ID=$i" 2>/dev/null | grep -q 'permanently removed from the cluster' || echo etcd-removed=yes
  }
}
