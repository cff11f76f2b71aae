#!/usr/bin/env bash
# Writes constraints.txt: the newest versions of everything, one for all of Python 3.11 to 3.14, wheels only.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$(tools/python.sh)" -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check uv
uv="$folder/bin/uv"

{
  echo "# Every package of the environment at one exact version, for Python 3.11 to 3.14. Written by make pins."
  echo setuptools | "$uv" pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest \
    --all-extras --only-binary :all: --no-annotate --no-header pyproject.toml -
} >"$folder/constraints.txt"

for version in 3.11 3.12 3.13 3.14; do
  for platform in x86_64-manylinux_2_35 aarch64-manylinux_2_35; do
    echo "Checking that each pin has a wheel for Python $version on $platform"
    "$uv" pip compile --quiet --python-version "$version" --python-platform "$platform" --only-binary :all: \
      --no-deps "$folder/constraints.txt" >/dev/null
  done
done
cp "$folder/constraints.txt" constraints.txt
