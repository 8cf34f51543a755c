#!/usr/bin/env bash
# The tests, from nothing: installs, then runs pytest in two processes. Without the slow ones, and says how many those
# are; with --all, everything. All arguments are passed on (a folder, -k NAME).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash launch/setup.sh
exec .venv/bin/python -m pytest -n 2 --dist loadfile "$@"
