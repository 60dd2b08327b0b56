#!/usr/bin/env bash
# Trains with GPUS processes on this machine: one GPU each, or a share of the cores each where there are no GPUs.
#     bash tools/dist_train.sh CONFIG GPUS [further arguments of tools/train.py]
# Several machines: run it on each with NNODES, NODE_RANK, MASTER_ADDR and PORT set.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
[ $# -ge 2 ] || fail 'usage: bash tools/dist_train.sh CONFIG GPUS [further arguments of tools/train.py]'

launch "$2" "$root/tools/train.py" "$1" --launcher pytorch "${@:3}"
