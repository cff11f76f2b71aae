#!/bin/sh
# Prints the path of the Python to build .venv from: PYTHON if set, else the first that fits.
set -eu
cd "$(dirname "$0")"

if [ -n "${PYTHON:-}" ]; then
  candidates=$PYTHON
else
  candidates="python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3"
fi
reasons=""
for candidate in $candidates; do
  command -v "$candidate" >/dev/null || continue
  if answer=$("$candidate" -I check_python.py 2>&1); then
    echo "$answer"
    exit 0
  fi
  case $reasons in
    *"$answer"*) ;; # the same one, found a second time
    *) reasons="$reasons
$answer" ;;
  esac
done
cat >&2 <<EOF
No Python here can run the course. It needs Python 3.11 or newer with venv.
Looked for: $candidates$reasons
Debian 12 and Ubuntu 24.04 have it in the packages python3 and python3-venv, Ubuntu 22.04 in python3.11-venv.
Another one is chosen with: make install PYTHON=/path/to/python3
EOF
exit 1
