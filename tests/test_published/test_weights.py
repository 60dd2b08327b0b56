"""A published model's files: exactly its weights, or a sentence that says what is wrong."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from cmmasksd.apis import ReferringInferencer
from cmmasksd.checkpoints import CheckpointError
from cmmasksd.published import PublishedError, is_published, open_published, read_published

MIX = 'decode_head.projector.mix.weight'
State = dict[str, Tensor]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda state: state.pop(MIX), f'1 missing, such as {MIX}'),
        (lambda state: state.update(other=torch.zeros(1)), '1 unknown, such as other'),
        (lambda state: state.update({MIX: state[MIX][1:]}), f'1 of another shape, such as {MIX}'),
        (lambda state: state.update({MIX: state[MIX].half()}), f'{MIX} is F16, and weights are float32'),
        (lambda state: state.update({MIX: state[MIX].double()}), f'{MIX} is F64, and weights are float32'),
        (lambda state: state.update({MIX: state[MIX].long()}), rf'another dtype, such as {MIX} \(torch.int64, not'),
        (lambda state: state.update({'distillation.lmvsd.x': torch.zeros(1)}), 'distillation.lmvsd.x is of training'),
        (
            lambda state: state.update(
                {'backbone.visual.positional_embedding': state['backbone.visual.positional_embedding'][:-1]}
            ),
            '1 of another shape, such as backbone.visual.positional_embedding',
        ),
        (lambda state: state[MIX].fill_(float('nan')), f'1 weights that are NaN or infinite, such as {MIX}'),
        (lambda state: [state.update({f'model.{name}': state.pop(name)}) for name in list(state)], 'missing, such as'),
        (lambda state: state.clear(), 'missing, such as'),
    ],
    ids=range(11),
)
def test_weights_that_are_not_exactly_the_models_are_refused(
    folder: Path, change: Callable[[State], object], message: str
) -> None:
    state = load_file(folder / 'model.safetensors')
    change(state)
    save_file(state, folder / 'model.safetensors')
    with pytest.raises(CheckpointError, match=message) as caught:
        ReferringInferencer.from_pretrained(folder, device='cpu')
    assert len(str(caught.value).splitlines()) == 1 and 'model.safetensors' in str(caught.value)


@pytest.mark.parametrize('tensor', [0, -1])
def test_a_number_that_is_not_the_published_one_is_refused(folder: Path, tensor: int) -> None:
    path = folder / 'model.safetensors'
    with safe_open(path, 'pt') as file:
        state, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()
    sorted(state.items())[tensor][1].view(-1)[0] += 1
    save_file(state, path, metadata)
    with pytest.raises(PublishedError, match='holds other numbers than were published'):
        ReferringInferencer.from_pretrained(folder, device='cpu')
    save_file(state, path)
    with pytest.raises(PublishedError, match='holds other numbers than were published'):
        ReferringInferencer.from_pretrained(folder, device='cpu')


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def cut_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (truncate, 'model.safetensors is cut off or no safetensors file'),
        (cut_header, 'model.safetensors is cut off or no safetensors file'),
        (Path.unlink, 'model.safetensors does not exist'),
        (lambda path: path.write_bytes(b''), 'model.safetensors is empty'),
        (lambda path: path.write_bytes(b'<html>log in</html>'), 'model.safetensors is'),
        (lambda path: path.write_bytes(b'version https://git-lfs.github.com/spec/v1\n'), 'model.safetensors'),
        (lambda path: path.write_bytes(pickle.dumps({'a': 1})), 'model.safetensors'),
        (lambda path: torch.save({MIX: torch.zeros(1)}, path), 'no safetensors file but a pickle, which is not read'),
        (lambda path: (path.parent / 'config.json').unlink(), 'holds no config.json, so it is no published model'),
    ],
    ids=range(9),
)
def test_files_that_are_not_whole_are_refused(folder: Path, change: Callable[[Path], object], message: str) -> None:
    change(folder / 'model.safetensors')
    with pytest.raises(CheckpointError, match=message) as caught:
        read_published(folder)
    assert len(str(caught.value).splitlines()) == 1


def test_a_folder_has_no_revisions_and_a_file_is_no_folder(folder: Path) -> None:
    with pytest.raises(PublishedError, match="there is no revision 'v1': leave it out"):
        open_published(folder, revision='v1')
    with pytest.raises(PublishedError, match='is no folder; give the folder'):
        open_published(folder / 'README.md')


def test_what_is_published(folder: Path, tmp_path: Path) -> None:
    assert is_published(folder) and is_published(str(folder)) and is_published(folder / 'model.safetensors')
    (tmp_path / 'config.json').write_text('{"model_type": "bert"}')
    assert not is_published(tmp_path) and not is_published(folder / 'README.md') and not is_published('vit-b_refcoco')


def test_weights_beside_a_published_model_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match='a published model, which has its weights: leave other.pth out'):
        ReferringInferencer(folder, 'other.pth')
