"""init_model, inference_model and show_result_pyplot, as OpenMMLab's users call them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from cmmasksd.apis import (
    ReferringInferencer,
    ReferringResult,
    inference_model,
    init_model,
    list_models,
    show_result_pyplot,
)
from cmmasksd.shipped import open_config
from cmmasksd.structures import Letterbox
from cmmasksd.visualization import draw_panel

NAME = 'vit-tiny_refshapes'
HEIGHT, WIDTH = 50, 70


@pytest.fixture(scope='module')
def model() -> nn.Module:
    return init_model(NAME, device='cpu')


@pytest.fixture(scope='module')
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture
def result(picture: np.ndarray) -> ReferringResult:
    maps = torch.zeros(2, HEIGHT, WIDTH)
    maps[:, 10:30, 20:50] = 0.9
    letterbox = Letterbox.fit((HEIGHT, WIDTH), (HEIGHT, WIDTH))
    return ReferringResult(picture, ['left zebra', 'the tree'], maps, letterbox)


def test_init_model_is_ready_for_inference(model: nn.Module) -> None:
    assert NAME in list_models()
    assert not model.training and next(model.parameters()).device == torch.device('cpu')
    assert model.cfg.model.type == 'ReferringSegmentor'


def test_options_change_the_model_and_not_the_callers_config() -> None:
    cfg = open_config(NAME)
    model = init_model(cfg, None, 'cpu', cfg_options={'model.threshold': 0.6})
    assert model.threshold == model.cfg.model.threshold == 0.6
    assert cfg.model.get('threshold') != 0.6


def test_weights_of_a_checkpoint_are_loaded(model: nn.Module, tmp_path: Path) -> None:
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'weights.pth')
    loaded = init_model(open_config(NAME), tmp_path / 'weights.pth', 'cpu')
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(model.parameters(), loaded.parameters()))


def test_inference_is_that_of_the_inferencer(model: nn.Module, picture: np.ndarray, tmp_path: Path) -> None:
    inferencer = ReferringInferencer(NAME, device='cpu')
    inferencer.model.load_state_dict(model.state_dict())
    (expected,) = inferencer(picture, ['left zebra', 'the tree'])
    found = inference_model(model, picture, ['left zebra', 'the tree'])
    assert isinstance(found, ReferringResult)
    assert found.masks.shape == (2, HEIGHT, WIDTH)
    assert np.array_equal(found.probabilities, expected.probabilities)
    assert inference_model(model, picture, 'left zebra').masks.shape == (1, HEIGHT, WIDTH)


def test_a_list_of_images_gives_a_list(model: nn.Module, picture: np.ndarray) -> None:
    results = inference_model(model, [picture, picture[:, :40]], ['red', ['blue', 'green']])
    assert [each.masks.shape for each in results] == [(1, HEIGHT, WIDTH), (2, HEIGHT, 40)]
    assert len(inference_model(model, (picture,), ['red'])) == 1


def test_a_model_without_its_config_is_refused(picture: np.ndarray) -> None:
    with pytest.raises(ValueError, match='This Linear has no cfg.*init_model, or set model.cfg'):
        inference_model(nn.Linear(1, 1), picture, 'red')


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(FileNotFoundError, match='vit-tiny_refshape: .*vit-tiny_refshapes'):
        init_model('vit-tiny_refshape')
    with pytest.raises(FileNotFoundError, match='vit-tiny_refshape: .*vit-tiny_refshapes'):
        ReferringInferencer('vit-tiny_refshape')


def test_a_result_is_drawn_into_a_file(
    model: nn.Module, picture: np.ndarray, result: ReferringResult, tmp_path: Path
) -> None:
    source, out = tmp_path / 'picture.png', tmp_path / 'new/panel.png'
    Image.fromarray(picture).save(source)
    panel = show_result_pyplot(model, source, result, show=False, out_file=out)
    assert np.array_equal(panel, result.draw())
    assert np.array_equal(np.asarray(Image.open(out)), panel)


def test_the_masks_have_the_opacity_asked_for(model: nn.Module, picture: np.ndarray, result: ReferringResult) -> None:
    panels = {opacity: show_result_pyplot(model, picture, result, opacity, show=False) for opacity in (0.0, 0.5, 1.0)}
    changed = [np.abs(panels[0.0].astype(int) - panels[opacity]).sum() for opacity in (0.5, 1.0)]
    assert 0 < changed[0] < changed[1]
    assert changed[1] == pytest.approx(2 * changed[0], rel=0.05)
    bare = show_result_pyplot(model, picture, result, draw_pred=False, show=False)
    assert np.array_equal(bare, draw_panel(picture, result.expressions))


@pytest.mark.parametrize(('size', 'opacity', 'message'), [(20, 0.5, 'must have the shape'), (50, 1.5, 'opacity must')])
def test_what_does_not_fit_is_refused(
    model: nn.Module, picture: np.ndarray, result: ReferringResult, size: int, opacity: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        show_result_pyplot(model, picture[:size], result, opacity, show=False)


def test_where_no_window_can_be_opened_it_is_said(
    model: nn.Module, picture: np.ndarray, result: ReferringResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib import pyplot

    monkeypatch.setattr(pyplot, 'get_backend', lambda: 'agg')
    with pytest.warns(UserWarning, match='No window can be opened here.*set show=False, and out_file'):
        panel = show_result_pyplot(model, picture, result, out_file=tmp_path / 'panel.png')
    assert np.array_equal(np.asarray(Image.open(tmp_path / 'panel.png')), panel)


def test_a_window_gets_the_panel(
    model: nn.Module, picture: np.ndarray, result: ReferringResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib import pyplot
    from mmengine.visualization import Visualizer

    seen: dict = {}
    monkeypatch.setattr(pyplot, 'get_backend', lambda: 'TkAgg')
    monkeypatch.setattr(Visualizer, 'show', lambda self, panel, **options: seen.update(options, panel=panel))
    panel = show_result_pyplot(model, picture, result, title='zebras', wait_time=2)
    assert np.array_equal(seen.pop('panel'), panel)
    assert seen == dict(win_name='zebras', wait_time=2)


def test_the_backends_without_windows_are_matplotlibs_own() -> None:
    from cmmasksd.apis.inference import WITHOUT_WINDOWS

    registry = pytest.importorskip('matplotlib.backends.registry', reason='matplotlib 3.9 made this list')
    assert set(WITHOUT_WINDOWS) == set(registry.backend_registry.list_builtin(registry.BackendFilter.NON_INTERACTIVE))
