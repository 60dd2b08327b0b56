"""ETRIS: towers that stop between their stages, the bridge and the neck beside formulas, the whole with branches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmmasksd.models import SentenceGatedNeck, StageBridge
from cmmasksd.models.convolutions import scaling_convolution
from cmmasksd.models.distillation.correlation import mask_tokens
from cmmasksd.models.stages import advance
from cmmasksd.registry import MODELS
from tests.test_models.test_mixing import BOTH, SIZE, check_the_whole_life

TEXT = dict(context_length=77, vocab_size=49408, width=12, heads=2, layers=3)
RESNET: dict[str, Any] = dict(
    embed_dim=16, quick_gelu=True, vision_cfg=dict(image_size=64, layers=[1, 1, 1, 1], width=8), text_cfg=TEXT
)
VIT: dict[str, Any] = dict(
    embed_dim=16, quick_gelu=True, vision_cfg=dict(image_size=64, patch_size=16, layers=3, width=64), text_cfg=TEXT
)
HEAD = dict(
    type='cmmasksd.VisionLanguageDecodeHead',
    channels=32,
    word_channels=12,
    text_channels=16,
    num_layers=1,
    num_heads=2,
    feedforward_channels=16,
)
IDS = torch.tensor([[49406, 736, 28157, 49407, 0, 0], [49406, 5, 49407, 0, 0, 0], [49406, 7, 8, 9, 10, 49407]])
BRANCHES = [dict(type='cmmasksd.LMVSD', top_k=1.0, mask_ratio=1.0), dict(type='cmmasksd.VMLSD')]


def segmentor(kind: str, distillation: list[dict] | None = None, side: int = 64) -> Any:
    """ETRIS on a small ``resnet`` or ``vit``."""
    torch.manual_seed(0)
    resnet = kind == 'resnet'
    scales, widths = ((0.5, 1, 2), (64, 128, 16)) if resnet else ((1, 1, 1), (64, 64, 16))
    tower = 'cmmasksd.OpenCLIPResNet' if resnet else 'cmmasksd.OpenCLIPVisionTransformer'
    exchange = dict(exchange='transformer') if resnet else dict(exchange='product', normalise=True)
    model = MODELS.build(
        dict(
            type='cmmasksd.ReferringSegmentor',
            backbone=dict(type=tower, architecture=RESNET if resnet else VIT, image_size=side),
            text_encoder=dict(type='cmmasksd.OpenCLIPTextTransformer', architecture=RESNET if resnet else VIT),
            bridge=dict(type='cmmasksd.StageBridge', channels=8, num_heads=2, scales=scales, **exchange),
            neck=dict(
                type='cmmasksd.SentenceGatedNeck',
                in_channels=widths,
                text_channels=16,
                out_channels=32,
                scales=scales,
            ),
            decode_head=HEAD,
            distillation=distillation or [],
        )
    )
    for layer in model.bridge.modules():  # so that what the bridge brings counts
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.5)
    return model


@pytest.fixture(params=['resnet', 'vit'])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@torch.no_grad()
def test_towers_that_stop_give_what_they_give(kind: str) -> None:
    model = segmentor(kind).eval()
    embeddings, words = model.embed_image(torch.randn(3, 3, 64, 64)), model.embed_text(IDS)
    plain, text = model.backbone.encode_image(embeddings), model.text_encoder.encode_text(words, IDS)
    image, read = model.backbone.encode_in_stages(embeddings), model.text_encoder.encode_in_stages(words, IDS)
    maps, tokens, seen = next(image), next(read), []
    for width in model.backbone.stage_channels:
        assert maps.shape[1] == width and tokens.shape == (3, 6, 12)
        seen.append(maps)
        maps, tokens = advance(image, torch.zeros_like(maps)), advance(read, torch.zeros_like(tokens))
    assert torch.equal(seen[0], plain.levels[0]) and torch.equal(seen[1], plain.levels[1])
    torch.testing.assert_close(maps.levels, plain.levels)
    torch.testing.assert_close((maps.patches, maps.pooled), (plain.patches, plain.pooled))
    torch.testing.assert_close((tokens.words, tokens.sentence), (text.words, text.sentence))


@torch.no_grad()
def test_what_is_added_goes_on(kind: str) -> None:
    model = segmentor(kind).eval()
    embeddings = model.embed_image(torch.randn(1, 3, 64, 64))
    plain, stages = model.backbone.encode_image(embeddings), model.backbone.encode_in_stages(embeddings)
    added = torch.randn_like(next(stages))
    maps = advance(stages, added)
    assert (maps - plain.levels[1]).abs().max() > 1e-3
    features = advance(stages, torch.zeros_like(maps))
    features = advance(stages, torch.zeros_like(features))
    torch.testing.assert_close(features.levels[0], plain.levels[0] + added)
    torch.testing.assert_close(features.levels[1], maps)


def decode_by_formula(layer: nn.TransformerDecoderLayer, x: Tensor, memory: Tensor) -> Tensor:
    """ETRIS's ``Interactor``: self-attention, cross-attention, feed-forward, each with a norm behind it."""

    def attend(attention: nn.MultiheadAttention, query: Tensor, key: Tensor) -> Tensor:
        return look_up(attention.in_proj_weight, attention.in_proj_bias, attention.out_proj, 2, query, key)

    x = layer.norm1(x + attend(layer.self_attn, x, x))
    x = layer.norm2(x + attend(layer.multihead_attn, x, memory))
    return layer.norm3(x + layer.linear2(F.relu(layer.linear1(x))))


def look_up(weight: Tensor, bias: Tensor, out: nn.Module, heads: int, asking: Tensor, asked: Tensor) -> Tensor:
    query, key, value = (
        F.linear(x, w, b).unflatten(2, (heads, -1)).transpose(1, 2)
        for x, w, b in zip((asking, asked, asked), weight.chunk(3), bias.chunk(3))
    )
    weights = (query @ key.transpose(2, 3) * query.shape[3] ** -0.5).softmax(dim=3)
    return out((weights @ value).transpose(1, 2).flatten(2))


@torch.no_grad()
def test_the_bridge_is_etris_bridger(kind: str) -> None:
    """Stage by stage, written out on the bridge's own layers."""
    model = segmentor(kind).eval()
    embeddings, words = model.embed_image(torch.randn(3, 3, 64, 64)), model.embed_text(IDS)
    image, read = model.backbone.encode_in_stages(embeddings), model.text_encoder.encode_in_stages(words, IDS)
    maps, tokens, before = next(image), next(read), None

    def tell(layer: Any, asking: Tensor, asked: Tensor) -> Tensor:
        if kind == 'resnet':
            return decode_by_formula(layer, asking, asked)
        own = layer.attention
        return asking * look_up(own.in_proj_weight, own.in_proj_bias, own.out_proj, 2, asking, asked)

    for layer in model.bridge.crossings:
        narrow = layer.narrow_image(maps)
        assert narrow.shape == (3, 8, 4, 4)
        v, t = narrow.flatten(2).transpose(1, 2), layer.narrow_text(tokens)
        if before is not None:
            v, t = layer.image_norm(v + before[0]), layer.text_norm(t + before[1])
        before = v, t
        told, heard = tell(layer.tell_image, v, t), tell(layer.tell_text, t, v)  # both of what was before both
        told = layer.widen_image(told.transpose(1, 2).unflatten(2, (4, 4)))
        maps, tokens = advance(image, told), advance(read, layer.widen_text(heard))
    visual, text = model.encode_pair(embeddings, words, IDS)
    torch.testing.assert_close(visual.levels, maps.levels, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(text.sentence, tokens.sentence, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_each_side_learns_of_the_other(kind: str) -> None:
    model = segmentor(kind).eval()
    images = torch.randn(2, 3, 64, 64)
    words = model.embed_text(IDS[:1])
    first, of_first = model.encode_pair(model.embed_image(images[:1]), words, IDS[:1])
    _, of_second = model.encode_pair(model.embed_image(images[1:]), words, IDS[:1])
    other, _ = model.encode_pair(model.embed_image(images[:1]), model.embed_text(IDS[2:]), IDS[2:])
    assert (of_first.sentence - of_second.sentence).abs().max() > 1e-3
    assert (first.levels[0] - other.levels[0]).abs().max() > 1e-3


def test_scales_become_convolutions() -> None:
    maps = torch.randn(1, 4, 6, 6)
    for scale, side in ((0.5, 3), (1, 6), (2, 12), (1 / 3, 2)):
        layer = scaling_convolution(4, 5, scale)
        assert layer.bias is None and layer(maps).shape == (1, 5, side, side)
    for scale in (0, -1, 0.4, 1.5):
        with pytest.raises(ValueError, match='a whole number, or 1 over one'):
            scaling_convolution(4, 5, scale)


@torch.no_grad()
def test_a_gate_is_an_attention_to_the_sentence_alone() -> None:
    torch.manual_seed(0)
    neck = SentenceGatedNeck((4, 6, 8), 5, 16).eval()
    levels = torch.randn(2, 4, 8, 8), torch.randn(2, 6, 4, 4), torch.randn(2, 8, 2, 2)
    sentence, index = torch.randn(3, 5), torch.tensor([0, 1, 0])
    text, gated = neck.text_projection(sentence), []
    for level, layer, gate in zip(levels, neck.levels, neck.gates, strict=True):
        attention = nn.MultiheadAttention(16, 8, batch_first=True)  # with any queries and keys
        attention.in_proj_weight[32:] = gate[0].weight
        attention.in_proj_bias[32:] = gate[0].bias
        attention.out_proj.load_state_dict(gate[1].state_dict())
        pixels = layer(level)[index].flatten(2).transpose(1, 2)
        told = attention(pixels, text[:, None], text[:, None])[0]
        gated.append((pixels * told).transpose(1, 2).unflatten(2, (4, 4)))
    merged = neck.aggregate(torch.cat(gated, dim=1))
    x = torch.linspace(-1, 1, 4).expand(4, 4)
    coordinates = torch.stack([x, x.T]).expand(3, -1, -1, -1)
    kernel = neck.coordinates.get_parameter('0.weight')
    own = F.conv2d(torch.cat([merged, coordinates], dim=1), kernel, padding=1)
    expected = neck.output(neck.coordinates.normalise(own))
    torch.testing.assert_close(neck(levels, sentence, index), expected, atol=1e-5, rtol=1e-4)
    neck.residual = True
    torch.testing.assert_close(neck(levels, sentence, index), merged + expected, atol=1e-5, rtol=1e-4)


def test_it_trains_predicts_and_is_saved(kind: str, make_batch: Any, tmp_path: Any) -> None:
    check_the_whole_life(segmentor(kind, BRANCHES, SIZE), make_batch, BOTH, tmp_path)


def test_both_branches_train_all_that_they_share(kind: str) -> None:
    model = segmentor(kind, BRANCHES).train()
    losses = model.loss(torch.randn(3, 3, 64, 64), IDS, None, (torch.rand(3, 1, 64, 64) > 0.5).float())
    assert list(losses) == ['loss_seg', 'loss_lmvsd', 'loss_vmlsd']
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())
    (losses['loss_lmvsd'] + losses['loss_vmlsd']).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name  # which several processes wait for


def test_a_student_has_a_sentence_of_its_own(kind: str) -> None:
    """What the masked picture tells the words, and not what the whole one told them."""
    model = segmentor(kind, BRANCHES).eval()
    main = model.encode(torch.randn(3, 3, 64, 64), IDS)
    branch = model.distillation['lmvsd']
    student = branch.student(model, main)
    everything = torch.ones(main.patch_embeddings.shape[:2], dtype=torch.bool)
    masked = mask_tokens(main.patch_embeddings, everything, branch.mask_token)
    expected = model.encode_pair(masked, main.word_embeddings, IDS)[1]
    torch.testing.assert_close(student.text.sentence, expected.sentence)
    assert (student.text.sentence - main.text.sentence).abs().max() > 1e-4


@torch.no_grad()
def test_expressions_of_one_image_and_branches_leave_inference_alone(kind: str) -> None:
    plain, branched = segmentor(kind).eval(), segmentor(kind, BRANCHES).eval()
    branched.load_state_dict(plain.state_dict(), strict=False)
    images, index = torch.randn(2, 3, 64, 64), torch.tensor([0, 1, 0])
    logits = plain(images, IDS, index)
    assert torch.equal(logits, branched(images, IDS, index)) and plain.image_needs_text
    torch.testing.assert_close(logits, plain(images[index], IDS), atol=1e-4, rtol=1e-4)
    encoded = plain.encode_images(images)
    assert encoded.projected is None
    plain.expressions_per_chunk = 2
    chunks = torch.cat([chunk for _, chunk in plain.segment_images(encoded, IDS, index)])
    torch.testing.assert_close(chunks, logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ('options', 'said'),
    [
        (dict(encoders=None), 'built by a segmentor'),
        (dict(exchange='sum'), "exchange is 'transformer' or 'product', got 'sum'"),
        (dict(scales=(1, 1)), 'scales has 2 numbers and the image encoder 3 stages'),
        (dict(encoders=(nn.Identity(), nn.Identity())), 'Identity does not stop between its stages'),
    ],
)
def test_bridges_that_cannot_be(options: dict, said: str) -> None:
    model = segmentor('resnet')
    with pytest.raises(ValueError, match=said):
        StageBridge(**{'encoders': (model.backbone, model.text_encoder), **options})


@torch.no_grad()
def test_an_image_is_run_once_up_to_where_the_encoders_meet(kind: str) -> None:
    model, seen = segmentor(kind).eval(), []
    visual = model.backbone.visual
    parts = (visual.layer2, visual.layer3) if kind == 'resnet' else visual.transformer.resblocks[:2]
    for part in parts:
        part.register_forward_pre_hook(lambda layer, arguments: seen.append(len(arguments[0])))
    model(torch.randn(2, 3, 64, 64), IDS, torch.tensor([0, 1, 0]))
    assert seen == [2, 3]


def test_scales_that_lead_to_different_grids_are_told() -> None:
    model, ids = segmentor('resnet').eval(), IDS[:1]
    model.bridge = StageBridge(scales=(1, 1, 1), encoders=(model.backbone, model.text_encoder)).eval()
    with pytest.raises(ValueError, match='meet on grids of 64 and 16 points: give StageBridge scales'):
        model(torch.randn(1, 3, 64, 64), ids)
    neck = SentenceGatedNeck((4, 6, 8), 5, 16, scales=(1, 1, 1))
    with pytest.raises(ValueError, match=r'grids of \[\(2, 2\), \(4, 4\), \(8, 8\)\]: give SentenceGatedNeck scales'):
        neck.project((torch.randn(1, 4, 8, 8), torch.randn(1, 6, 4, 4), torch.randn(1, 8, 2, 2)))


def test_a_text_tower_that_cannot_be_parted_says_so() -> None:
    image = segmentor('resnet').backbone
    for options, said in (
        (dict(layers=4), 'has 4 blocks, and no third of that is a whole number: it cannot stop between stages'),
        (dict(embed_cls=True), 'appends a .class. token to the words: it cannot'),
    ):
        config = dict(RESNET, text_cfg=dict(TEXT, **options))
        tower = MODELS.build(dict(type='cmmasksd.OpenCLIPTextTransformer', architecture=config))
        with pytest.raises(ValueError, match=said):
            StageBridge(encoders=(image, tower))
