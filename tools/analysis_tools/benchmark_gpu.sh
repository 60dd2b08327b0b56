#!/usr/bin/env bash
# All that is to be measured on a GPU: ViT-B/16 at 576 and ViT-L/14 at 532, bfloat16, training steps of 32 images,
# evaluation as large as RefCOCO val's (1,500 images, 10,834 expressions); then what is to be chosen by device: orders
# of enlarging and convolving, TF32, cuDNN's search, compilation, workers and pinned memory; and profiles. A quarter of
# an hour or more on an H200. Prints tables and keeps every sample; `of floor` is the model FLOP utilisation.
# Each measurement has a process of its own. What fails, as what does not fit the GPU's memory, or takes longer than
# LIMIT seconds (300), is named at the end, and the rest is measured.
#     bash tools/analysis_tools/benchmark_gpu.sh [OUT]            # OUT: where results go (work_dirs/benchmark_gpu)
#     bash tools/analysis_tools/benchmark_gpu.sh --smoke [OUT]    # the quick start's small model, a minute, anywhere
#     ONLY='vit-b_576 kernels' bash tools/analysis_tools/benchmark_gpu.sh    # some of them, by the names below
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../environment.sh"
python=$(project_python) || exit
find_package

failed=
measure() {
    local name=$1 config=$2 begun=$SECONDS
    shift 2
    case " ${ONLY:-$name} " in *" $name "*) ;; *) return 0 ;; esac
    echo "==> $name"
    timeout "${LIMIT:-300}" "$python" "$root/tools/analysis_tools/benchmark.py" \
        "$root/configs/cm_masksd/$config.py" --out "$out/$name" "$@" ||
        failed="$failed $name"
    echo "==> $name: $((SECONDS - begun)) s"
}

finish() {
    [ -z "$failed" ] || fail "not measured, for the reasons above:$failed"
}

if [ "${1:-}" = --smoke ]; then
    out=${2:-$root/work_dirs/benchmark_gpu_smoke}
    measure vit-tiny vit-tiny_refshapes --amp --batch-size 2 --repeats 1 --expressions 2 --val-images 3 \
        --only training evaluation validation
    finish
    exit
fi

"$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' ||
    fail 'benchmark_gpu.sh needs a GPU that torch can use; --smoke runs the same path without one'
out=${1:-$root/work_dirs/benchmark_gpu}
cores=$(nproc)
checkpointing=(model.backbone.activation_checkpointing=True model.text_encoder.activation_checkpointing=True)
measure vit-b_576 vit-b_refcoco --amp --batch-size 32 --repeats 7 --expressions 1 8 \
    --only training evaluation validation
measure kernels vit-b_refcoco --repeats 7 --expressions 8 32 --only kernels
measure settings vit-b_refcoco --batch-size 16 --repeats 5 --only settings
measure profile vit-b_refcoco --amp --batch-size 16 --expressions 7 --only profile
measure vit-l_532_checkpointing vit-l_refcoco --amp --batch-size 32 --repeats 4 --only training \
    --cfg-options "${checkpointing[@]}"
measure vit-l_532_evaluation vit-l_refcoco --amp --batch-size 32 --repeats 7 --expressions 1 8 \
    --only evaluation validation
# by computation it needs 119 GB: what the allocator cannot use between its blocks must not be what is missing
PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True measure vit-l_532 vit-l_refcoco --amp --batch-size 32 --repeats 4 \
    --only training
measure vit-b_576_float32 vit-b_refcoco --batch-size 32 --repeats 5 --expressions 1 8 --only evaluation
measure vit-l_532_float32 vit-l_refcoco --batch-size 32 --repeats 5 --expressions 1 8 --only evaluation
measure loading vit-b_refcoco --amp --batch-size 32 --repeats 8 --workers "$cores" --only loading data
measure vit-b_576_compiled vit-b_refcoco --amp --batch-size 8 --repeats 7 --compile --only training
measure vit-l_532_plain vit-l_refcoco --amp --batch-size 4 --repeats 3 --expressions 8 --baseline \
    --only training evaluation
finish
