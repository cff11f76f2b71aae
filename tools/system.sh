#!/bin/sh
# Installs the programs that labs run, where they are missing: system.sh [PACKAGE...]
# PACKAGE: needed as well, and nothing can go on without it.
# Only root installs. Everybody else gets the line for an administrator, and goes on with what there is.
set -eu
cd "$(dirname "$0")"
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin" # an ordinary user's PATH on Debian lacks these

packages="$*"
names="$*"
while read -r package hash program; do
  if [ "$hash" = "#" ] && ! command -v "$program" >/dev/null; then
    packages="$packages $package"
    names="$names $program"
  fi
done <<EOF
$(sed '/^#/d' system-packages.txt)
EOF
packages=${packages# }
[ -n "$packages" ] || exit 0

echo "Missing on this machine: ${names# }"
if ! command -v apt-get >/dev/null; then
  echo "This system has no apt-get. Install them with its own package manager; their Debian packages are: $packages"
elif [ "$(id -u)" -ne 0 ]; then
  echo "An administrator adds them with this line:"
  echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends $packages"
  [ $# -gt 0 ] || echo "Going on with what there is."
else
  echo "Installing these system packages with apt-get: $packages"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq || echo "apt-get update failed (see above). Trying with the package lists that are here." >&2
  # shellcheck disable=SC2086 # one word per package
  if ! apt-get install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=120 $packages >/dev/null; then
    echo "apt-get could not install: $packages" >&2
    echo "Its messages are above. Install them yourself, then run the same command again." >&2
    exit 1
  fi
fi
