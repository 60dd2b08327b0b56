"""The tools, run as a user runs them: train, kill, resume, test, several processes, publish, inference."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from cmmasksd.apis import ReferringInferencer
from cmmasksd.checkpoints import load_checkpoint_file
from tests.test_tools.running import CONFIG, ROOT, environment, run_tool

pytestmark = pytest.mark.slow
METRICS = {'mIoU', 'oIoU', 'Pr@0.5', 'Pr@0.6', 'Pr@0.7', 'Pr@0.8', 'Pr@0.9', 'num_expressions', 'mIoU_deranged'}


def weights(work_dir: Path, epoch: int = 2) -> dict[str, torch.Tensor]:
    return load_checkpoint_file(work_dir / f'epoch_{epoch}.pth')['state_dict']


def assert_equal_weights(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys() and len(one) > 100
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def read_metrics(file: Path) -> dict[str, float]:
    return json.loads(file.read_text())


def test_training_logs_every_branch_and_keeps_the_best(trained: Path) -> None:
    log = next(trained.glob('*/*.log')).read_text()
    for word in ('loss_seg', 'loss_lmvsd', 'loss_vmlsd', 'eta', 'mIoU'):
        assert word in log
    assert len(list(trained.glob('best_mIoU_epoch_*.pth'))) == 1


def test_resume_after_kill_equals_an_uninterrupted_run(trained: Path, options: list[str], tmp_path: Path) -> None:
    command = [sys.executable, 'tools/train.py', CONFIG, '--work-dir', str(tmp_path)]
    running = subprocess.Popen(
        [*command, *options], cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while not (tmp_path / 'last_checkpoint').exists() and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    assert (tmp_path / 'epoch_1.pth').exists() and not (tmp_path / 'epoch_2.pth').exists()
    run_tool(*command[1:], '--resume', 'auto', *options)
    assert_equal_weights(weights(tmp_path), weights(trained))


WATCHED = """
import runpy, sys
from cmmasksd.models import ReferringSegmentor
fuse = ReferringSegmentor.fuse
def watched(self, *arguments, **options):
    fused = fuse(self, *arguments, **options)
    print('fused in', 'training' if self.training else 'evaluation', fused.dtype)
    return fused
ReferringSegmentor.fuse = watched
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


def dtypes_of(tool: str, *arguments: object) -> dict[str, set[str]]:
    """The dtypes inside the model, in training and in evaluation, while a tool runs."""
    lines = run_tool('-c', WATCHED, f'tools/{tool}', CONFIG, *arguments).stdout.splitlines()
    found = [line.removeprefix('fused in ').split() for line in lines if line.startswith('fused in ')]
    return {mode: {dtype for other, dtype in found if other == mode} for mode, _ in found}


def test_amp_reaches_training_validation_and_tests(trained: Path, options: list[str], tmp_path: Path) -> None:
    one_epoch = [*options, 'train_cfg.max_epochs=1', 'param_scheduler.0.end=2']
    found = dtypes_of('train.py', '--amp', '--work-dir', tmp_path, *one_epoch)
    assert found == {'training': {'torch.bfloat16'}, 'evaluation': {'torch.bfloat16'}}
    assert all(torch.isfinite(tensor).all() for tensor in weights(tmp_path, epoch=1).values())
    test = ('test.py', trained / 'epoch_2.pth', '--work-dir', tmp_path)
    assert dtypes_of(*test, *options) == {'evaluation': {'torch.float32'}}
    assert dtypes_of(*test, '--amp', *options) == {'evaluation': {'torch.bfloat16'}}


def test_test_prints_a_table_and_writes_panels_alike_on_one_and_two_processes(
    trained: Path, options: list[str], tmp_path: Path
) -> None:
    checkpoint = trained / 'epoch_2.pth'
    each_alone = [*options, 'test_dataloader.batch_size=1']
    one, two = tmp_path / 'one.json', tmp_path / 'two.json'
    shown = ['--out', one, '--show-dir', tmp_path / 'panels', '--work-dir', tmp_path / 'one']
    done = run_tool('tools/test.py', CONFIG, checkpoint, *shown, *each_alone, 'default_hooks.visualization.interval=2')
    run_tool('tools/dist_test.sh', CONFIG, checkpoint, 2, '--out', two, '--work-dir', tmp_path / 'two', *each_alone)
    metrics = read_metrics(one)
    assert {name.split('/')[1] for name in metrics} == METRICS and len(metrics) == 3 * len(METRICS)
    assert metrics == read_metrics(two)
    assert all(split in done.stdout + done.stderr for split in ('val', 'testA', 'testB', 'mIoU_deranged'))
    assert len(list((tmp_path / 'panels').rglob('*.png'))) >= 3


def test_two_processes_train(options: list[str], tmp_path: Path) -> None:
    run_tool(
        'tools/dist_train.sh',
        CONFIG,
        2,
        '--work-dir',
        tmp_path,
        *options,
        'train_cfg.max_epochs=1',
        'train_dataloader.batch_size=8',
    )
    assert len(weights(tmp_path, epoch=1)) > 100


def test_a_checkpoint_of_another_model_is_refused(trained: Path, options: list[str], tmp_path: Path) -> None:
    narrow = [*options, 'model.decode_head.feedforward_channels=128']
    done = run_tool('tools/test.py', CONFIG, trained / 'epoch_2.pth', '--work-dir', tmp_path, *narrow, check=False)
    assert done.returncode != 0 and 'weights of another model' in done.stderr


def test_an_unknown_split_is_refused(trained: Path, options: list[str], tmp_path: Path) -> None:
    done = run_tool(
        'tools/test.py',
        CONFIG,
        trained / 'epoch_2.pth',
        '--splits',
        'testC',
        '--work-dir',
        tmp_path,
        *options,
        check=False,
    )
    assert done.returncode != 0 and 'testC' in done.stderr and 'testA' in done.stderr


def test_a_published_model_answers_as_the_trained_one(trained: Path, refshapes_root: Path, tmp_path: Path) -> None:
    published = Path(run_tool('tools/misc/publish_model.py', trained / 'epoch_2.pth', tmp_path / 'tiny').stdout.strip())
    assert published.stat().st_size < 0.6 * (trained / 'epoch_2.pth').stat().st_size
    picture = min((refshapes_root / 'images' / 'train2014').iterdir())
    expressions = ['the leftmost shape', 'red circle']
    one, two = (
        ReferringInferencer(CONFIG, file, device='cpu')(picture, expressions)[0]
        for file in (published, trained / 'epoch_2.pth')
    )
    assert (
        one.masks.shape == (2, *one.image.shape[:2])
        and one.masks.dtype == bool
        and one.probabilities.dtype == np.float32
    )
    assert np.array_equal(one.probabilities, two.probabilities)


def test_print_config_resolves_bases() -> None:
    assert "type='VMLSD'" in run_tool('tools/misc/print_config.py', 'configs/cm_masksd/vit-l_refcoco+.py').stdout


HELPFUL = [
    'train.py',
    'test.py',
    'analysis_tools/analyze_logs.py',
    'analysis_tools/benchmark.py',
    'analysis_tools/browse_dataset.py',
    'analysis_tools/compatibility.py',
    'analysis_tools/get_flops.py',
    'analysis_tools/trace_training.py',
    'dataset_converters/convert_custom.py',
    'misc/print_config.py',
    'misc/publish_model.py',
    'model_converters/cris2cmmasksd.py',
]


@pytest.mark.parametrize('tool', HELPFUL)
def test_help_does_not_import_the_models(tool: str) -> None:
    code = (
        f"import runpy, sys; sys.argv = ['x', '--help']; sys.path.insert(0, '{Path('tools', tool).parent}')\n"
        f"try: runpy.run_path('tools/{tool}', run_name='__main__')\n"
        "except SystemExit: print('open_clip' in sys.modules, 'cmmasksd.models' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[-2:] == ['False', 'False']
