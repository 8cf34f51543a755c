#!/usr/bin/env bash
# Several processes of one command on this machine, each with its share of the work: launch/local.sh COUNT COMMAND…
# Fails when any of them fails; what the others made stays, and the same command goes on from there.
set -euo pipefail
count="${1:?how many processes}"
shift
pids=()
for ((index = 0; index < count; index++)); do
  LATENTFP_PROCESS="$index" LATENTFP_PROCESSES="$count" "$@" &
  pids+=("$!")
done
trap 'kill "${pids[@]}" 2>/dev/null || true' INT TERM
failed=0
for pid in "${pids[@]}"; do
  wait "$pid" || failed=1
done
exit "$failed"
