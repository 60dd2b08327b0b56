"""What a training starts from: CLIP first, then the checkpoint, and one line that says what was in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from mmengine.runner import Runner
from safetensors.torch import save_file
from torch import Tensor, nn

from cmmasksd.checkpoints import CheckpointError
from tests.test_engine.toy_run import make_run

State = dict[str, Tensor]
TOWERS = ('backbone.', 'text_encoder.')


@pytest.fixture
def clip(tiny_architecture: dict[str, Any], tmp_path: Path) -> State:
    """CLIP's weights, in the file ``clip.pt``; none of them is what a model begins with."""
    torch.manual_seed(5)
    model = open_clip.CLIP(**tiny_architecture)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    torch.save(model.state_dict(), tmp_path / 'clip.pt')
    return model.state_dict()


@pytest.fixture
def start(clip: State, tiny_config: Callable[..., dict[str, Any]], tmp_path: Path) -> Callable[..., Runner]:
    """``start(load_from=..., resume=...)``: a training up to its first step."""

    def start(image_size: tuple[int, int] = (32, 48), **options: Any) -> Runner:
        config = options.pop('model', None) or tiny_config()
        config['backbone'].update(pretrained=str(tmp_path / 'clip.pt'), image_size=image_size)
        config['text_encoder'].update(pretrained=str(tmp_path / 'clip.pt'))
        done = dict(train_cfg=dict(by_epoch=True, max_epochs=0), log_level='INFO')
        runner = make_run(tmp_path / 'work', model=config, **done, **options)
        runner.train()
        return runner

    return start


@pytest.fixture
def other(tiny_model: Callable[..., nn.Module]) -> State:
    """The weights of a model that was trained: no tensor is CLIP's or fresh."""
    model = tiny_model()
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.randn_like(tensor) if 'running_var' not in name else torch.rand_like(tensor))
    return model.state_dict()


def is_clips(runner: Runner, prefix: str, clip: State) -> bool:
    tower = {name: value for name, value in runner.model.state_dict().items() if name.startswith(prefix)}
    pairs = [
        (value, clip[name.removeprefix(prefix).removeprefix('text.')])
        for name, value in tower.items()
        if 'positional' not in name
    ]
    return len(pairs) > 20 and all(torch.equal(*pair) for pair in pairs)


def is_from(runner: Runner, state: Mapping[str, Tensor]) -> bool:
    own = runner.model.state_dict()
    return all(torch.equal(own[name], value) for name, value in state.items())


def first(state: State, part: str) -> str:
    """The first name of a part of the model."""
    return next(name for name in state if name.startswith(part))


def log(runner: Runner) -> str:
    return next(Path(runner.log_dir).glob('*.log')).read_text()


def test_without_a_checkpoint_clip_is_read(start: Callable[..., Runner], clip: State) -> None:
    runner = start()
    assert all(is_clips(runner, prefix, clip) for prefix in TOWERS)


@pytest.mark.parametrize('wrapper', ['', 'module.', '_orig_mod.', 'module._orig_mod.'])
@pytest.mark.parametrize('suffix', ['pth', 'safetensors'])
def test_a_head_alone_is_loaded_over_clip(
    wrapper: str, suffix: str, start: Callable[..., Runner], clip: State, other: State, tmp_path: Path
) -> None:
    head = {name: value for name, value in other.items() if name.startswith(('neck.', 'decode_head.'))}
    path, named = tmp_path / f'head.{suffix}', {f'{wrapper}{name}': value for name, value in head.items()}
    save_file(named, path) if suffix == 'safetensors' else torch.save(named, path)
    runner = start(load_from=str(path))
    assert all(is_clips(runner, prefix, clip) for prefix in TOWERS) and is_from(runner, head)
    assert 'called more than once' not in log(runner)
    (line,) = (line for line in log(runner).splitlines() if f'{path}: ' in line)
    for words in (f'{len(head)} of {len(other)} weights and statistics', 'backbone (', 'text_encoder (', 'distill'):
        assert words in line


@pytest.mark.parametrize('lacks', ['visual.proj', 'visual.transformer.resblocks.5.mlp.c_proj.bias'])
def test_one_tower_is_read_where_one_weight_of_it_is_missing(
    lacks: str, start: Callable[..., Runner], clip: State, other: State, tmp_path: Path
) -> None:
    del other[f'backbone.{lacks}']
    torch.save(dict(state_dict=other), tmp_path / 'most.pth')
    runner = start(load_from=str(tmp_path / 'most.pth'))
    assert torch.equal(runner.model.state_dict()[f'backbone.{lacks}'], clip[lacks])
    assert is_from(runner, other)
    told = log(runner)
    assert 'OpenCLIPVisionTransformer: loaded CLIP' in told and 'OpenCLIPTextTransformer: loaded CLIP' not in told
    assert 'missing, left as they are: backbone (1)' in told


def test_clip_is_not_read_where_the_checkpoint_has_all_of_it(
    start: Callable[..., Runner], other: State, tmp_path: Path
) -> None:
    torch.save(dict(state_dict=other), tmp_path / 'whole.pth')
    (tmp_path / 'clip.pt').unlink()
    runner = start(load_from=str(tmp_path / 'whole.pth'))
    assert is_from(runner, other) and runner.model.backbone.pretrained == str(tmp_path / 'clip.pt')
    assert f'{len(other)} of {len(other)} weights and statistics.' in log(runner)


def test_a_published_checkpoint_starts_a_training_and_its_branches_anew(
    start: Callable[..., Runner], other: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published = {name: value for name, value in other.items() if not name.startswith('distillation.')}
    torch.save(dict(state_dict={**published, 'of.another': torch.ones(2)}), tmp_path / 'published.pth')
    runner = start(load_from=str(tmp_path / 'published.pth'))
    assert is_from(runner, published)
    assert 'missing, left as they are: distillation (2); unknown, left aside: of (1).' in log(runner)
    assert 'do not match exactly' not in capsys.readouterr().out  # mmengine would list every name


def test_positions_of_another_grid_fit(start: Callable[..., Runner], other: State, tmp_path: Path) -> None:
    torch.save(dict(state_dict=other | {'backbone.visual.positional_embedding': torch.ones(17, 16)}), tmp_path / 'w')
    (tmp_path / 'clip.pt').unlink()
    positions = start(load_from=str(tmp_path / 'w')).model.backbone.visual.positional_embedding
    assert positions.shape == (25, 16) and torch.allclose(positions, torch.ones(1))


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda state: {'visual.proj': torch.ones(1)}, r'holds a CLIP; give it as `pretrained`.*load_from'),
        (lambda state: {'resnet.conv': torch.ones(1)}, r'no weight of this model \(its names: resnet.conv\)'),
        (
            lambda state: state | {first(state, 'neck.'): torch.ones(3, 2)},
            r'1 weights of other shapes.*such as neck\..*: \(3, 2\) there, .* here; set the sizes',
        ),
        (
            lambda state: state | {first(state, 'distillation.'): torch.ones(3)},
            r'such as distillation.*mask_token: \(3,\) there, \(16,\) here',
        ),
        (
            lambda state: state | {'backbone.visual.positional_embedding': torch.ones(12, 16)},
            r'does not fit .*size mismatch for .*positional_embedding',
        ),
    ],
    ids=['CLIP', 'another model', 'another neck', 'another branch', 'another grid that is no square'],
)
def test_what_does_not_fit_is_refused(
    change: Callable[[State], State],
    words: str,
    start: Callable[..., Runner],
    other: State,
    tmp_path: Path,
) -> None:
    torch.save(change(other), tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match=words):
        start(load_from=str(tmp_path / 'x.pth'))


def test_a_resume_without_a_checkpoint_says_so_and_reads_clip(start: Callable[..., Runner], clip: State) -> None:
    runner = start(resume=True)
    assert all(is_clips(runner, prefix, clip) for prefix in TOWERS)
    assert f'Nothing to resume in {runner.work_dir}: this run starts from its beginning.' in log(runner)
