"""Every block of Python and bash in the documents is run, or parsed where it says why it is not."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cmmasksd.apis import ReferringInferencer
from cmmasksd.cfg_options import merge_options
from cmmasksd.engine.checks import check_config
from cmmasksd.shipped import open_config
from tests.test_docs.code_blocks import BLOCKS, ROOT, Block
from tests.test_docs.commands import configs_of, overrides_of, read_commands, unknown_options
from tests.untrained import MODEL, make_pictures, make_run

RUN = [block for block in BLOCKS if block.reason is None]
COMMANDS = [(block, command) for block in BLOCKS if block.language == 'bash' for command in read_commands(block.source)]
PICTURES = ('zebras.jpg', 'a.jpg', 'b.jpg', 'holidays/c.jpg', 'old/d.png', 'photos/street.jpg', 'photos/park.jpg')
# What the pages name is a large model; the same lines run with one that is built in a second.
SMALL = {'vit-b_refcoco': MODEL}


def test_there_are_blocks_of_both_kinds_and_most_of_python_is_run() -> None:
    python = [block for block in BLOCKS if block.language == 'python']
    run = [block for block in python if block.reason is None]
    assert len(BLOCKS) > 60 and len(COMMANDS) > 50
    assert len(run) > 20 and len(run) > 0.7 * len(python)
    assert sum(block.language == 'bash' for block in RUN) >= 5
    assert all(len(block.reason) > 5 for block in BLOCKS if block.reason is not None)


@pytest.mark.parametrize('block', BLOCKS, ids=str)
def test_it_parses(block: Block) -> None:
    if block.language == 'python':
        ast.parse(block.source)
    else:
        done = subprocess.run(['bash', '-n'], input=block.source, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(('block', 'command'), COMMANDS, ids=lambda value: str(value) if value else None)
def test_tools_have_the_options(block: Block, command: list[str]) -> None:
    assert not unknown_options(command), f'{block}: {" ".join(command)}'


@pytest.mark.parametrize('options', ['--such', '--splits', '--save'])
def test_an_option_that_is_not_there_is_found(options: str) -> None:
    found = unknown_options(['python', 'tools/test.py', 'vit-b_refcoco', 'best.pth', options])
    assert found == ([] if options == '--splits' else [options])


def test_overrides_fit_their_configs() -> None:
    tried = 0
    for _, command in COMMANDS:
        names, given = configs_of(command), overrides_of(command)
        if names and given:
            cfg = open_config(names[0])
            merge_options(cfg, given)
            check_config(cfg)
            tried += 1
    assert tried >= 5


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the pages speak of: pictures, tables, a published model, and runs of a model that was never trained."""
    folder = tmp_path_factory.mktemp('pages')
    (picture,) = make_pictures(folder, 1)
    for name in PICTURES:
        (folder / name).parent.mkdir(exist_ok=True)
        Image.open(folder / picture).save(folder / name)
    best = make_run(folder)
    run = folder / 'work_dirs/mine'
    run.mkdir(parents=True)
    shutil.copy(best, folder / 'checkpoint.pth')
    shutil.copy(best, run / 'best_mIoU_epoch_9.pth')
    shutil.copy(folder / f'{MODEL}.py', run)
    write_tables(folder)
    publish(folder)
    for name in ('configs', 'tools', 'demo', 'requirements'):
        (folder / name).symlink_to(ROOT / name)
    return folder


def write_tables(folder: Path) -> None:
    row = json.dumps(dict(image='zebras.jpg', sentences=['left zebra']))
    (folder / 'table.jsonl').write_text(f'{row}\n')
    mask = np.zeros((20, 30), np.uint8)
    mask[5:12, 5:12] = 255
    (folder / 'masks').mkdir()
    Image.fromarray(mask).save(folder / 'masks/street_1.png')
    (table,) = (block for block in fenced_csv(ROOT / 'docs/own_data.md'))
    (folder / 'my_table.csv').write_text(table.replace('30, 5, 30, 25, 10, 25', '20, 5, 20, 15, 10, 15'))


def fenced_csv(page: Path) -> list[str]:
    return [part.partition('```')[0] for part in page.read_text().split('```csv\n')[1:]]


def publish(folder: Path) -> None:
    tool = [sys.executable, ROOT / 'tools/misc/publish_model.py', folder / 'best.pth', folder / 'my-model']
    subprocess.run([*tool, '--format', 'safetensors'], check=True, capture_output=True, cwd=folder, env=environment())


def environment() -> dict[str, str]:
    """Commands find this environment's Python and this checkout."""
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
    return {**os.environ, 'PATH': paths, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}


def small(source: str) -> str:
    for large, tiny in SMALL.items():
        source = source.replace(large, tiny)
    return source


@pytest.mark.parametrize('page', list(dict.fromkeys(block.page for block in RUN)), ids=lambda page: page.name)
def test_it_runs(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Page by page: a block knows what those above it have defined."""
    monkeypatch.chdir(folder)
    namespace = dict(__name__='__page__', pairs=[('a.jpg', ['left zebra'])], paths=['a.jpg', 'b.jpg'])
    for block in (block for block in RUN if block.page == page):
        if block.language == 'bash':
            run_commands(block, folder)
        else:
            exec(compile(small(block.source), str(block), 'exec', dont_inherit=True), namespace)


def run_commands(block: Block, folder: Path) -> None:
    shutil.rmtree(folder / 'data', ignore_errors=True)  # each page converts the same table anew
    command = ['bash', '-euc', small(block.source)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f'{block}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}'


def test_what_ran_left_masks(folder: Path) -> None:
    """The blocks above did what they say: files were written by Python and by the command."""
    (result,) = ReferringInferencer(folder / 'best.pth')(str(folder / 'a.jpg'), ['left zebra', 'the tree'])
    assert result.masks.shape == (2, 20, 30)
