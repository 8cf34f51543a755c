#!/usr/bin/env bash
# Make .venv with this package, if it is not there yet; PYTHON names the interpreter. Without an argument with everything
# of requirements.txt; with `light`, what attribution needs and no more, at the versions of requirements.txt.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
wanted="$(cat requirements.txt requirements-no-deps.txt pyproject.toml | sha256sum)"
found="$(cat .venv/installed 2>/dev/null || true)"
if [ "$found" = "$wanted" ] || [ "${1:-full} $found" = "light light $wanted" ]; then
  exit
fi
[ -x .venv/bin/python ] || "${PYTHON:-python3}" -m venv .venv
pip=".venv/bin/python -m pip install --quiet --disable-pip-version-check"
if [ "${1:-full}" = light ]; then
  $pip --constraint requirements.txt --editable .
  echo "light $wanted" > .venv/installed
else
  $pip --requirement requirements.txt
  $pip --no-deps --requirement requirements-no-deps.txt
  $pip --no-deps --editable .
  echo "$wanted" > .venv/installed
fi
