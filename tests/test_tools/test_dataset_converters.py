"""The converters of data sets, run as docs/datasets.md tells."""

from __future__ import annotations

import csv
import re
import shlex
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cmmasksd.apis.running import prepare_config
from cmmasksd.datasets.refer import load_refer
from cmmasksd.registry import DATASETS
from cmmasksd.shipped import open_config
from tests.test_tools.running import ROOT, run_tool
from tests.untrained import make_run

NUM_PICTURES = 10
CONVERTER = 'tools/dataset_converters/convert_custom.py'


def commands() -> dict[str, list[str]]:
    """The words of the document's commands after ``python``, by the script they call."""
    blocks = re.findall(r'```bash\n(.*?)```', (ROOT / 'docs/datasets.md').read_text(), re.DOTALL)
    words = [shlex.split(block.replace('\\\n', ' ')) for block in blocks]
    return {command[1]: command[1:] for command in words if command[0] == 'python'}


@pytest.fixture(scope='module')
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with a bright square on the left or on the right, their masks, and a table of both."""
    folder, rng = tmp_path_factory.mktemp('source'), np.random.default_rng(0)
    rows = []
    for number in range(NUM_PICTURES):
        picture = rng.integers(0, 100, (64, 96, 3), np.uint8)
        for side, left in (('left', 8), ('right', 60)):
            mask = np.zeros((64, 96), np.uint8)
            mask[20:44, left : left + 24] = 255
            picture[mask > 0] = 200
            Image.fromarray(mask).save(folder / f'{number}_{side}.png')
            rows += [
                (f'{number}.jpg', f'{number}_{side}.png', sentence)
                for sentence in (f'{side} square', f'the square on the {side}')
            ]
        Image.fromarray(picture).save(folder / f'{number}.jpg')
    with (folder / 'my_table.csv').open('w', newline='') as file:
        csv.writer(file).writerows([('image', 'mask', 'sentence'), *rows])
    return folder / 'my_table.csv'


@pytest.fixture(scope='module')
def made(table: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Where the document's command put the set, and what it printed."""
    root = tmp_path_factory.mktemp('mine')
    words = {'my_table.csv': table, 'data/mine': root}
    done = run_tool(*(words.get(word, word) for word in commands()[CONVERTER]))
    return root, done.stdout


def test_the_counts_are_printed(made: tuple[Path, str]) -> None:
    assert 'train: 9 images, 18 refs, 36 sentences\n' in made[1]
    assert 'val: 1 images, 2 refs, 4 sentences\n' in made[1]


def test_the_config_builds_the_set(made: tuple[Path, str]) -> None:
    root, printed = made
    assert f'Next: cmmasksd train {root}/my_set.py' in printed and 'expect poor masks' in printed
    cfg = open_config(root / 'my_set.py')
    sizes = [len(DATASETS.build(cfg[f'{loader}_dataloader'].dataset)) for loader in ('train', 'val', 'test')]
    assert sizes == [18, 1, 1] and cfg.test_cfg.splits == ['val']
    assert cfg.train_dataloader.dataset.data_root == str(root) and cfg.train_dataloader.batch_size == 4
    assert set(cfg) == set(open_config('vit-tiny_refshapes'))
    prepare_config(cfg)


def test_the_config_moves_with_the_set(made: tuple[Path, str], tmp_path: Path) -> None:
    shutil.copytree(made[0], tmp_path / 'moved')
    cfg = open_config(tmp_path / 'moved/my_set.py')
    assert cfg.val_dataloader.dataset.data_root == str(tmp_path / 'moved')


def test_it_can_start_from_trained_weights(table: Path, tmp_path: Path) -> None:
    checkpoint = make_run(tmp_path)
    command = (CONVERTER, table, '--out', tmp_path / 'a', '--dataset', 'a', '--weights', checkpoint)
    done = run_tool(*command)
    assert f'It starts from {checkpoint}.' in done.stdout
    cfg = open_config(tmp_path / 'a/a.py')
    assert cfg.load_from == str(checkpoint) and cfg.train_dataloader.dataset.dataset == 'a'
    cfg.dump(tmp_path / 'second.py')
    again = run_tool(*command, '--force', check=False)
    assert 'holds several configs (second.py, vit-tiny_refshapes.py)' in again.stderr and again.returncode == 1


def test_a_set_can_be_converted_for_faster_loading(made: tuple[Path, str]) -> None:
    root, _ = made
    before = load_refer(root, 'my_set', 'custom')
    words = {'data/refer': root, 'refcoco': 'my_set', 'unc': 'custom'}
    done = run_tool(*(words.get(word, word) for word in commands()['tools/dataset_converters/convert_refer.py']))
    assert f'{root}/my_set/refs(custom).safetensors' in done.stdout
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert load_refer(root, 'my_set', 'custom') == before


@pytest.mark.parametrize(
    ('command', 'message'),
    [
        (
            ('convert_refer.py', 'nowhere'),
            'Error: nowhere/refcoco/refs(unc).p and nowhere/refcoco/instances.json not found',
        ),
        (('convert_custom.py', 'none.csv', '--out', 'nowhere', '--dataset', 'x'), 'Error: there is no table none.csv'),
    ],
)
def test_mistakes_are_told_without_a_traceback(command: tuple[str, ...], message: str) -> None:
    done = run_tool(f'tools/dataset_converters/{command[0]}', *command[1:], check=False)
    assert done.returncode == 1 and message in done.stderr and 'Traceback' not in done.stderr
    assert not (ROOT / 'nowhere').exists()


@pytest.mark.slow
def test_a_table_becomes_a_model_that_answers(made: tuple[Path, str], table: Path, tmp_path: Path) -> None:
    """convert, train, segment; the page is tested by itself."""
    root, _ = made
    short = ('train_cfg.max_epochs=1', 'param_scheduler.0.end=2', 'param_scheduler.1.begin=2')
    options = (*short, 'train_cfg.val_interval=1', 'default_hooks.checkpoint.interval=1')
    work_dir = tmp_path / 'run'
    done = run_tool('-m', 'cmmasksd', 'train', root / 'my_set.py', '--work-dir', work_dir, '--cfg-options', *options)
    (best,) = work_dir.glob('best_mIoU_*.pth')
    assert f'Next: cmmasksd web --weights {best}' in done.stdout
    picture = table.parent / '0.jpg'
    done = run_tool(
        '-m', 'cmmasksd', 'segment', picture, '--say', 'left square', '--weights', best, '--out-dir', tmp_path / 'out'
    )
    assert (tmp_path / 'out/0.json').is_file() and f'{picture}: ' in done.stdout


@pytest.mark.slow
def test_the_benchmark_of_annotations_prints_ratios() -> None:
    done = run_tool('tools/analysis_tools/benchmark_annotations.py', '--scale', '0.002', '--repeats', '1')
    ratios = re.findall(r'(load_refer|RefCOCODataset) +converted is (\d+\.\d) times as fast', done.stdout)
    assert [name for name, _ in ratios] == ['load_refer', 'RefCOCODataset'] and 'MiB' in done.stdout
