#!/usr/bin/env bash
# Trains under Slurm, one process a GPU.
#     [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=5] [SRUN_ARGS=...] \
#         bash tools/slurm_train.sh PARTITION JOB CONFIG [further arguments of tools/train.py]
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
[ $# -ge 3 ] ||
    fail 'usage: bash tools/slurm_train.sh PARTITION JOB CONFIG [further arguments of tools/train.py]'

submit "$1" "$2" "$root/tools/train.py" "$3" --launcher slurm "${@:4}"
