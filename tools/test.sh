#!/usr/bin/env bash
# Everything that CI runs. Root runs the tests twice: as root, and as an ordinary user without any privilege.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022

ordinary=(setpriv --reuid 65534 --regid 65534 --clear-groups)
folder=$(mktemp -d /tmp/labsupport-test.XXXXXX) # HOME and temporary files of the tests
# The cluster's programs, built once for all checkouts. Those of root serve every user, and so both runs of the tests.
if [ "$(id -u)" -eq 0 ]; then cache=/var/cache/labsupport; else cache=${XDG_CACHE_HOME:-$HOME/.cache}/labsupport; fi
export LABSUPPORT_CACHE="${LABSUPPORT_CACHE:-$cache}"
trap 'rm -rf "$folder"' EXIT

if [ "$(id -u)" -eq 0 ]; then
  phases=8
  if ! "${ordinary[@]}" test -r "$PWD/pyproject.toml" -a -r "$PWD/tests"; then
    echo "An ordinary user cannot read $PWD, so the tests run in a copy that one can read."
    copy=$(mktemp -d /var/tmp/labsupport-copy.XXXXXX)
    trap 'rm -rf "$folder" "$copy"' EXIT
    tar -c --exclude=./.venv --exclude=./.git --exclude='./.*_cache' . | tar -x -C "$copy" --no-same-owner
    chmod -R a+rX "$copy"
    "$copy/tools/test.sh"
    exit
  fi
else
  phases=7
fi

phase=0 failed="" times=""
run() { # run NAME COMMAND...: one phase; a failure is remembered and the next phase runs all the same
  local name=$1 start=$SECONDS
  shift
  phase=$((phase + 1))
  echo
  echo "[$phase/$phases] $name"
  "$@" || failed="$failed, $name"
  times="$times, $name $((SECONDS - start)) s"
}

# The clusters of the tests may take more memory, and less of the processors' time, than a learner's: GOGC=100.
run_tests() { # run_tests HOME PATH CHOICE [PREFIX...]: tests and notebooks, by more workers than cores: most of them wait
  local home=$1 path=$2 choice=$3
  shift 3
  "$@" env -i HOME="$home" PATH="$path" LANG=C.UTF-8 TERM="${TERM:-dumb}" CI="${CI:-}" PYTHONDONTWRITEBYTECODE=1 \
    LABSUPPORT_CACHE="$LABSUPPORT_CACHE" GOGC=100 \
    .venv/bin/python -m pytest -m "$choice" -n 4 --dist loadfile -p no:cacheprovider --basetemp="$home/pytest" \
    --nbval --nbval-current-env --nbval-cell-timeout 50 --nbval-sanitize-with tests/nbval-sanitize.cfg
}

# Processes of the tests write no bytecode, and there are thousands: each would compile what it imports.
compile_all() {
  .venv/bin/python -m compileall -q labsupport benchmarks
  PYTHONDONTWRITEBYTECODE='' .venv/bin/python -m pytest --collect-only -q -p no:cacheprovider >/dev/null
}

run "install" tools/install.sh
[ -z "$failed" ] || exit 1
run "bytecode" compile_all
run "the cluster's programs and images" tools/programs.sh
run "ruff" .venv/bin/ruff check .
run "mypy" .venv/bin/mypy
run "import-linter" .venv/bin/lint-imports
mkdir "$folder/caller"
if [ "$(id -u)" -ne 0 ]; then
  run "tests as $(id -un)" run_tests "$folder/caller" "$PATH" ""
else
  run "tests as root" run_tests "$folder/caller" "$PATH" "not once"
  mkdir "$folder/ordinary"
  chmod 755 "$folder"
  chown 65534:65534 "$folder/ordinary"
  # The PATH is the one that Debian gives to ordinary users: without the sbin folders.
  run "tests as uid 65534" run_tests "$folder/ordinary" /usr/local/bin:/usr/bin:/bin "" "${ordinary[@]}"
fi

echo
echo "Time: ${times#, }; $SECONDS s in all"
if [ -n "$failed" ]; then
  echo "Failed: ${failed#, }" >&2
  exit 1
fi
echo "All passed."
