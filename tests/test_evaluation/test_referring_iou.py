"""The metric against a formula in floats, through mmengine's Evaluator, and in several processes."""

import math

import numpy as np
import pytest
import torch
import torch.distributed as dist
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import Evaluator
from mmengine.structures import InstanceData
from mmseg.structures import SegDataSample
from PIL import Image

from cmmasksd.evaluation import ReferringIoUMetric
from cmmasksd.evaluation.referring_iou import count_pairs, derange
from cmmasksd.registry import METRICS
from tests.forking import run_ranks

KEYS = ['mIoU', 'oIoU', 'Pr@0.5', 'Pr@0.6', 'Pr@0.7', 'Pr@0.8', 'Pr@0.9', 'num_expressions']


def make_sample(seed: int) -> SegDataSample:
    """One image of its own size, 1 to 4 refs of 1 to 3 expressions, predictions near the truth."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(12, 30, 2)
    ref_ids, masks, predictions = [], [], []
    for ref in rng.permutation(rng.integers(1, 5)):
        mask = rng.random((height, width)) < rng.uniform(0.1, 0.6)
        for _ in range(rng.integers(1, 4)):
            ref_ids.append(int(ref))
            masks.append(mask)
            predictions.append(mask ^ (rng.random((height, width)) < rng.choice([0.02, 0.1, 0.2, 0.5])))
    sample = SegDataSample(metainfo=dict(img_path=f'{seed}.jpg'))
    sample.expressions = InstanceData(
        texts=['a'] * len(masks), ref_ids=torch.tensor(ref_ids), masks=torch.from_numpy(np.stack(masks))
    )
    sample.predictions = InstanceData(masks=torch.from_numpy(np.stack(predictions)))
    return sample


def of_masks(predictions, masks, ref_ids=None) -> dict:
    ref_ids = torch.arange(len(masks)) if ref_ids is None else torch.tensor(ref_ids)
    expressions = dict(masks=torch.as_tensor(masks), ref_ids=ref_ids)
    return dict(predictions=dict(masks=torch.as_tensor(predictions)), expressions=expressions, img_path='a.jpg')


def score(samples, **kwargs) -> dict:
    metric = ReferringIoUMetric(**kwargs)
    metric.process(None, samples)
    return metric.evaluate(len(samples))


def score_as_cris(samples: list[SegDataSample]) -> dict:
    """CRIS's definition in floats: a millionth in the denominator, thresholds in single precision."""
    ious, intersections, unions = [], 0, 0
    for sample in samples:
        for prediction, mask in zip(sample.predictions.masks.numpy(), sample.expressions.masks.numpy(), strict=True):
            intersection, union = np.sum(prediction & mask), np.sum(prediction | mask)
            ious.append(intersection / (union + 1e-6))
            intersections, unions = intersections + intersection, unions + union
    ious = torch.tensor(np.array(ious))
    precision = {f'Pr@{x:.1f}': 100 * (ious > x).float().mean().item() for x in torch.arange(0.5, 1.0, 0.1)}
    return dict(
        mIoU=100 * ious.mean().item(), oIoU=100 * intersections / unions, num_expressions=len(ious), **precision
    )


def test_it_gives_criss_numbers():
    samples = [make_sample(seed) for seed in range(40)]
    ours, theirs = score([sample.to_dict() for sample in samples]), score_as_cris(samples)
    assert list(ours) == KEYS
    assert ours['num_expressions'] == theirs['num_expressions'] > 100
    for key in KEYS:
        assert ours[key] == pytest.approx(theirs[key], abs=2e-5), key
    assert 0 < ours['Pr@0.9'] < ours['Pr@0.5'] < 100


def strip(length: int, total: int = 10) -> np.ndarray:
    return (np.arange(total) < length)[None]


@pytest.mark.parametrize(
    ('prediction', 'mask', 'iou', 'above'),
    [
        (strip(10), strip(10), 100, 5),
        (strip(5), strip(10), 50, 0),
        (strip(6), strip(10), 60, 1),
        (strip(7), strip(10), 70, 2),
        (strip(9), strip(10), 90, 4),
        (strip(0), strip(10), 0, 0),
        (strip(0), strip(0), 0, 0),
        (strip(10), strip(0), 0, 0),
    ],
)
def test_precision_is_strictly_greater(prediction, mask, iou, above):
    table = score([of_masks(prediction[None], mask[None])])
    assert table['mIoU'] == pytest.approx(iou, abs=1e-12) and table['oIoU'] == pytest.approx(iou, abs=1e-12)
    assert sum(table[f'Pr@0.{tenth}'] for tenth in range(5, 10)) == 100 * above


@pytest.mark.parametrize(
    ('prediction', 'mask', 'reached'),
    [
        (strip(4), strip(10), 0),
        (strip(5), strip(10), 1),
        (strip(9), strip(10), 5),
        (strip(10), strip(10), 5),
        (strip(0), strip(0), 0),
    ],
)
def test_inclusive_precision_counts_what_is_reached_exactly(prediction, mask, reached):
    table = score([of_masks(prediction[None], mask[None])], inclusive=True)
    assert sum(table[f'Pr@0.{tenth}'] for tenth in range(5, 10)) == 100 * reached


def test_mean_and_overall_differ():
    small = of_masks(strip(1)[None], strip(2)[None])
    large = of_masks(strip(1000, 1000)[None], strip(1000, 1000)[None])
    table = score([small, large])
    assert table['mIoU'] == pytest.approx(75) and table['oIoU'] == pytest.approx(100 * 1001 / 1002)


def test_through_an_evaluator_and_the_registry():
    evaluator = Evaluator(METRICS.build(dict(type='ReferringIoUMetric', derangement=True)))
    samples = [make_sample(seed) for seed in range(9)]
    for start in range(0, 9, 2):
        evaluator.process(samples[start : start + 2])
    table = evaluator.evaluate(9)
    assert list(table) == KEYS + ['mIoU_deranged']
    assert table['mIoU'] == pytest.approx(score_as_cris(samples)['mIoU'], abs=2e-5)
    assert not evaluator.metrics[0].results
    assert list(score([samples[0].to_dict()], prefix='val'))[0] == 'val/mIoU'


def test_padded_duplicates_are_cut_off_by_image():
    metric = ReferringIoUMetric()
    metric.process(None, [make_sample(seed).to_dict() for seed in (0, 1, 2, 0)])
    assert metric.evaluate(3) == score([make_sample(seed).to_dict() for seed in range(3)])


def test_entries_are_small_integers():
    metric = ReferringIoUMetric(derangement=True)
    metric.process(None, [make_sample(3).to_dict()])
    (entry,) = metric.results
    numbers = [number for pairs in entry.values() for pair in pairs for number in pair]
    assert numbers and all(type(number) is int for number in numbers)
    assert len(entry['pairs']) == len(make_sample(3).expressions)


def test_derangement_takes_the_next_ref_cyclically():
    masks = torch.arange(5)[:, None, None]
    taken = derange(masks, torch.tensor([30, 10, 30, 20, 10]))  # 10 -> 20 -> 30 -> 10
    assert [mask.item() for mask in taken] == [1, 3, 1, 0, 3]
    assert derange(masks[:2], torch.tensor([4, 4])) == []


def test_derangement_tells_listening_from_looking():
    masks = np.stack([np.eye(4, dtype=bool)[index][None] for index in (0, 0, 1, 2)])
    ref_ids = [7, 7, 9, 3]
    listens = of_masks(masks, masks, ref_ids)
    looks = of_masks(np.ones_like(masks), masks, ref_ids)
    alone = of_masks(masks[:1], masks[:1])
    table = score([listens, alone], derangement=True)
    assert table['mIoU'] == 100 and table['mIoU_deranged'] == 0 and table['num_expressions'] == 5
    assert score([looks], derangement=True)['mIoU_deranged'] == score([looks])['mIoU'] == 25
    assert math.isnan(score([alone], derangement=True)['mIoU_deranged'])
    assert 'mIoU_deranged' not in score([listens])


@pytest.mark.parametrize(
    ('predictions', 'masks', 'message'),
    [
        (np.zeros((2, 4, 4), bool), np.zeros((3, 4, 4), bool), r'a\.jpg.*\(2, 4, 4\).*\(3, 4, 4\)'),
        (np.zeros((2, 4, 5), bool), np.zeros((2, 4, 4), bool), r'a\.jpg.*own size'),
        (np.zeros((4, 4), bool), np.zeros((4, 4), bool), r'a\.jpg.*\(K, height, width\)'),
        (np.zeros((1, 4, 4), np.float32), np.zeros((1, 4, 4), bool), r'a\.jpg.*bool.*float32'),
        (np.zeros((1, 4, 4), bool), np.zeros((1, 4, 4), np.uint8), r'a\.jpg.*bool.*uint8'),
    ],
)
def test_masks_that_do_not_match(predictions, masks, message):
    with pytest.raises(ValueError, match=message):
        score([of_masks(predictions, masks)])


def test_nothing_to_score():
    with pytest.raises(ValueError, match='nothing to score'):
        ReferringIoUMetric().evaluate(0)


def test_no_expression_in_one_image():
    nothing = of_masks(np.zeros((0, 4, 4), bool), np.zeros((0, 4, 4), bool))
    assert count_pairs(torch.zeros(0, 4, 4).bool(), []) == []
    assert score([nothing, make_sample(0).to_dict()]) == score([make_sample(0).to_dict()])


def score_own_share(folder):
    """What one of several processes does: it takes the images that mmengine's sampler gives it, some of them a second
    time.
    """
    samples, rank = torch.load(folder / 'samples'), dist.get_rank()
    metric = ReferringIoUMetric(derangement=True)
    for index in DefaultSampler(samples, shuffle=False):
        metric.process(None, [samples[index]])
    torch.save(metric.evaluate(len(samples)), folder / f'metrics_{rank}')


@pytest.mark.parametrize(('images', 'processes'), [(7, 2), (7, 3), (2, 3)])
def test_several_processes_equal_one(images, processes, tmp_path):
    samples = [make_sample(seed).to_dict() for seed in range(images)]
    torch.save(samples, tmp_path / 'samples')
    run_ranks(score_own_share, processes, tmp_path, tmp_path)
    alone = score(samples, derangement=True)
    assert len(alone) == 9
    for rank in range(processes):
        assert torch.load(tmp_path / f'metrics_{rank}') == alone


def test_masks_are_written_where_asked_for(tmp_path):
    """As mmseg's ``tools/test.py --out`` asks; a name that joined sets share is numbered, and begins anew each time."""
    samples = [make_sample(seed).to_dict() for seed in (1, 2, 1)]
    for sample in samples:
        sample['expressions']['sent_ids'] = 10 + torch.arange(len(sample['predictions']['masks']))
    metric = ReferringIoUMetric(output_dir=str(tmp_path / 'masks'), keep_results=True)
    for _ in range(2):
        metric.process(None, samples)
        metric.evaluate(3)
    names = [
        f'{stem}_{10 + place}{end}'
        for sample, stem, end in zip(samples, '121', ('', '', '-2'))
        for place in range(len(sample['predictions']['masks']))
    ]
    assert sorted(path.name for path in (tmp_path / 'masks').iterdir()) == sorted(f'{name}.png' for name in names)
    assert np.array_equal(np.asarray(Image.open(tmp_path / 'masks/2_10.png')), samples[1]['predictions']['masks'][0])
    with pytest.raises(ValueError, match='leave keep_results and output_dir out'):
        ReferringIoUMetric(output_dir='masks', keep_results=False)


def test_what_is_covered_wrongly_and_what_is_missed() -> None:
    truth = [[True, True, True, False, False]]
    more, less, other = (
        [[True, True, True, True, True]],
        [[True, False, False, False, False]],
        [[False] * 3 + [True] * 2],
    )
    table = score([of_masks([more, less, other], [truth] * 3)], segmentation_errors=True)
    assert table['OverSeg'] == pytest.approx(100 * (2 / 5 + 0 + 2 / 5) / 3)
    assert table['UnderSeg'] == pytest.approx(100 * (0 + 2 / 3 + 3 / 5) / 3)
    assert 'OverSeg' not in score([of_masks([more], [truth])])


def test_errors_and_iou_make_the_whole() -> None:
    samples = [make_sample(seed) for seed in range(20)]
    table = score([sample.to_dict() for sample in samples], segmentation_errors=True)
    assert table['mIoU'] + table['OverSeg'] + table['UnderSeg'] == pytest.approx(100)
    empty = of_masks(np.zeros((1, 2, 2), bool), np.zeros((1, 2, 2), bool))
    assert score([empty], segmentation_errors=True)['UnderSeg'] == 0
