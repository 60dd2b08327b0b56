"""LAVT: windows beside torchvision's and a formula, attention to words beside a formula, the whole with branches."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.swin_transformer import ShiftedWindowAttention

from cmmasksd.models import ClassWeightedBCELoss, LanguageAwareSwin, PixelClassifierHead, TopDownNeck
from cmmasksd.models.backbones.pixel_word_attention import PixelWordAttention
from cmmasksd.models.backbones.window_attention import WindowAttention
from cmmasksd.registry import MODELS
from cmmasksd.structures import TextFeatures
from tests.test_models.test_mixing import BOTH, SIZE, check_the_whole_life

SIZES = dict(embed_dims=8, depths=(1, 2, 2, 1), num_heads=(1, 2, 2, 4), window_size=3)
BERT = dict(
    model_type='bert', hidden_size=12, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=600
)
IDS = torch.tensor([[101, 300, 400, 102, 0, 0], [101, 500, 501, 502, 503, 102], [101, 300, 102, 0, 0, 0]])
SIDE = 64


def backbone(**options: Any) -> LanguageAwareSwin:
    torch.manual_seed(0)
    return LanguageAwareSwin(SIZES, image_size=SIDE, word_channels=12, **options)


def segmentor(distillation: list[dict] | None = None, side: int = SIDE, words: int = 600) -> Any:
    pytest.importorskip('transformers')
    torch.manual_seed(0)
    loss = dict(type='cmmasksd.ClassWeightedBCELoss', hard_target=True)
    return MODELS.build(
        dict(
            type='cmmasksd.ReferringSegmentor',
            backbone=dict(
                type='cmmasksd.LanguageAwareSwin',
                architecture=SIZES,
                image_size=side,
                word_channels=12,
                drop_path_rate=0.0,
            ),
            text_encoder=dict(
                type='cmmasksd.HuggingFaceTextEncoder',
                name_or_path={**BERT, 'vocab_size': words},
                joint_channels=None,
            ),
            neck=dict(type='cmmasksd.TopDownNeck', in_channels=(8, 16, 32, 64)),
            decode_head=dict(type='cmmasksd.PixelClassifierHead', channels=32, loss_decode=loss),
            distillation=distillation or [],
            threshold=0.5,
        )
    )


def words_of(count: int = 3) -> TextFeatures:
    torch.manual_seed(3)
    words = torch.randn(count, 6, 12)
    padding = torch.arange(6) >= torch.tensor([4, 6, 3])[:count, None]
    return TextFeatures(words, words, words[:, 0], padding, ~padding)


def attend_by_formula(layer: WindowAttention, x: Tensor) -> Tensor:
    """Pixel by pixel: whom each one sees is decided by where it lies, nothing is rolled."""
    side, shift, heads = layer.window_size[0], layer.shift_size[0], layer.num_heads
    height, width = x.shape[0], x.shape[1]
    x = F.pad(x, (0, 0, 0, -width % side, 0, -height % side))
    rows, columns = x.shape[0], x.shape[1]
    query, key, value = layer.qkv(x).unflatten(2, (3, heads, -1)).unbind(dim=2)
    bias = layer.relative_position_bias_table.view(2 * side - 1, 2 * side - 1, heads)

    def where(place: int, length: int) -> tuple[int, int, int]:
        """Window, place inside it, and which end of the map it came from."""
        moved = (place - shift) % length
        return moved // side, moved % side, int(place < shift)

    pixels = [(row, column) for row in range(rows) for column in range(columns)]
    out = torch.zeros_like(x)
    for row, column in pixels:
        mine = where(row, rows), where(column, columns)
        seen, scores = [], []
        for other in pixels:
            theirs = where(other[0], rows), where(other[1], columns)
            if any(a[0] != b[0] for a, b in zip(mine, theirs)):
                continue
            offset = [a[1] - b[1] + side - 1 for a, b in zip(mine, theirs)]
            score = (query[row, column] * key[other]).sum(1) * (x.shape[2] // heads) ** -0.5 + bias[tuple(offset)]
            apart = any(a[2] != b[2] for a, b in zip(mine, theirs))
            seen.append(other)
            scores.append(score - 100 * apart)
        weights = torch.stack(scores).softmax(dim=0)  # (n, heads)
        answers = torch.stack([value[other] for other in seen])  # (n, heads, d)
        out[row, column] = (weights[..., None] * answers).sum(dim=0).flatten()
    return layer.proj(out[:height, :width])


@pytest.mark.parametrize('shift', [0, 1])
@pytest.mark.parametrize('size', [(3, 3), (2, 2), (4, 6)])
@torch.no_grad()
def test_windows_are_those_of_the_formula(size: tuple[int, int], shift: int) -> None:
    torch.manual_seed(0)
    layer = WindowAttention(8, [3, 3], [shift, shift], num_heads=2).double()
    nn.init.normal_(layer.relative_position_bias_table)
    x = torch.randn(2, *size, 8, dtype=torch.float64)
    expected = torch.stack([attend_by_formula(layer, each) for each in x])
    torch.testing.assert_close(layer(x), expected)
    if min(size) > 3 or not shift:  # torchvision shifts nothing where a window holds the map
        theirs = ShiftedWindowAttention(8, [3, 3], [shift, shift], num_heads=2).double()
        theirs.load_state_dict(layer.state_dict())
        torch.testing.assert_close(theirs(x), expected)


@pytest.mark.parametrize('heads', [1, 4])
@torch.no_grad()
def test_pixels_look_up_words(heads: int) -> None:
    torch.manual_seed(0)
    layer = PixelWordAttention(8, 12, num_heads=heads).eval()
    text, pixels = words_of(), torch.randn(3, 20, 8)

    def norm(features: Tensor) -> Tensor:
        variance, mean = torch.var_mean(features, dim=1, keepdim=True, correction=0)
        return (features - mean) / (variance + 1e-5).sqrt()

    for row in range(3):
        words = text.words[row][~text.padding[row]]  # padding is as if it were not there
        query, key, value = norm(layer.query(pixels[row : row + 1]))[0], layer.key(words), layer.value(words)
        parts = []
        for head in torch.arange(8).chunk(heads):
            scores = query[:, head] @ key[:, head].T * 8**-0.5
            parts.append(scores.softmax(dim=1) @ value[:, head])
        heard = norm(layer.answer(torch.cat(parts, dim=1))[None])
        expected = layer.output(layer.image(pixels[row : row + 1]) * heard)
        found = layer(pixels, text.words, text.padding)[row : row + 1]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_queries_in_the_words_space_score_words_as_the_attention_does() -> None:
    torch.manual_seed(0)
    layer, pixels, words = PixelWordAttention(8, 12), torch.randn(1, 20, 8), torch.randn(1, 5, 12)
    queries = layer.ask(pixels)
    scores = queries @ layer.key(words).transpose(1, 2)
    constant = queries @ layer.key.bias
    torch.testing.assert_close(layer.in_words(queries) @ words.transpose(1, 2), scores - constant[..., None])


@torch.no_grad()
def test_levels_patches_and_what_words_point_at() -> None:
    model = backbone().eval()
    text = words_of()
    features = model.encode_image(model.embed_image(torch.randn(3, 3, SIDE, SIDE)), text)
    assert [tuple(level.shape) for level in features.levels] == [
        (3, 8 * 2**i, 16 // 2**i, 16 // 2**i) for i in range(4)
    ]
    assert model.out_channels == (8, 16, 32, 64) and model.embed_dims == 8 and model.grid_size == (2, 2)
    assert features.patches.shape == (3, 4, 12) and features.pooled.shape == (3, 12)
    agreement = (features.patches * text.sentence[:, None]).sum(2) * 64**-0.5
    expected = (agreement.softmax(1)[..., None] * features.patches).sum(1)
    torch.testing.assert_close(features.pooled, expected)
    assert features.pooled.abs().max() > 1e-3  # the plain mean of what was normalised over pixels would be 0


@torch.no_grad()
def test_what_is_heard_goes_on_through_a_gate() -> None:
    """Each stage written out, on its own layers."""
    model, text = backbone().eval(), words_of()
    embeddings = model.embed_image(torch.randn(3, 3, SIDE, SIDE))
    x, expected = embeddings.view(3, 16, 16, 8), []
    for number, stage in enumerate(model.stages):
        for block in stage.blocks:
            x = block(x)
        heard = stage.fusion(x.flatten(1, 2), text.words, text.padding)
        expected.append(stage.norm(heard).view(x.shape).permute(0, 3, 1, 2))
        if number < 3:
            first, second = (stage.gate[place].weight for place in (0, 2))
            opened = torch.tanh(torch.relu(heard @ first.T) @ second.T)
            x = model.stages[number + 1].merge((x.flatten(1, 2) + opened * heard).view(x.shape))
    assert model.stages[3].gate is None
    for found, wanted in zip(model.encode_image(embeddings, text).levels, expected, strict=True):
        torch.testing.assert_close(found, wanted)


@torch.no_grad()
def test_the_first_stage_looks_at_each_image_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, text = backbone().eval(), words_of()
    images = torch.randn(2, 3, SIDE, SIDE)
    index = torch.tensor([0, 1, 0])
    alone = [
        model.encode_image(model.embed_image(images[[image]]), text[row : row + 1])
        for row, image in enumerate(index.tolist())
    ]
    seen = []
    look = model.stages[0].look
    monkeypatch.setattr(model.stages[0], 'look', lambda x: (seen.append(len(x)), look(x))[1])
    together = model.encode_image(model.embed_image(images), text, index)
    assert seen == [2]
    for row, each in enumerate(alone):
        for level, own in zip(together.levels, each.levels, strict=True):
            torch.testing.assert_close(level[row : row + 1], own, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(together.pooled[row : row + 1], each.pooled, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_padding_changes_nothing() -> None:
    model, text = backbone().eval(), words_of()
    other = text.words + torch.randn_like(text.words) * text.padding[..., None]
    embeddings = model.embed_image(torch.randn(3, 3, SIDE, SIDE))
    changed = TextFeatures(other, other, text.sentence, text.padding, text.word_tokens)
    for one, two in zip(model.encode_image(embeddings, text).levels, model.encode_image(embeddings, changed).levels):
        torch.testing.assert_close(one, two)


def test_a_mask_covers_what_lies_below_a_point() -> None:
    masked = torch.tensor([[False, True, False, False]])
    spread = backbone().spread_mask(masked).view(16, 16)
    expected = torch.zeros(16, 16, dtype=torch.bool)
    expected[:8, 8:] = True
    assert torch.equal(spread, expected)


def test_recomputing_gives_the_same_gradients() -> None:
    gradients = []
    for recompute in (False, True):
        model = backbone(activation_checkpointing=recompute, drop_path_rate=0.0).train()
        torch.manual_seed(1)
        images = torch.randn(2, 3, SIDE, SIDE)
        levels = model.encode_image(model.embed_image(images), words_of(2)).levels
        sum(level.square().mean() for level in levels).backward()
        gradients.append([each.grad for each in model.parameters() if each.grad is not None])
    assert len(gradients[0]) > 50
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two)


def test_the_class_weighted_loss_is_the_cross_entropy_of_two_classes() -> None:
    torch.manual_seed(0)
    scores, target = torch.randn(2, 2, 9, 9), torch.rand(2, 9, 9) > 0.7
    expected = F.cross_entropy(scores, target.long(), weight=torch.tensor([0.9, 1.1]))
    found = ClassWeightedBCELoss()(scores[:, 1:] - scores[:, :1], target[:, None].float())
    torch.testing.assert_close(found, expected)


@torch.no_grad()
def test_the_decoder_is_lavts() -> None:
    torch.manual_seed(0)
    neck = TopDownNeck((4, 8, 16, 32)).eval()
    levels = [torch.randn(2, 4 * 2**i, 12 // 2**i, 12 // 2**i) for i in range(3)] + [torch.randn(2, 32, 2, 2)]

    def step(x: Tensor, level: Tensor, place: int) -> Tensor:
        x = F.interpolate(x, size=level.shape[2:], mode='bilinear', align_corners=True)
        x = torch.cat([x, level], dim=1)
        for convolution, norm, _ in neck.merges[place]:
            x = F.relu(norm(F.conv2d(x, convolution.weight, padding=1)))
        return x

    expected = step(step(step(levels[3], levels[2], 0), levels[1], 1), levels[0], 2)
    torch.testing.assert_close(neck(tuple(levels)), expected)
    assert neck.out_channels == 16
    head = PixelClassifierHead(16)
    logits = head(expected)
    scores = F.interpolate(head.classes(expected), scale_factor=4, mode='bilinear', align_corners=True)
    assert torch.equal(logits[:, 0] > 0, scores.argmax(dim=1) == 1)
    torch.testing.assert_close(logits.sigmoid()[:, 0], scores.softmax(dim=1)[:, 1])


def test_both_branches_train_all_that_they_share() -> None:
    model = segmentor([dict(type='cmmasksd.LMVSD'), dict(type='cmmasksd.VMLSD')]).train()
    losses = model.loss(torch.randn(3, 3, SIDE, SIDE), IDS, None, (torch.rand(3, 1, SIDE, SIDE) > 0.5).float())
    assert list(losses) == ['loss_seg', 'loss_lmvsd', 'loss_vmlsd']
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())
    (losses['loss_lmvsd'] + losses['loss_vmlsd']).backward()
    without = {name for name, each in model.named_parameters() if each.grad is None or not each.grad.any()}
    assert all(each.grad is not None for each in model.parameters())  # which several processes wait for
    idle = re.compile(r'fusion\.(query|key|answer)\.bias')  # a constant under instance norm or softmax changes nothing
    assert {name for name in without if not idle.search(name)} == set()


@pytest.mark.parametrize('shared', [True, False])
def test_it_trains_predicts_and_is_saved(make_batch, tmp_path, shared: bool) -> None:
    branches = [dict(type='cmmasksd.LMVSD', shared=shared), dict(type='cmmasksd.VMLSD', shared=shared)]
    model = segmentor(branches, side=SIZE, words=49408)  # of CLIP's tokens
    check_the_whole_life(model, make_batch, BOTH, tmp_path)


def test_the_visual_branch_masks_where_the_sentence_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    model = segmentor([dict(type='cmmasksd.LMVSD', top_k=0.5, mask_ratio=1.0)]).eval()
    given = []
    encode = model.backbone.encode_image
    monkeypatch.setattr(model.backbone, 'encode_image', lambda x, *rest: (given.append(x), encode(x, *rest))[1])
    main = model.encode(torch.randn(3, 3, SIDE, SIDE), IDS)
    branch = model.distillation['lmvsd']
    with torch.no_grad():
        branch.mask_token.fill_(7.0)
    branch.student(model, main)
    masked = (given[1] == 7.0).all(dim=2).view(3, 2, 8, 2, 8)
    assert torch.equal(masked.any(dim=4).any(dim=2), masked.all(dim=4).all(dim=2))  # whole blocks of 8 x 8
    scores = (main.visual.patches * main.text.sentence[:, None]).sum(2)
    found = masked.all(dim=4).all(dim=2).flatten(1)
    assert (found.sum(1) == 2).all()
    assert torch.equal(found, scores >= scores.topk(2).values[:, -1:])


@torch.no_grad()
def test_branches_leave_inference_alone() -> None:
    plain = segmentor().eval()
    with_branches = segmentor([dict(type='cmmasksd.LMVSD'), dict(type='cmmasksd.VMLSD')]).eval()
    with_branches.load_state_dict(plain.state_dict(), strict=False)
    images = torch.randn(3, 3, SIDE, SIDE)
    assert torch.equal(plain(images, IDS), with_branches(images, IDS))
    names = set(with_branches.state_dict()) - set(plain.state_dict())
    assert names == {'distillation.lmvsd.mask_token', 'distillation.vmlsd.mask_token'}


def published_swin(model: LanguageAwareSwin) -> dict[str, Tensor]:
    """Random weights under the names of Swin's public code, with its classifier."""
    torch.manual_seed(7)
    state = {}
    for name, tensor in model.state_dict().items():
        if '.fusion.' in name or '.gate.' in name or re.match(r'stages\.\d\.norm\.', name):
            continue
        name = re.sub(r'^stages\.(\d)\.merge\.', lambda found: f'layers.{int(found[1]) - 1}.downsample.', name)
        name = name.replace('stages.', 'layers.').replace('mlp.0.', 'mlp.fc1.').replace('mlp.3.', 'mlp.fc2.')
        name = re.sub(r'^patch_embed\.', 'patch_embed.proj.', name)
        name = re.sub(r'^patch_norm\.', 'patch_embed.norm.', name)
        own = torch.randn_like(tensor) if tensor.is_floating_point() else tensor.view(9, 9)
        state[name] = own
    extra = {'norm.weight': (64,), 'norm.bias': (64,), 'head.weight': (5, 64), 'head.bias': (5,)}
    state |= {name: torch.randn(shape) for name, shape in extra.items()}
    return state | {'layers.0.blocks.1.attn_mask': torch.zeros(4, 9, 9)}


def test_published_weights_of_swin_are_loaded(tmp_path) -> None:
    state = published_swin(backbone())
    torch.save({'model': state}, tmp_path / 'swin.pth')
    model = backbone(pretrained=str(tmp_path / 'swin.pth'))
    model.init_weights()
    assert torch.equal(model.stages[1].merge.reduction.weight, state['layers.0.downsample.reduction.weight'])
    assert torch.equal(model.stages[2].blocks[1].mlp[3].weight, state['layers.2.blocks.1.mlp.fc2.weight'])
    assert torch.equal(model.patch_embed.weight, state['patch_embed.proj.weight'])
    table = model.stages[3].blocks[0].attn.relative_position_bias_table
    assert torch.equal(table, state['layers.3.blocks.0.attn.relative_position_bias_table'])


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (lambda state: state.pop('patch_embed.proj.weight'), '1 missing, such as patch_embed.weight'),
        (lambda state: state.update({'layers.9.x': torch.zeros(1)}), '1 unknown, such as stages.9.x'),
        (
            lambda state: state.update({'layers.0.blocks.0.attn.relative_position_bias_table': torch.zeros(49, 1)}),
            '1 of another shape, such as stages.0.blocks.0.attn.relative_position_bias_table',
        ),
    ],
)
def test_weights_of_another_swin_are_refused(tmp_path, change, said: str) -> None:
    state = published_swin(backbone())
    change(state)
    torch.save({'model': state}, tmp_path / 'swin.pth')
    with pytest.raises(ValueError, match=re.escape(said)):
        backbone(pretrained=str(tmp_path / 'swin.pth')).init_weights()


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (dict(architecture='huge'), 'tiny, small, base, large'),
        (dict(architecture=dict(embed_dims=8)), 'give embed_dims, depths, num_heads, window_size'),
        (dict(architecture='tiny', image_size=100), 'no multiple of 32'),
    ],
)
def test_what_cannot_be_built_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LanguageAwareSwin(**options)


@pytest.mark.parametrize(('words', 'sentence'), [(12, 8), (8, 12), (8, 8)])
def test_text_of_other_widths_is_named(words: int, sentence: int) -> None:
    padding = torch.zeros(1, 6, dtype=torch.bool)
    text = TextFeatures(torch.zeros(1, 6, words), torch.zeros(1, 6, 12), torch.zeros(1, sentence), padding, ~padding)
    with pytest.raises(ValueError, match=f'of width 12, and got {words} and {sentence}: .*joint_channels=None'):
        backbone().encode_image(torch.zeros(1, 256, 8), text)


def test_misuse_is_named() -> None:
    model = backbone()
    with pytest.raises(ValueError, match='LetterboxResize'):
        model.embed_image(torch.zeros(1, 3, 96, 96))
    with pytest.raises(ValueError, match='reads the sentence'):
        model.encode_image(torch.zeros(1, 256, 8))
    with pytest.raises(ValueError, match='LanguageAwareSwin'):
        TopDownNeck((4, 8)).fuse((torch.zeros(1, 4, 4, 4), torch.zeros(1, 8, 2, 2)), None, torch.zeros(2).long())
