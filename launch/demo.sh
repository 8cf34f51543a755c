#!/usr/bin/env bash
# The main job on the embedded generator, from nothing: installs what that needs, then runs `latentfp demo` (all arguments
# are passed on).
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
bash "$root/launch/setup.sh" light
exec "$root/.venv/bin/latentfp" demo "$@"
