# Part of the program that reads a host (system/reading.py). Words in capitals are replaced.
t=$(printf '\t')
say() { printf '%s\t%s\n' "$1" "$2"; }
for p in FILES; do if [ -e "$p" ] || [ -L "$p" ]; then say file "$p"; fi; done
for p in FOLDERS; do if [ -d "$p" ] && [ -z "$(ls -A "$p" 2>&1)" ]; then say empty "$p"; fi; done
for p in DATA; do
  d=${p%%=*}; if [ -d "$d" ] && [ -e "${p#*=}" ]; then say data "$d"; fi
  for k in "$d".*.bak; do if [ -d "$k" ]; then say kept "$k"; fi; done
done
for u in UNITS; do
  f=WHERE/$u l=
  [ ! -f "$f" ] || IFS= read -r l <"$f"
  for b in "$f".????????.bak; do if [ -f "$b" ]; then say old "$b"; fi; done
  case $l in "MARK"*) ;; *) continue ;; esac
  say unit "$u"
  for w in WHERE/*.wants/"$u" WHERE/*.requires/"$u"; do if [ -L "$w" ]; then say enabled "$u"; break; fi; done
  if [ -L "/run/systemd/units/invocation:$u" ]; then say active "$u"; fi
done
grep -Eo '^(USERS):' /etc/passwd | while IFS=: read -r u _; do say user "$u"; done
grep -Eo '^(docker|USERS):' /etc/group | while IFS=: read -r u _; do say group "$u"; done
noted=
if [ -f RECORD ]; then
  while IFS= read -r l; do say note "$l"; done <RECORD
  noted=$(sed -n "s/^package$t\([a-z0-9][a-z0-9.+:-]*\)$t.*/\1/p" RECORD)
fi
set -- $noted PACKAGES
LISTS
j=$(readlink -f JSON) && for b in "$j".????????.bak; do
  if [ -f "$b" ] && [ ! -L "$b" ]; then printf 'backup\t%s\t%s\t%s\n' "$b" "$(stat -c '%a %u:%g %Y' "$b")" "$(head -c 1000000 "$b" | base64 | tr -d '\n')"; fi
done
