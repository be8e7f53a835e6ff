# Part of the program that reads a host (system/reading.py). Words in capitals are replaced.
# $w has the findings of facts.pl about the engine. Searching the engine's binary takes a tenth of a second.
# The engine checks its file before it checks that it runs as root (moby, cmd/dockerd), so another user can start the check.
case $w in
*" on-store"*) echo DRIVER ;;
*) e=$(command -v dockerd) && {
[ DRIVER = none ] || { LC_ALL=C grep -qaF libkv/store/DRIVER "$e" && echo DRIVER; }
case $w in *" in-swarm"*) ;; *)
[ ! -e JSON ] || timeout 9 setpriv --reuid=65534 --regid=65534 --clear-groups "$e" --config-file JSON </dev/null 2>&1 | sed -n 's/^unable to configure.* file [^ ]*: /refuses=/p'
esac; } ;;
esac
