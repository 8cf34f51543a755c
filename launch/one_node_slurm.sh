#!/usr/bin/env bash
# A SLURM that consists of this machine, for a try and for tests: launch/one_node_slurm.sh COMMAND…
# Starts munged, slurmctld and slurmd (Debian: slurm-wlm, munge; as root) in a temporary folder, runs the command with
# SLURM_CONF set, so that sbatch and srun go there, and stops them. Leaves with what the command leaves with.
set -euo pipefail
for program in munged slurmctld slurmd; do
  command -v "$program" > /dev/null || { echo "$program is not installed: apt-get install slurm-wlm munge" >&2; exit 127; }
done
folder="$(mktemp -d)"
daemons=()
stop() {
  kill "${daemons[@]}" 2> /dev/null || true
  wait "${daemons[@]}" 2> /dev/null || true
  rm -rf "$folder"
}
trap stop EXIT
mkdir "$folder/munge" "$folder/state" "$folder/spool"
head -c 1024 /dev/urandom > "$folder/munge/key"
chmod 0700 "$folder/munge" && chmod 0600 "$folder/munge/key" && chmod 0755 "$folder"
cat > "$folder/slurm.conf" << CONF
ClusterName=here
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmctldPort=$((21000 + RANDOM % 5000))
SlurmdPort=$((26000 + RANDOM % 5000))
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
export SLURM_CONF="$folder/slurm.conf"
munged --foreground --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" \
  --pid-file="$folder/munge/pid" --seed-file="$folder/munge/seed" --log-file="$folder/munge/log" 2> /dev/null &
daemons+=("$!")
until [ -S "$folder/munge/socket" ]; do sleep 0.1; done
slurmctld -D > "$folder/slurmctld.log" 2>&1 &
daemons+=("$!")
slurmd -D -N "$(hostname -s)" > "$folder/slurmd.log" 2>&1 &
daemons+=("$!")
for ((second = 0; second < 60; second++)); do
  if sinfo --noheader --format=%t 2> /dev/null | grep -q idle; then
    "$@"
    exit
  fi
  sleep 1
done
echo "SLURM did not start within a minute:" >&2
tail -n 20 "$folder/munge/log" "$folder/slurmctld.log" "$folder/slurmd.log" >&2
exit 1
