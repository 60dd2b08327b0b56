"""Towers that are trained together, written as open_clip writes them, and measured."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from cmmasksd.registry import MODELS
from cmmasksd.structures import Letterbox
from tests import forking
from tests.test_tools.running import ROOT

ARCHITECTURE = dict(
    embed_dim=16,
    quick_gelu=True,
    vision_cfg=dict(image_size=32, patch_size=8, layers=3, width=32, head_width=16),
    text_cfg=dict(context_length=77, vocab_size=49408, layers=1, width=16, heads=2),
)


@pytest.fixture(autouse=True)
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ('tools', 'tools/analysis_tools'):
        monkeypatch.syspath_prepend(str(ROOT / folder))


def towers_config(**options: Any) -> ConfigDict:
    return ConfigDict(
        backbone=dict(
            type='cmmasksd.OpenCLIPVisionTransformer', architecture=ARCHITECTURE, image_size=(48, 48), **options
        ),
        text_encoder=dict(type='cmmasksd.OpenCLIPTextTransformer', architecture=ARCHITECTURE, **options),
        data_preprocessor=dict(type='cmmasksd.ReferringDataPreprocessor'),
    )


def test_what_is_written_is_read_by_our_towers_and_by_open_clip(tmp_path: Path) -> None:
    from clip_pretraining.towers import Towers

    towers = Towers(towers_config(), (32, 32)).eval()
    file = towers.save(tmp_path / 'clip')
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    ids = open_clip.get_tokenizer('ViT-B-16')(['the red circle', 'a square'])
    with torch.no_grad():
        pooled, _, text = towers(images, ids)
        clip = open_clip.create_model(f'local-dir:{tmp_path}/clip').eval()
        pixels = (images.float() - towers.preprocess.mean) / towers.preprocess.std
        torch.testing.assert_close(clip.encode_image(pixels, normalize=True), pooled, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(clip.encode_text(ids, normalize=True), text, rtol=1e-4, atol=1e-5)
    config = towers_config(pretrained=str(file))
    image, words = MODELS.build(config.backbone), MODELS.build(config.text_encoder)
    image.init_weights(), words.init_weights()
    assert torch.equal(image.visual.conv1.weight, towers.image.visual.conv1.weight)
    assert image.visual.positional_embedding.shape[0] == 37  # resized to the config's grid
    assert all(torch.equal(a, b) for a, b in zip(words.state_dict().values(), towers.text.state_dict().values()))


def test_towers_of_two_kinds_are_refused() -> None:
    from clip_pretraining.towers import Towers

    config = towers_config()
    config.text_encoder.architecture = 'ViT-B-16'
    with pytest.raises(ValueError, match='have no architecture in common'):
        Towers(config, (32, 32))


def test_pointing_is_counted_by_patches() -> None:
    """Scores that say the object exactly, of an object that covers a quarter of the picture."""
    from aligning import pointing

    masks = torch.zeros(1, 32, 32, dtype=torch.bool)
    masks[0, :16, :16] = True
    sample = SimpleNamespace(expressions=InstanceData(masks=masks), letterbox=Letterbox.fit((32, 32), (32, 32)))
    shares = pointing.covered_shares(sample, (4, 4))
    assert shares.shape == (1, 16) and shares.sum() == 4 and set(shares.unique().tolist()) == {0, 1}

    def correlations(*arguments: object) -> Any:
        yield shares + torch.linspace(0, 1e-3, 16), shares

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pointing, 'correlations', correlations)
        half, quarter, one = pointing.measure(torch.nn.Identity(), [], [0.5, 0.25, 1e-9], '')
    assert (half['on_object'], half['covered'], half['covered_by_chance']) == (50, 100, 50)
    assert (quarter['on_object'], quarter['covered'], quarter['covered_by_chance']) == (100, 100, 25)
    assert (one['on_object'], one['covered'], one['on_object_by_chance']) == (100, 25, 25)


def test_recall() -> None:
    from aligning.retrieval import recall

    pooled, sentences = torch.eye(3), torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 2, 1]])
    assert recall(pooled, sentences) == (pytest.approx(2 / 3), pytest.approx(2 / 3))


@pytest.mark.slow
def test_trained_together_they_are_better_aligned(refshapes_root: Path, tmp_path: Path) -> None:
    roots = [f'{loader}_dataloader.dataset.data_root={refshapes_root}' for loader in ('train', 'test')]
    small = ['model.backbone.image_size=(64,64)', 'test_dataloader.dataset.pipeline.3.size=(64,64)']
    words = ['vit-tiny_refshapes', '--out', tmp_path / 'clip', '--epochs', 8, '--batch-size', 16, '--image-size', 64]
    words += ['--token-length', 17]
    run = forking.run
    options = ['--cfg-options', *roots, *small]
    log = tmp_path / 'log'
    assert run(forking.tool, 'tools/pretrain_tiny_clip.py', *words, *options, log=log) == 0, log.read_text()
    file = tmp_path / 'clip/open_clip_model.safetensors'
    options += [f'model.{tower}.pretrained={file}' for tower in ('backbone', 'text_encoder')]
    words = ['vit-tiny_refshapes', '--splits', 'train', '--images', 20, '--pool', 10, '--out', tmp_path / 'found.json']
    assert run(forking.tool, 'tools/analysis_tools/alignment.py', *words, *options, log=log) == 0, log.read_text()
    found = {kind: each['train'] for kind, each in json.loads((tmp_path / 'found.json').read_text()).items()}
    before, after = (found[kind]['retrieval']['objects'] for kind in ('random', 'given'))
    assert after['to_text'] > before['to_text'] + 10 and before['chance'] == 10
    assert [row['top_k'] for row in found['given']['patches']][:3] == [0.5, 0.25, 0.1]
    assert np.isfinite([row['on_object'] for row in found['given']['patches']]).all()
