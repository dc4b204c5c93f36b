#!/usr/bin/env bash
# One process per node of a SLURM cluster, on all of its GPUs; srun tells pixlab where the others are.
#
#   sbatch launch/slurm.sh              asks for what the lines below say
#   launch/slurm.sh --dry-run           prints the command that starts the nodes
#
#SBATCH --job-name=pixlab
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gres=gpu:8
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

: "${COMMAND:=python -m experiments.depth_nyu alexnet}"
: "${RUN:=$HOME/runs/pixlab}" # on a file system that all nodes share
: "${SLURM_JOB_ID:=}"
: "${SLURM_CPUS_PER_TASK:=1}" # which srun does not take over by itself

# All GPUs of a node belong to its one process; the signal reaches it two minutes before the time is up.
step=(srun --kill-on-bad-exit=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" bash -c "exec $COMMAND --run ${RUN@Q}")
if [[ " $* " == *" --dry-run "* ]]; then
  printf '%q ' "${step[@]}"
  printf '\n'
elif [ -z "$SLURM_JOB_ID" ]; then
  echo "error: start this with: sbatch $0" >&2
  exit 2
else
  "${step[@]}"
  [ -e "$RUN/result.json" ] || scontrol requeue "$SLURM_JOB_ID" # the time was up: once more, from the checkpoint
fi
