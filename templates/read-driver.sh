# Part of the program that reads a host (system/reading.py). Words in capitals are replaced.
# $w is what facts.pl found of the engine. Looking through the engine's program takes a tenth of a second.
# What it has against its file the engine says to anybody, before it says that it must be started by root (moby, cmd/dockerd).
case $w in
*" on-store"*) echo DRIVER ;;
*) e=$(command -v dockerd) && {
[ DRIVER = none ] || { LC_ALL=C grep -qaF libkv/store/DRIVER "$e" && echo DRIVER; }
case $w in *" in-swarm"*) ;; *)
[ ! -e JSON ] || timeout 9 setpriv --reuid=65534 --regid=65534 --clear-groups "$e" --config-file JSON </dev/null 2>&1 | sed -n 's/^unable to configure.* file [^ ]*: /refuses=/p'
esac; } ;;
esac
