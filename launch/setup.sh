#!/usr/bin/env bash
# Make .venv with everything of requirements.txt and this package, if that is not there yet. PYTHON names the interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
wanted="$(cat requirements.txt pyproject.toml | sha256sum)"
if [ "$(cat .venv/installed 2>/dev/null || true)" != "$wanted" ]; then
  [ -x .venv/bin/python ] || "${PYTHON:-python3}" -m venv .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
  echo "$wanted" > .venv/installed
fi
