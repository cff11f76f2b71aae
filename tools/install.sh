#!/usr/bin/env bash
# Makes .venv: the package in editable form, its extras and the command labsupport. Quick when nothing changed.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022 # labs of root and half of the tests run as other users, who must be able to read it

if python=$(tools/python.sh 2>/dev/null); then
  tools/system.sh
else
  if [ -n "${PYTHON:-}" ]; then tools/system.sh; else tools/system.sh python3-venv; fi
  python=$(tools/python.sh)
fi

# The stamp says what .venv was made from: the interpreter and the place, then what was installed.
identity="$python $("$python" -c 'import platform; print(platform.python_version())') $PWD"
content=$(cat pyproject.toml constraints.txt tools/install.sh | sha256sum)
stamp=.venv/made-from
made_for="" made_of=""
[ ! -f $stamp ] || { read -r made_for && read -r made_of; } <$stamp || true
if [ "$made_for" != "$identity" ]; then
  echo "Making .venv with $python"
  "$python" -m venv --clear .venv
elif [ "$made_of" = "$content" ]; then
  echo ".venv is up to date."
  exit 0
fi
echo "Installing the Python packages of constraints.txt into .venv, once; a dot for each:"
# By environment variables, because the pins hold for the isolated build of the package as well.
PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 \
  .venv/bin/python -m pip install -e '.[lab,test]' |
  awk '/^Collecting / { printf "."; fflush() } END { print "" }'
# JupyterLab would ask every new user whether to fetch news from the Internet.
.venv/bin/jupyter-labextension disable --level=sys_prefix "@jupyterlab/apputils-extension:announcements" >/dev/null 2>&1
printf '%s\n' "$identity" "$content" >$stamp
echo "Done. The command of the course is .venv/bin/labsupport"
