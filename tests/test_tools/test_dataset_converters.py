"""The converters of data sets, run as docs/datasets.md tells."""

from __future__ import annotations

import csv
import re
import shlex
import warnings
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from cmmasksd.datasets.refer import load_refer
from cmmasksd.registry import DATASETS
from tests.test_tools.running import ROOT, run_tool

NUM_PICTURES = 10


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
    done = run_tool(*(words.get(word, word) for word in commands()['tools/dataset_converters/convert_custom.py']))
    return root, done.stdout


def test_the_counts_are_printed(made: tuple[Path, str]) -> None:
    assert 'train: 9 images, 18 refs, 36 sentences\n' in made[1]
    assert 'val: 1 images, 2 refs, 4 sentences\n' in made[1]


def test_the_printed_config_builds_the_set(made: tuple[Path, str], tmp_path: Path) -> None:
    root, printed = made
    text = printed[printed.index('_base_') :]
    file = tmp_path / 'my_config.py'
    file.write_text(text.replace("'./", f"'{ROOT}/configs/cm_masksd/"))
    cfg = Config.fromfile(file)
    sizes = [len(DATASETS.build(cfg[f'{loader}_dataloader'].dataset)) for loader in ('train', 'val', 'test')]
    assert (
        sizes == [18, 1, 1] and cfg.test_cfg.splits == ['val'] and cfg.train_dataloader.dataset.data_root == str(root)
    )
    assert cfg.test_cfg.paper is None  # the base's are RefCOCO's numbers
    assert set(cfg) == set(Config.fromfile(ROOT / 'configs/cm_masksd/vit-b_refcoco.py'))


@pytest.mark.parametrize(
    ('counts', 'split', 'splits'),
    [
        ({'train': {}, 'testA': {}}, 'testA', ['testA']),
        ({'train': {}, 'test': {}, 'val': {}}, 'val', ['test', 'val']),
        ({'train': {}}, None, None),
    ],
)
def test_the_printed_config_knows_the_splits(
    tmp_path: Path, counts: dict, split: str | None, splits: list[str] | None
) -> None:
    import runpy

    example_config = runpy.run_path(str(ROOT / 'tools/dataset_converters/convert_custom.py'))['example_config']
    (tmp_path / 'config.py').write_text(
        example_config('r', 'd', 's', counts).replace("'./", f"'{ROOT}/configs/cm_masksd/")
    )
    cfg = Config.fromfile(tmp_path / 'config.py')
    assert (cfg.val_dataloader and cfg.val_dataloader.dataset.split) == split and (
        cfg.test_cfg and cfg.test_cfg.splits
    ) == splits
    assert (cfg.val_cfg is None) == (cfg.val_evaluator is None) == (split is None)


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
def test_the_small_model_trains_on_it(made: tuple[Path, str], tmp_path: Path) -> None:
    root, _ = made
    words = [
        word.replace('data/mine', str(root)).replace('work_dirs/my_set', str(tmp_path))
        for word in commands()['tools/train.py']
    ]
    run_tool(*words, 'train_dataloader.batch_size=4', 'train_cfg.max_epochs=1', 'default_hooks.logger.interval=1')
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert (tmp_path / 'epoch_1.pth').is_file() and '[4/4]' in log and 'mIoU' in log


@pytest.mark.slow
def test_the_benchmark_of_annotations_prints_ratios() -> None:
    done = run_tool('tools/analysis_tools/benchmark_annotations.py', '--scale', '0.002', '--repeats', '1')
    ratios = re.findall(r'(load_refer|RefCOCODataset) +converted is (\d+\.\d) times as fast', done.stdout)
    assert [name for name, _ in ratios] == ['load_refer', 'RefCOCODataset'] and 'MiB' in done.stdout
