#!/usr/bin/env bash
# A job of SLURM, each task a process with its share of the work: sbatch --ntasks=4 launch/slurm.sh COMMAND…
# GPUs (not tried): a study, --gpus-per-task=1; a training, in which JAX gives each task the GPU of its number on the
# node, --ntasks-per-node=4 --gpus-per-node=4. Two minutes before its time is over, a training is told to save and
# stop; the same command goes on from there, with any number of tasks. The folder must be one that all nodes see.
#SBATCH --job-name=latentfp
#SBATCH --signal=TERM@120
#SBATCH --open-mode=append
set -euo pipefail
exec srun --kill-on-bad-exit=0 "$@"
