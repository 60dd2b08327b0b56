#!/usr/bin/env bash
# From nothing but Python and pip to a trained and evaluated model: environment, synthetic data, training, table,
# panels.
#     bash tools/quickstart.sh [--fresh] [further arguments of tools/train.py]
# Run again, it reuses what is there and resumes an interrupted training; --fresh trains anew.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/environment.sh"

config=configs/cm_masksd/resnet-tiny_refshapes-benchmark.py
data=data/refshapes
work_dir=work_dirs/quickstart

best_checkpoint() {
    ls -t "$work_dir"/best_mIoU_*.pth | head -n 1
}

# Three epochs where the device is faster in bfloat16, and two where it is not: about as many minutes.
pace() {
    "$python" -c 'import torch; from cmmasksd.precision import choose_precision as choose
fast = choose("auto", "cuda" if torch.cuda.is_available() else "cpu") == "bfloat16"
print("--amp" if fast else "--cfg-options train_cfg.max_epochs=2")'
}

train() {
    # shellcheck disable=SC2046  # pace gives several words
    "$python" tools/train.py "$config" --work-dir "$work_dir" --resume auto $(pace) "$@" &&
        touch "$work_dir/finished"
}

cd "$root"
if [ "${1:-}" = --fresh ]; then
    rm -rf "$work_dir"
    shift
fi

echo 'Quick start, in four steps: environment, data, training, evaluation.'
make_environment onedl
"$python" -c 'import skimage' 2>/dev/null ||
    step 'installing scikit-image, whose photographs are the grounds of the pictures' \
        fill_venv "$(dirname "$(dirname "$python")")" scikit-image
step "making RefShapes' benchmark, a synthetic data set, in $data: some minutes, or at once if it is there" \
    "$python" -m cmmasksd.datasets.refshapes "$data" --benchmark --seed 0
if [ -e "$work_dir/finished" ]; then
    echo "==> reusing the finished training in $work_dir (--fresh trains anew)"
else
    step "training $config into $work_dir: some eight minutes on two idle CPU cores; the log tells what is left" \
        train "$@"
fi
step 'evaluating on val and four test splits: a minute or two' \
    "$python" tools/test.py "$config" "$(best_checkpoint)" --work-dir "$work_dir" --show-dir "$work_dir/panels"

cat <<END

Done. testA asks by attribute, testB by position, testC by relation, testD in words that training did not hold. Loc is
the share of masks that lie on the right object, however their edges run. mIoU_deranged scores each mask against another
object of its image: far below mIoU, it shows that the sentence decides.
  panels (picture, prediction, ground truth): $root/$work_dir/panels
  checkpoint: $root/$(best_checkpoint)
Train on two processes: bash tools/dist_train.sh $config 2
END
