"""A run finds its own files again, and no others, wherever its folder is copied or moved to."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mmengine.runner import Runner

from cmmasksd.checkpoints import CheckpointError, load_checkpoint_file
from cmmasksd.engine.checkpoints.own_folder import checkpoint_folder, file_name, find_last
from tests.test_engine.toy_run import make_run

KEPT = dict(by_epoch=True, max_keep_ckpts=2, save_best='mIoU', rule='greater')


def train(work_dir: Path, epochs: int, scores: list[float], resume: bool = False, **checkpoint: Any) -> Runner:
    runner = make_run(
        work_dir,
        resume=resume,
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        scores=scores,
        checkpoint={**KEPT, **checkpoint},
    )
    runner.train()
    return runner


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob('*.pth'))


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (text for pair in value.items() for part in pair for text in strings(part))
    elif isinstance(value, (list, tuple)):
        yield from (text for part in value for text in strings(part))


@pytest.mark.parametrize('hook', ['AtomicCheckpointHook', 'mmengine.CheckpointHook'], ids=['ours', "mmengine's"])
def test_a_copied_run_and_a_moved_one_go_on_with_their_own_files(hook: str, tmp_path: Path) -> None:
    """Also where mmengine's hook wrote absolute paths before."""
    first, copy, moved = tmp_path / 'first', tmp_path / 'copy', tmp_path / 'moved'
    train(first, 2, [5.0, 6.0], type=hook)
    assert checkpoints(first) == ['best_mIoU_epoch_2.pth', 'epoch_1.pth', 'epoch_2.pth']
    shutil.copytree(first, copy)
    before = contents(first)

    resumed = train(copy, 4, [7.0, 1.0], resume=True)
    assert len(resumed.model.heard) == 6
    assert checkpoints(copy) == ['best_mIoU_epoch_3.pth', 'epoch_3.pth', 'epoch_4.pth']
    assert contents(first) == before

    first.rename(moved)
    before = contents(copy)
    resumed = train(moved, 3, [1.0], resume=True)
    assert len(resumed.model.heard) == 3
    assert checkpoints(moved) == ['best_mIoU_epoch_2.pth', 'epoch_2.pth', 'epoch_3.pth']
    assert contents(copy) == before and not first.exists()


def test_a_copy_whose_other_folder_is_gone_keeps_its_best_until_there_is_a_better(tmp_path: Path) -> None:
    train(tmp_path / 'a', 2, [5.0, 4.0])
    (tmp_path / 'a').rename(tmp_path / 'b')
    train(tmp_path / 'b', 3, [4.0, 4.5], resume=True)  # the last validation left no trace and is repeated
    assert 'best_mIoU_epoch_1.pth' in checkpoints(tmp_path / 'b')
    train(tmp_path / 'b', 4, [4.5, 9.0], resume=True)
    assert checkpoints(tmp_path / 'b') == ['best_mIoU_epoch_4.pth', 'epoch_3.pth', 'epoch_4.pth']


def test_several_best_ones_are_each_ones_own(tmp_path: Path) -> None:
    both = dict(save_best=['mIoU', 'oIoU'], rule='greater')
    train(tmp_path / 'a', 2, [5.0, 6.0], **both)
    shutil.copytree(tmp_path / 'a', tmp_path / 'b')
    before = contents(tmp_path / 'a')
    train(tmp_path / 'b', 4, [4.0, 7.0], resume=True, **both)
    best = [name for name in checkpoints(tmp_path / 'b') if name.startswith('best')]
    assert best == ['best_mIoU_epoch_4.pth', 'best_oIoU_epoch_3.pth'] and contents(tmp_path / 'a') == before


def test_checkpoints_of_a_run_name_no_folder(tmp_path: Path) -> None:
    train(tmp_path / 'a', 2, [5.0, 6.0])
    assert (tmp_path / 'a' / 'last_checkpoint').read_text() == 'epoch_2.pth'
    for name in checkpoints(tmp_path / 'a'):
        hub = load_checkpoint_file(tmp_path / 'a' / name)['message_hub']
        assert not [text for text in strings(hub) if '/' in text and str(tmp_path) in text]
    info = hub['runtime_info']
    assert (info['best_ckpt'], info['last_ckpt']) == ('best_mIoU_epoch_2.pth', 'epoch_2.pth')


def test_checkpoints_elsewhere_are_found_by_the_name_of_the_work_dir(tmp_path: Path) -> None:
    out = dict(out_dir=str(tmp_path / 'big disk'))
    train(tmp_path / 'a', 2, [5.0, 6.0], **out)
    assert checkpoints(tmp_path / 'a') == [] and len(checkpoints(tmp_path / 'big disk' / 'a')) == 3
    assert len(train(tmp_path / 'a', 3, [7.0], resume=True, **out).model.heard) == 3
    shutil.copytree(tmp_path / 'a', tmp_path / 'b')
    with pytest.raises(CheckpointError, match=r'b/last_checkpoint names epoch_3.pth, which does not lie in .*disk/b'):
        train(tmp_path / 'b', 4, [8.0], resume=True, **out)
    before = contents(tmp_path / 'big disk' / 'a')
    shutil.copytree(tmp_path / 'big disk' / 'a', tmp_path / 'big disk' / 'b')
    assert len(train(tmp_path / 'b', 4, [8.0], resume=True, **out).model.heard) == 3
    assert contents(tmp_path / 'big disk' / 'a') == before


def test_a_checkpoint_of_another_folder_is_resumed_by_its_path_and_that_folder_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path / 'a', 2, [5.0, 6.0])
    before = contents(tmp_path / 'a')
    options = dict(train_cfg=dict(by_epoch=True, max_epochs=4), checkpoint={**KEPT, 'published_keys': ['state_dict']})
    source = str(tmp_path / 'a' / 'epoch_2.pth')
    make_run(tmp_path / 'b', load_from=source, resume=True, scores=[1.0, 2.0], log_level='INFO', **options).train()
    assert 'The best checkpoint so far, best_mIoU_epoch_2.pth, does not lie in' in capsys.readouterr().out
    names = [re.sub(r'-\w{8}', '-hash', name) for name in checkpoints(tmp_path / 'b')]
    assert names == ['epoch_3.pth', 'epoch_4-hash.pth', 'epoch_4.pth'] and contents(tmp_path / 'a') == before


def test_nothing_is_published_of_a_best_one_that_is_elsewhere(tmp_path: Path) -> None:
    both = {**KEPT, 'save_best': ['mIoU', 'oIoU'], 'published_keys': ['state_dict']}
    train(tmp_path / 'a', 1, [5.0], **both)
    source = dict(load_from=str(tmp_path / 'a' / 'epoch_1.pth'), resume=True, scores=[6.0])
    make_run(tmp_path / 'b', train_cfg=dict(by_epoch=True, max_epochs=2), checkpoint=both, **source).train()
    names = [re.sub(r'-\w{8}', '-hash', name) for name in checkpoints(tmp_path / 'b')]
    assert names == ['best_mIoU_epoch_2-hash.pth', 'best_mIoU_epoch_2.pth', 'epoch_2-hash.pth', 'epoch_2.pth']


def test_a_validation_made_up_in_a_copy_is_noted_in_its_own_last_checkpoint(tmp_path: Path) -> None:
    train(tmp_path / 'a', 2, [])
    shutil.copytree(tmp_path / 'a', tmp_path / 'b')
    before = contents(tmp_path / 'a')
    train(tmp_path / 'b', 2, [5.0], resume=True)
    hub = load_checkpoint_file(tmp_path / 'b' / 'epoch_2.pth')['message_hub']['runtime_info']
    assert (hub['best_score'], hub['best_ckpt']) == (5.0, 'best_mIoU_epoch_2.pth')
    assert contents(tmp_path / 'a') == before


def test_the_last_one_of_the_other_folder_is_never_followed(tmp_path: Path) -> None:
    train(tmp_path / 'a', 1, [5.0])
    (tmp_path / 'b').mkdir()
    (tmp_path / 'b' / 'last_checkpoint').write_text(str(tmp_path / 'a' / 'epoch_1.pth'))
    with pytest.raises(CheckpointError, match='names epoch_1.pth, which does not lie in .*b: copy it there, name'):
        train(tmp_path / 'b', 2, [6.0], resume=True)


@pytest.mark.parametrize(
    ('text', 'found'),
    [
        ('epoch_1.pth', True),
        ('epoch_1.pth\n', True),
        ('/elsewhere/epoch_1.pth', True),
        ('../epoch_1.pth', True),
        ('C:\\runs\\epoch_1.pth', True),
        ('epoch_2.pth', False),
        ('', False),
    ],
)
def test_only_the_name_in_last_checkpoint_counts(text: str, found: bool, tmp_path: Path) -> None:
    assert find_last(tmp_path, tmp_path) is None
    (tmp_path / 'epoch_1.pth').touch()
    (tmp_path / 'last_checkpoint').write_text(text)
    if found:
        assert find_last(tmp_path, tmp_path) == tmp_path / 'epoch_1.pth'
        return
    with pytest.raises(CheckpointError, match=file_name(text) or 'names no file'):
        find_last(tmp_path, tmp_path)


def test_the_folder_is_mmengines(tmp_path: Path) -> None:
    assert checkpoint_folder('runs/a', None) == checkpoint_folder('runs/a', 'runs/a') == Path('runs/a')
    assert checkpoint_folder('runs/a/', '/big') == Path('/big/a')
