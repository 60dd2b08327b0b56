"""Layer-wise decay of the learning rate in towers that other projects number and name their way."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cmmasksd.engine.checks import ConfigError
from cmmasksd.engine.paramwise import layer_scales
from cmmasksd.registry import MODELS

BERT = dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64, vocab_size=600)
T5 = dict(model_type='t5', d_model=32, d_kv=8, d_ff=64, num_layers=3, num_heads=4, vocab_size=600)


def scales(tower: str, **config: object) -> dict[str, float]:
    """Factors of a tower's parameters at rate 0.5, without the tower's name."""
    model = nn.Module()
    with torch.device('meta'):
        model.add_module(tower, MODELS.build(config))
    return {name.removeprefix(f'{tower}.'): scale for name, scale in layer_scales(model, 0.5).items()}


@pytest.mark.parametrize('name', ['ViTamin-S', 'EVA02-L-14', 'ViT-B-16-SigLIP'])
def test_timms_trunks(name: str) -> None:
    size = 224
    found = scales('backbone', type='cmmasksd.OpenCLIPVisionTransformer', architecture=name, image_size=size)
    depth = 1 + max(int(each.split('.')[3]) for each in found if each.startswith('visual.trunk.blocks.'))
    for each, scale in found.items():
        if each.startswith('visual.trunk.blocks.'):
            assert scale == 0.5 ** (depth - int(each.split('.')[3])), each
        elif each.startswith(('visual.trunk.patch_embed.', 'visual.trunk.pos_embed', 'visual.trunk.cls_token')):
            assert scale == 0.5 ** (depth + 1), each
        else:
            assert scale == 1, each


@pytest.mark.parametrize(
    ('config', 'block', 'embeddings'),
    [
        (dict(model_type='bert', **BERT), 'encoder.encoder.layer.', 'encoder.embeddings.'),
        (T5, 'encoder.block.', 'encoder.embed_tokens.'),
    ],
)
def test_transformers_encoders(config: dict, block: str, embeddings: str) -> None:
    pytest.importorskip('transformers')
    found = scales('text_encoder', type='cmmasksd.HuggingFaceTextEncoder', name_or_path=config)
    place = len(block.split('.')) - 1
    seen = {int(each.split('.')[place]) for each in found if each.startswith(block)}
    assert seen == {0, 1, 2}
    for each, scale in found.items():
        if each.startswith(block):
            assert scale == 0.5 ** (3 - int(each.split('.')[place])), each
        else:
            assert scale == (0.5**4 if each.startswith(embeddings) else 1), each


@pytest.mark.parametrize('name', ['swin_tiny_patch4_window7_224', 'convnext_atto'])
def test_blocks_that_each_stage_counts_anew_are_refused(name: str) -> None:
    """The last block of a shallow stage would learn as fast as that of the deepest."""
    model = nn.Module()
    options = dict(img_size=224) if 'swin' in name else {}
    model.backbone = MODELS.build(dict(type='cmmasksd.TimmBackbone', name=name, **options))
    with pytest.raises(ConfigError, match=r'backbone counts those of each stage anew \(.*: give the stages lr_mult'):
        layer_scales(model, 0.5)
