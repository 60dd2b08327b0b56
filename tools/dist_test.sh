#!/usr/bin/env bash
# Evaluates a checkpoint with GPUS processes on this machine: one GPU each, or a share of the cores each where there are
# no GPUs.
#     bash tools/dist_test.sh CONFIG CHECKPOINT GPUS [further arguments of tools/test.py]
# Several machines: run it on each with NNODES, NODE_RANK, MASTER_ADDR and PORT set.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
[ $# -ge 3 ] || fail 'usage: bash tools/dist_test.sh CONFIG CHECKPOINT GPUS [further arguments of tools/test.py]'

launch "$3" "$root/tools/test.py" "$1" "$2" --launcher pytorch "${@:4}"
