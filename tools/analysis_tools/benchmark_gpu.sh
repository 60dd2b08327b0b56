#!/usr/bin/env bash
# All that is to be measured on a GPU: ViT-B/16 at 576 and ViT-L/14 at 532, bfloat16, training steps of 32 images and an
# evaluation as large as RefCOCO val's (1,500 images, 10,834 expressions). Prints tables and keeps every sample;
# `of floor` is the model FLOP utilisation.
# What does not fit the GPU's memory is named at the end, the rest is measured.
#     bash tools/analysis_tools/benchmark_gpu.sh [OUT]            # OUT: where results go (work_dirs/benchmark_gpu)
#     bash tools/analysis_tools/benchmark_gpu.sh --smoke [OUT]    # the quick start's small model, a minute, anywhere
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
python=$(project_python) || exit
find_package

failed=
measure() {
    local name=$1 config=$2
    shift 2
    echo "==> $name"
    "$python" "$root/tools/analysis_tools/benchmark.py" "$root/configs/cm_masksd/$config.py" \
        --amp --out "$out/$name" "$@" ||
        failed="$failed $name"
}

finish() {
    [ -z "$failed" ] || fail "not measured, for the reasons above:$failed"
}

if [ "${1:-}" = --smoke ]; then
    out=${2:-$root/work_dirs/benchmark_gpu_smoke}
    measure vit-tiny vit-tiny_refshapes --batch-size 2 --repeats 1 --expressions 2 --val-images 3 \
        --only training evaluation validation
    finish
    exit
fi

"$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' ||
    fail 'benchmark_gpu.sh needs a GPU that torch can use; --smoke runs the same path without one'
out=${1:-$root/work_dirs/benchmark_gpu}
measure vit-b_576 vit-b_refcoco --batch-size 32 --repeats 10 --expressions 1 8 --only training evaluation validation
measure vit-l_532_evaluation vit-l_refcoco --batch-size 32 --repeats 10 --expressions 1 8 --only evaluation validation
measure vit-l_532_checkpointing vit-l_refcoco --batch-size 32 --repeats 10 --only training --cfg-options \
    model.backbone.activation_checkpointing=True model.text_encoder.activation_checkpointing=True
measure vit-l_532_plain vit-l_refcoco --batch-size 4 --repeats 5 --expressions 8 --baseline --only training evaluation
measure vit-b_576_compiled vit-b_refcoco --batch-size 8 --repeats 5 --compile --only training
measure vit-l_532 vit-l_refcoco --batch-size 32 --repeats 10 --only training # last: by computation it needs 119 GB
finish
