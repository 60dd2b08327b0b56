"""A model by what one has of it: every way to a published one is the strict way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from safetensors.torch import load_file, save_file

from cmmasksd.apis import ReferringInferencer, init_model
from cmmasksd.apis.opening import open_inferencer
from cmmasksd.checkpoints import CheckpointError
from tests.fake_hub import MODEL, FakeHub, fake_hub
from tests.untrained import MODEL as RUN
from tests.untrained import make_run

POSITIONS = 'backbone.visual.positional_embedding'
WAYS = [
    lambda folder: open_inferencer(folder, device='cpu'),
    lambda folder: open_inferencer(str(folder / 'model.safetensors'), device='cpu'),
    lambda folder: ReferringInferencer(folder, device='cpu'),
    lambda folder: ReferringInferencer(folder / 'model.safetensors', device='cpu'),
    lambda folder: init_model(folder, device='cpu'),
]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, published: Path) -> Iterator[FakeHub]:
    with fake_hub(monkeypatch, tmp_path / 'cache') as found:
        found.serve(published)
        yield found


@pytest.fixture(scope='session')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp('run'))


@pytest.mark.parametrize('open_it', WAYS, ids=range(len(WAYS)))
def test_every_way_to_a_published_model_takes_exactly_its_weights(folder: Path, open_it: Callable) -> None:
    open_it(folder)
    state = load_file(folder / 'model.safetensors')
    state[POSITIONS] = state[POSITIONS][:-1].clone()  # which the checkpoint of a run might resize
    save_file(state, folder / 'model.safetensors')
    with pytest.raises(CheckpointError, match=f'of another shape, such as {POSITIONS}'):
        open_it(folder)


def test_a_name_on_the_hub_goes_the_same_way(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    ways = []
    monkeypatch.setattr(ReferringInferencer, 'from_pretrained', lambda name, **options: ways.append(name))
    for name in (MODEL, 'owner/model-v1.5', 'owner/model.small'):
        open_inferencer(name)
    assert ways == [MODEL, 'owner/model-v1.5', 'owner/model.small']
    for path in ('owner/model.pth', 'owner/model.safetensors'):
        with pytest.raises(FileNotFoundError, match='no such file'):
            open_inferencer(path)


def test_a_published_model_has_its_config(folder: Path) -> None:
    for weights in (folder, folder / 'model.safetensors', 'owner/model'):
        with pytest.raises(ValueError, match='has its own config: leave vit-b_refcoco out'):
            open_inferencer(weights, 'vit-b_refcoco')


def test_the_folder_of_a_run_is_no_model(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f'give one of its checkpoints, such as {checkpoint}'):
        open_inferencer(checkpoint.parent)
    for open_it in (open_inferencer, ReferringInferencer):
        with pytest.raises(ValueError, match='holds no config.json, so it is no published model'):
            open_it(tmp_path)


def test_a_checkpoint_alone_brings_the_config_of_its_run(checkpoint: Path, tmp_path: Path) -> None:
    for inferencer in (ReferringInferencer(checkpoint, device='cpu'), open_inferencer(checkpoint, device='cpu')):
        assert Path(inferencer.cfg.filename).parent == checkpoint.parent
    model = init_model(str(checkpoint), device='cpu', cfg_options={'model.threshold': 0.5})
    assert model.threshold == 0.5
    with pytest.raises(ValueError, match=f'{checkpoint} is a checkpoint, no config, .* leave other.pth out'):
        ReferringInferencer(checkpoint, 'other.pth')
    (tmp_path / 'lonely.pth').write_bytes(checkpoint.read_bytes())
    with pytest.raises(FileNotFoundError, match='holds no config, which a training leaves'):
        ReferringInferencer(tmp_path / 'lonely.pth')
    with pytest.raises(FileNotFoundError, match='absent.pth: no such file'):
        ReferringInferencer('absent.pth')


def test_a_name_on_the_hub_in_place_of_a_config_is_told_its_door() -> None:
    with pytest.raises(FileNotFoundError, match=r"ReferringInferencer.from_pretrained\('owner/model-v1.5'\)"):
        ReferringInferencer('owner/model-v1.5')


def test_a_test_of_other_settings_does_not_change_what_is_opened(checkpoint: Path, tmp_path: Path) -> None:
    """mmengine writes the config of every Runner over the copy beside the checkpoints."""
    cfg = Config.fromfile(checkpoint.parent / f'{RUN}.py')
    logged = tmp_path / '20260102_030405' / 'vis_data'
    logged.mkdir(parents=True)
    cfg.dump(logged / 'config.py')
    cfg.model.threshold = 0.9
    cfg.dump(tmp_path / f'{RUN}.py')
    state = torch.load(checkpoint)['state_dict']
    torch.save(dict(meta=dict(experiment_name=f'{RUN}_20260102_030405'), state_dict=state), tmp_path / 'best.pth')
    torch.save(dict(meta={}, state_dict=state), tmp_path / 'other.pth')
    for open_it in (open_inferencer, ReferringInferencer):
        assert open_it(tmp_path / 'best.pth', device='cpu').model.threshold == 0.35
        assert open_it(tmp_path / 'other.pth', device='cpu').model.threshold == 0.9  # of no run that is known
