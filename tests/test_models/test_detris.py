"""DETRIS: adapters beside formulas, the image encoder beside timm's DINOv2, the whole with branches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmmasksd.models import LanguageAlignedViT
from cmmasksd.models.adapters import DenseConvolutions, ImageAligner, TextAdapter
from cmmasksd.models.backbones.dinov2_weights import rename_dinov2
from cmmasksd.registry import MODELS
from cmmasksd.structures import TextFeatures, VisualFeatures
from tests.test_models.test_etris import HEAD, IDS, VIT
from tests.test_models.test_mixing import BOTH, SIZE, check_the_whole_life

NAME = 'vit_base_patch14_reg4_dinov2'
OPTIONS = dict(embed_dim=32, depth=4, num_heads=2, img_size=64, patch_size=16, init_values=1.0)
BRANCHES = [dict(type='cmmasksd.LMVSD'), dict(type='cmmasksd.VMLSD')]


def backbone(side: int = 64, **options: Any) -> LanguageAlignedViT:
    torch.manual_seed(0)
    own: dict[str, Any] = dict(adapter_layers=(1, 3), adapter_channels=16, out_indices=(0, 2), options=OPTIONS)
    model = LanguageAlignedViT(NAME, side, word_channels=12, **{**own, **options})
    for name, parameter in model.trunk.named_parameters():
        if name in ('cls_token', 'reg_token', 'pos_embed'):
            nn.init.normal_(parameter, std=0.5)
    return model


def segmentor(distillation: list[dict] | None = None, side: int = 64) -> Any:
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type='cmmasksd.ReferringSegmentor',
            backbone=dict(
                type='cmmasksd.LanguageAlignedViT',
                architecture=NAME,
                image_size=side,
                word_channels=12,
                adapter_layers=(1, 3),
                adapter_channels=16,
                out_indices=(0, 2),
                options=OPTIONS,
            ),
            text_encoder=dict(
                type='cmmasksd.OpenCLIPTextTransformer',
                architecture=VIT,
                adapter_layers=(0, 2),
                adapter_channels=16,
            ),
            neck=dict(
                type='cmmasksd.SentenceGatedNeck',
                in_channels=(32, 32, 32),
                text_channels=16,
                out_channels=32,
                scales=(1, 1, 1),
                residual=True,
            ),
            decode_head=HEAD,
            distillation=distillation or [],
        )
    )


def text_of(count: int = 3) -> TextFeatures:
    torch.manual_seed(3)
    padding = torch.arange(6) >= torch.tensor([4, 6, 3])[:count, None]
    return TextFeatures(torch.randn(count, 6, 12), torch.randn(count, 6, 16), torch.randn(count, 16), padding, ~padding)


def disturb(module: nn.Module) -> None:
    """Statistics that are not those of a new batch norm."""
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)


def dense_by_formula(layer: DenseConvolutions, x: Tensor) -> Tensor:
    convolve = F.conv1d if x.dim() == 3 else F.conv2d

    def block(part: nn.Module, y: Tensor) -> Tensor:
        convolution, norm, _ = part
        y = convolve(y, convolution.weight, convolution.bias, padding=convolution.weight.shape[-1] // 2)
        shape = (1, -1, *(1,) * (x.dim() - 2))
        y = (y - norm.running_mean.view(shape)) / (norm.running_var.view(shape) + 1e-3).sqrt()
        return F.relu(y * norm.weight.view(shape) + norm.bias.view(shape))

    first = block(layer.branch1, x)
    second = block(layer.branch2[1], block(layer.branch2[0], torch.cat([x, first], 1)))
    third = block(layer.branch3[1], block(layer.branch3[0], torch.cat([x, first, second], 1)))
    return torch.cat([first, second, third], 1)


@torch.no_grad()
def test_the_text_adapter_is_that_of_the_formula() -> None:
    torch.manual_seed(0)
    layer, tokens = TextAdapter(12, 16).eval(), torch.randn(2, 7, 12)
    disturb(layer)
    assert [part[0].kernel_size for part in (layer.dense.branch2[1], layer.dense.branch3[1])] == [(3,), (5,)]
    x = F.relu(layer.narrow(tokens))
    seen = dense_by_formula(layer.dense, x[:, 1:].transpose(1, 2)).transpose(1, 2)
    expected = 0.2 * layer.widen(torch.cat([2 * x[:, :1], seen + x[:, 1:]], dim=1))
    torch.testing.assert_close(layer(tokens), expected)


@torch.no_grad()
def test_the_aligner_is_that_of_the_formula() -> None:
    torch.manual_seed(0)
    layer, tokens, words = ImageAligner(24, 16, 12).eval(), torch.randn(2, 5 + 12, 24), torch.randn(2, 6, 12)
    disturb(layer)
    x = F.relu(layer.narrow(tokens))
    maps = x[:, 5:].transpose(1, 2).unflatten(2, (3, 4))
    pixels = (dense_by_formula(layer.dense, maps) + maps).flatten(2).transpose(1, 2)
    theirs = nn.MultiheadAttention(128, 8, batch_first=True)
    theirs.load_state_dict(layer.attention.state_dict())
    keys = layer.text_projection(words)
    heard = layer.answer(theirs(layer.image_projection(pixels), keys, keys)[0])
    expected = 0.2 * layer.widen(torch.cat([2 * x[:, :5], heard + x[:, 5:]], dim=1))
    found, asking = layer(tokens, words, (3, 4))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    query, key, _ = layer.attention._project(asking, keys, keys)
    scores = query @ key.transpose(1, 2)  # summed over the heads
    constant = query @ (layer.text_projection.bias @ key_weight(layer).T + layer.attention.in_proj_bias.chunk(3)[1])
    found = layer.in_words(asking) @ words.transpose(1, 2)
    torch.testing.assert_close(found, scores - constant[..., None], atol=1e-4, rtol=1e-4)


def key_weight(layer: ImageAligner) -> Tensor:
    return layer.attention.in_proj_weight.chunk(3)[1]


@torch.no_grad()
def test_without_what_adapters_add_it_is_timms_dinov2() -> None:
    model = backbone().eval()
    for adapter in model.adapters.values():
        nn.init.zeros_(adapter.widen.weight)
    theirs = timm.create_model(NAME, num_classes=0, **OPTIONS).eval()
    theirs.load_state_dict(model.trunk.state_dict())
    images, text = torch.randn(3, 3, 64, 64), text_of()
    features = model.encode_image(model.embed_image(images), text)
    first, third = theirs.forward_intermediates(images, indices=[0, 2], intermediates_only=True)
    last = theirs.forward_features(images)[:, 5:].transpose(1, 2).unflatten(2, (4, 4))
    torch.testing.assert_close(features.levels, (first, third, last), atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        model.adapters['1'].widen.weight.normal_()
    changed = model.encode_image(model.embed_image(images), text)
    assert torch.equal(changed.levels[0], features.levels[0])
    assert (changed.levels[1] - features.levels[1]).abs().max() > 1e-2


@torch.no_grad()
def test_a_block_with_an_adapter_is_that_of_the_formula() -> None:
    model, text = backbone().eval(), text_of()
    disturb(model)
    x = torch.randn(3, 5 + 16, 32)
    block, adapter = model.trunk.blocks[1], model.adapters['1']
    y = x + block.ls1(block.attn(block.norm1(x)))
    expected = y + block.ls2(block.mlp(block.norm2(y)) + adapter(block.norm2(y), text.words, (4, 4))[0])
    torch.testing.assert_close(model._run(block, x, text.words, '1')[0], expected)


@torch.no_grad()
def test_positions_are_scaled_as_dinov2_does() -> None:
    model = backbone(side=96).eval()
    positions = model.trunk.pos_embed
    expected = F.interpolate(
        positions.reshape(1, 4, 4, 32).permute(0, 3, 1, 2), scale_factor=(6.1 / 4, 6.1 / 4), mode='bicubic'
    )
    assert expected.shape[2:] == (6, 6)
    torch.testing.assert_close(model._positions(), expected.permute(0, 2, 3, 1).reshape(1, 36, 32))
    assert torch.equal(backbone()._positions(), backbone().trunk.pos_embed)


@torch.no_grad()
def test_patches_ask_in_the_words_space(monkeypatch: pytest.MonkeyPatch) -> None:
    model, text = backbone().eval(), text_of()
    asked = []
    last = model.adapters['3']
    run = last.forward
    monkeypatch.setattr(last, 'forward', lambda *given: (asked.append(run(*given)), asked[-1])[1])
    features = model.encode_image(model.embed_image(torch.randn(3, 3, 64, 64)), text)
    assert features.in_words and features.patches.shape == (3, 16, 12)
    torch.testing.assert_close(features.patches, last.in_words(asked[0][1]))
    guide = text.comparable(features)
    assert torch.equal(guide.tokens, text.words)
    assert torch.equal(guide.sentence, torch.stack([text.words[0, 3], text.words[1, 5], text.words[2, 2]]))  # EOT
    agreement = (features.patches * guide.sentence[:, None]).sum(2) * 128**-0.5
    expected = (agreement.softmax(1)[..., None] * features.patches).sum(1)
    torch.testing.assert_close(features.pooled, expected)
    joint = VisualFeatures(features.levels, features.patches, features.pooled)
    assert text.comparable(joint) is text


@torch.no_grad()
def test_blocks_before_the_first_adapter_look_at_each_image_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, text, index = backbone().eval(), text_of(), torch.tensor([0, 1, 0])
    images = torch.randn(2, 3, 64, 64)
    alone = model.encode_image(model.embed_image(images[index]), text)
    seen = []
    for block in model.trunk.blocks:
        forward = block.norm1.forward
        monkeypatch.setattr(block.norm1, 'forward', lambda x, run=forward: (seen.append(len(x)), run(x))[1])
    together = model.encode_image(model.embed_image(images), text, index)
    assert seen == [2, 3, 3, 3]
    torch.testing.assert_close(together.levels, alone.levels, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together.pooled, alone.pooled, atol=1e-5, rtol=1e-4)


def test_recomputing_gives_the_same_gradients() -> None:
    gradients = []
    for recompute in (False, True):
        model = backbone(activation_checkpointing=recompute).train()
        for adapter in model.adapters.values():
            adapter.attention.dropout = 0.0
        torch.manual_seed(1)
        features = model.encode_image(model.embed_image(torch.randn(2, 3, 64, 64)), text_of(2))
        sum(level.square().mean() for level in features.levels).backward()
        gradients.append([each.grad for each in model.parameters() if each.grad is not None])
    assert len(gradients[0]) > 60
    torch.testing.assert_close(gradients[0], gradients[1])


def published(model: LanguageAlignedViT) -> dict[str, Tensor]:
    """Random weights under DINOv2's own names."""
    torch.manual_seed(5)
    state = {name: torch.randn_like(tensor) for name, tensor in model.trunk.state_dict().items()}
    state['register_tokens'] = state.pop('reg_token')
    state['pos_embed'] = torch.cat([torch.randn(1, 1, 32), state['pos_embed']], dim=1)
    return state | dict(mask_token=torch.zeros(1, 32))


def test_published_weights_are_read(tmp_path: Path) -> None:
    weights = published(backbone())
    torch.save(weights, tmp_path / 'dinov2.pth')
    model = backbone(pretrained=str(tmp_path / 'dinov2.pth'))
    model.init_weights()
    trunk = model.trunk
    assert torch.equal(trunk.cls_token, weights['cls_token'] + weights['pos_embed'][:, :1])
    assert torch.equal(trunk.pos_embed, weights['pos_embed'][:, 1:])
    assert torch.equal(trunk.reg_token, weights['register_tokens'])
    assert torch.equal(trunk.blocks[3].mlp.fc1.weight, weights['blocks.3.mlp.fc1.weight'])
    own = dict(model.trunk.state_dict())
    assert rename_dinov2(own) == own  # timm's names stay
    torch.save({name: tensor for name, tensor in weights.items() if 'blocks.3' not in name}, tmp_path / 'other.pth')
    with pytest.raises(ValueError, match='does not hold the weights of this ViT'):
        backbone(pretrained=str(tmp_path / 'other.pth')).init_weights()


def test_it_trains_predicts_and_is_saved(make_batch: Any, tmp_path: Path) -> None:
    check_the_whole_life(segmentor(BRANCHES, SIZE), make_batch, BOTH, tmp_path)


def test_both_branches_train_all_that_they_share() -> None:
    model = segmentor(BRANCHES).train()
    losses = model.loss(torch.randn(3, 3, 64, 64), IDS, None, (torch.rand(3, 1, 64, 64) > 0.5).float())
    assert list(losses) == ['loss_seg', 'loss_lmvsd', 'loss_vmlsd']
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())
    (losses['loss_lmvsd'] + losses['loss_vmlsd']).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name  # which several processes wait for


def test_the_visual_branch_masks_where_the_sentence_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    model = segmentor([dict(type='cmmasksd.LMVSD', top_k=0.25, mask_ratio=1.0)]).eval()
    main = model.encode(torch.randn(3, 3, 64, 64), IDS)
    given, encode = [], model.backbone.encode_image
    monkeypatch.setattr(model.backbone, 'encode_image', lambda x, *rest: (given.append(x), encode(x, *rest))[1])
    branch = model.distillation['lmvsd']
    with torch.no_grad():
        branch.mask_token.fill_(7.0)
    branch.student(model, main)
    found = (given[0] == 7.0).all(dim=2)
    scores = (main.visual.patches * main.text.last_word[:, None]).sum(2)
    assert (found.sum(1) == 4).all()
    assert torch.equal(found, scores >= scores.topk(4).values[:, -1:])


@torch.no_grad()
def test_text_adapters_stand_beside_the_feed_forward_networks() -> None:
    model = segmentor().eval()
    tower = model.text_encoder
    disturb(tower)
    x = tower.embed_text(IDS) + tower.text.positional_embedding[:6]
    mask = torch.full((6, 6), float('-inf')).triu(1)
    for place, block in enumerate(tower.text.transformer.resblocks):
        x = x + block.attention(block.ln_1(x), attn_mask=mask)
        own = tower.adapters[str(place)](x) if place in (0, 2) else 0
        x = x + block.mlp(block.ln_2(x)) + own
    torch.testing.assert_close(tower(IDS).words, tower.text.ln_final(x), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (dict(side=60), 'image_size .* is no multiple of the patch size 16'),
        (dict(adapter_layers=()), 'one adapter at least'),
        (dict(adapter_layers=(4,)), 'blocks from 0 to 3'),
        (dict(out_indices=(0, 9)), 'blocks from 0 to 3'),
        (dict(adapter_channels=10), 'multiple of 4 and at least 16'),
    ],
)
def test_backbones_that_cannot_be(options: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        backbone(**options)


def test_other_models_of_timm_are_refused() -> None:
    with pytest.raises(ValueError, match="timm has no model 'vit_nothing'"):
        LanguageAlignedViT('vit_nothing')
    with pytest.raises(ValueError, match='no plain ViT with a .class. token and registers'):
        LanguageAlignedViT('vit_base_patch14_dinov2', options=OPTIONS)
    with pytest.raises(ValueError, match='needs its text'):
        backbone().encode_image(torch.zeros(1, 16, 32))
    with pytest.raises(ValueError, match='built for words of width 12, and got 20: set its word_channels=20'):
        wide = torch.zeros(1, 6, 20)
        nothing = torch.zeros(1, 6, dtype=torch.bool)
        backbone().encode_image(torch.zeros(1, 16, 32), TextFeatures(wide, wide, wide[:, 0], nothing, ~nothing))
    with pytest.raises(ValueError, match=r'built for inputs of \(64, 64\), got \(32, 32\)'):
        backbone().embed_image(torch.zeros(1, 3, 32, 32))


def test_text_towers_that_take_no_adapters_say_so() -> None:
    with pytest.raises(ValueError, match='blocks from 0 to 2'):
        MODELS.build(dict(type='cmmasksd.OpenCLIPTextTransformer', architecture=VIT, adapter_layers=(3,)))
