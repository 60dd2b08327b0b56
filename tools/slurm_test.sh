#!/usr/bin/env bash
# Evaluates a checkpoint under Slurm, one process a GPU.
#     [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=5] [SRUN_ARGS=...] \
#         bash tools/slurm_test.sh PARTITION JOB CONFIG CHECKPOINT [arguments of tools/test.py]
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
[ $# -ge 4 ] ||
    fail 'usage: bash tools/slurm_test.sh PARTITION JOB CONFIG CHECKPOINT [further arguments of tools/test.py]'

submit "$1" "$2" "$root/tools/test.py" "$3" "$4" --launcher slurm "${@:5}"
