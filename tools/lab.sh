#!/bin/sh
# Asks the doctor whether this machine can run labs, then serves the notebooks in JupyterLab.
set -eu
cd "$(dirname "$0")/.."

if ! .venv/bin/labsupport doctor; then
  echo "Labs cannot run here yet: do what the doctor says above, then run make lab again." >&2
  exit 1
fi
# `labsupport shell` must work in JupyterLab's own terminals, so these get this PATH, and no login shell that resets it.
PATH="$PWD/.venv/bin:$PATH"
# No question about updates at the start: the versions are pinned on purpose.
set -- --ServerApp.root_dir=notebooks --LabApp.default_url=/lab/tree/00-start-here.ipynb \
  --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate \
  --ServerApp.terminado_settings="shell_command=['${SHELL:-/bin/bash}']"
[ "$(id -u)" -ne 0 ] || set -- "$@" --allow-root
[ "${OPEN:-1}" != 0 ] || set -- "$@" --no-browser
exec jupyter-lab "$@"
