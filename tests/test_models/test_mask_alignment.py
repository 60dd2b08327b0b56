"""Where masks come out, told by geometry: a shape that is known exactly goes in and must come back in its place."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from cmmasksd.datasets.transforms import LetterboxResize
from cmmasksd.models.losses import MaskLoss
from cmmasksd.models.mask_alignment import masks_to_logits
from cmmasksd.registry import MODELS

SIZES = {480: 16, 532: 14, 576: 16}  # the paper's inputs, and the patches of their ViT
PICTURES = [(480, 640), (427, 640), (501, 333), (611, 241), (1023, 767)]
SAMPLES = 8  # of a pixel or a logit's square, along each side

Shape = Callable[[np.ndarray, np.ndarray], np.ndarray]


def ellipse(height: int, width: int) -> Shape:
    """A tilted ellipse off the centre: whether points (rows, columns), in pixels from the corner, lie in it."""
    centre, radii, turn = (0.43 * height, 0.56 * width), (0.3 * height, 0.22 * width), 0.4

    def contains(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        y, x = rows[:, None] - centre[0], columns[None, :] - centre[1]
        along, across = y * np.cos(turn) + x * np.sin(turn), x * np.cos(turn) - y * np.sin(turn)
        return (along / radii[0]) ** 2 + (across / radii[1]) ** 2 < 1

    return contains


def shares(shape: Shape, rows: tuple[float, float, int], columns: tuple[float, float, int]) -> np.ndarray:
    """The share of each cell of a grid that the shape covers; rows and columns are (start, length of a cell, cells)."""

    def points(start: float, length: float, cells: int) -> np.ndarray:
        return start + (np.arange(cells * SAMPLES) + 0.5) * length / SAMPLES

    inside = shape(points(*rows), points(*columns))
    return inside.reshape(rows[2], SAMPLES, columns[2], SAMPLES).mean(axis=(1, 3))


def centroid(weights: np.ndarray) -> tuple[float, float]:
    rows, columns = (np.arange(length) for length in weights.shape)
    total = weights.sum()
    return (weights.sum(axis=1) * rows).sum() / total, (weights.sum(axis=0) * columns).sum() / total


class Answer(nn.Module):
    """A decode head that answers with logits of its own, which may be trained."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits, self.loss_decode = nn.Parameter(logits), MaskLoss()

    def forward(self, *features: Tensor) -> Tensor:
        return self.logits


def build(size: int, logits: Tensor, **options: object) -> nn.Module:
    """A small model of the paper's input size; its decode head gives ``logits``."""
    architecture = dict(
        embed_dim=8,
        quick_gelu=True,
        vision_cfg=dict(image_size=size, patch_size=SIZES[size], layers=3, width=16, head_width=8),
        text_cfg=dict(context_length=77, vocab_size=49408, layers=1, width=8, heads=1),
    )
    model = MODELS.build(
        dict(
            type='cmmasksd.ReferringSegmentor',
            backbone=dict(type='cmmasksd.OpenCLIPVisionTransformer', architecture=architecture, image_size=size),
            text_encoder=dict(type='cmmasksd.OpenCLIPTextTransformer', architecture=architecture),
            neck=dict(type='cmmasksd.CrossModalFPN', in_channels=(16, 16, 8), text_channels=8, out_channels=(4, 8, 8)),
            decode_head=dict(
                type='cmmasksd.VisionLanguageDecodeHead',
                channels=8,
                word_channels=8,
                text_channels=8,
                num_layers=1,
                num_heads=1,
                feedforward_channels=8,
            ),
            **options,
        )
    )
    model.decode_head = Answer(logits)
    return model


def batch_of(picture: tuple[int, int], size: int) -> tuple[dict, np.ndarray]:
    """A training batch of one picture whose object is the ellipse, and the object at the picture's own size."""
    mask = shares(ellipse(*picture), (0, 1, picture[0]), (0, 1, picture[1])) > 0.5
    results = dict(img=np.zeros((*picture, 3), np.uint8), masks=mask[None])
    results = LetterboxResize((size, size)).transform(results)
    sample = SegDataSample(metainfo=dict(letterbox=results['letterbox']))
    ids = torch.tensor([[49406, 320, 49407]])
    sample.expressions = InstanceData(input_ids=ids, masks=torch.from_numpy(results['masks']))
    inputs = torch.from_numpy(np.ascontiguousarray(results['img'].transpose(2, 0, 1)))
    return dict(inputs=[inputs], data_samples=[sample]), mask


def check_place(predicted: np.ndarray, mask: np.ndarray, letterbox, least_iou: float, most_shift: float) -> None:
    """Compares in pixels of the input, whatever the picture's size."""
    assert predicted.shape == mask.shape and mask.sum() > 500
    iou = (predicted & mask).sum() / (predicted | mask).sum()
    moves = [
        (found - wanted) * scaled / original
        for found, wanted, scaled, original in zip(
            centroid(predicted), centroid(mask), letterbox.scaled, letterbox.original
        )
    ]
    assert iou > least_iou, (iou, moves)
    assert max(map(abs, moves)) < most_shift, (iou, moves)


@pytest.mark.parametrize('picture', PICTURES, ids=str)
@pytest.mark.parametrize('size', SIZES)
@torch.no_grad()
def test_logits_of_a_known_mask_come_back_in_place(size: int, picture: tuple[int, int]) -> None:
    batch, mask = batch_of(picture, size)
    letterbox = batch['data_samples'][0].letterbox
    # what a perfect model says: the share of each logit's square, in the picture's own coordinates, that is covered
    grid = 4 * size // SIZES[size]
    scales = [original / scaled for original, scaled in zip(letterbox.original, letterbox.scaled)]
    axes = [(-offset * scale, size / grid * scale, grid) for offset, scale in zip(letterbox.offset, scales)]
    covered = torch.from_numpy(shares(ellipse(*picture), *axes)).float().clamp(1e-4, 1 - 1e-4)
    model = build(size, covered.logit()[None, None]).eval()
    (sample,) = model.test_step(batch)
    check_place(sample.predictions.masks[0].numpy(), mask, letterbox, least_iou=0.97, most_shift=0.3)


@pytest.mark.parametrize('branches', [(), ('LMVSD', 'VMLSD')], ids=['main branch', 'with students'])
@pytest.mark.parametrize('size', SIZES)
def test_what_is_trained_comes_back_in_place(size: int, branches: tuple[str, ...]) -> None:
    """The training's own target, whatever it is, learnt to the end and predicted from."""
    picture = (427, 640)
    batch, mask = batch_of(picture, size)
    grid = 4 * size // SIZES[size]
    logits = torch.zeros(1 + len(branches), 1, grid, grid)
    distillation = [dict(type=f'cmmasksd.{name}', loss_weight=0.0) for name in branches]
    model = build(size, logits, distillation=distillation).train()
    inputs = model.data_preprocessor(batch, True)
    optimiser = torch.optim.Adam([model.decode_head.logits], lr=0.5)
    for _ in range(40):
        optimiser.zero_grad()
        model(**inputs, mode='loss')['loss_seg'].backward()
        optimiser.step()
    model.decode_head.logits = nn.Parameter(model.decode_head.logits[:1].detach())
    (sample,) = model.eval().test_step(batch)
    check_place(sample.predictions.masks[0].numpy(), mask, sample.letterbox, least_iou=0.97, most_shift=0.3)


@pytest.mark.parametrize(('size', 'grid'), [(480, 120), (532, 152), (576, 144), (128, 32)])
def test_targets_keep_the_area_and_the_place_of_a_mask(size: int, grid: int) -> None:
    mask = shares(ellipse(size, size), (0, 1, size), (0, 1, size))
    target = masks_to_logits(torch.from_numpy(mask)[None, None], (grid, grid), 'area')[0, 0].numpy()
    scale = size / grid
    assert target.sum() * scale**2 == pytest.approx(mask.sum(), rel=1e-3)
    for found, wanted in zip(centroid(target), centroid(mask)):
        assert (found + 0.5) * scale - 0.5 == pytest.approx(wanted, abs=0.05)  # windows of 3.5 pixels end on whole ones


@torch.no_grad()
def test_criss_pair_is_its_own(tiny_model, make_batch) -> None:
    """CRIS (engine/engine.py): nearest ground truth; predictions enlarged bicubically with aligned corners."""
    model = tiny_model(distillation=[], mask_alignment='cris').eval()
    data = model.data_preprocessor(make_batch((1, 2)), True)
    logits = model(**data, mode='tensor')
    sampled = data['masks'][:, :, ::2, ::2]  # 16 x 24 logits of 32 x 48 pixels
    expected = nn.functional.binary_cross_entropy_with_logits(logits, sampled)
    torch.testing.assert_close(model(**data, mode='loss')['loss_seg'], expected)
    first = model.test_step(make_batch((1, 2), training=False, original=(32, 48)))[0].predictions.probabilities[0]
    corners = logits[0, 0, ::15, ::23].sigmoid()  # aligned corners: the outermost logits stand on the corner pixels
    torch.testing.assert_close(first[::31, ::47], corners)


def test_an_unknown_alignment_is_refused(tiny_model) -> None:
    with pytest.raises(ValueError, match="mask_alignment is 'area' or 'cris', got 'nearest'"):
        tiny_model(mask_alignment='nearest')
