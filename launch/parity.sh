#!/usr/bin/env bash
# The tests against PyTorch packages, from nothing: an environment of their own, .venv/parity. All arguments are passed on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
wanted="$(cat requirements.txt requirements-parity.txt pyproject.toml | sha256sum)"
if [ "$(cat .venv/parity/installed 2>/dev/null || true)" != "$wanted" ]; then
  [ -x .venv/parity/bin/python ] || "${PYTHON:-python3}" -m venv .venv/parity
  pip=".venv/parity/bin/python -m pip install --quiet --disable-pip-version-check"
  $pip -r requirements.txt -r requirements-parity.txt
  $pip --no-deps --editable .
  echo "$wanted" > .venv/parity/installed
fi
exec .venv/parity/bin/python -m pytest tests/parity --all "$@"
