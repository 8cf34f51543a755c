#!/usr/bin/env bash
# Several processes of one command on this machine, each with its share of the work: launch/local.sh COUNT COMMAND…
# Fails when any of them fails; what the others made stays, and the same command goes on from there.
# The processes of a training meet at JAX_COORDINATOR_ADDRESS, a free port of this machine if it is not set.
set -euo pipefail
count="${1:?how many processes}"
shift
free_port() {
  local port
  while port=$((20000 + RANDOM % 12000)) && (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
  echo "$port"
}
export JAX_COORDINATOR_ADDRESS="${JAX_COORDINATOR_ADDRESS:-127.0.0.1:$(free_port)}"
pids=()
for ((index = 0; index < count; index++)); do
  LATENTFP_PROCESS="$index" LATENTFP_PROCESSES="$count" "$@" &
  pids+=("$!")
done
trap 'kill "${pids[@]}" 2>/dev/null || true' INT TERM
failed=0
for pid in "${pids[@]}"; do
  wait "$pid" || failed=1
  while kill -0 "$pid" 2>/dev/null; do wait "$pid" || failed=1; done  # a signal ends a wait early
done
exit "$failed"
