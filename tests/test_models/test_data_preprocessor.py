from __future__ import annotations

import open_clip
import pytest
import torch

from cmmasksd.models import ReferringDataPreprocessor


def test_normalisation_is_clips(make_batch):
    batch = make_batch((1, 1))
    out = ReferringDataPreprocessor()(batch, training=True)
    mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN)[:, None, None]
    std = torch.tensor(open_clip.OPENAI_DATASET_STD)[:, None, None]
    expected = (torch.stack(batch['inputs']) / 255 - mean) / std
    assert out['inputs'].dtype == torch.float32
    torch.testing.assert_close(out['inputs'], expected, rtol=0, atol=1e-5)


def test_own_mean_and_std(make_batch):
    batch = make_batch((1,))
    out = ReferringDataPreprocessor(mean=(1, 2, 3), std=(2, 2, 4))(batch)
    assert torch.equal(out['inputs'][0, 2], (batch['inputs'][0][2].float() - 3) / 4)


def test_nothing_of_it_enters_checkpoints():
    assert not ReferringDataPreprocessor().state_dict()


@pytest.mark.parametrize(
    ('counts', 'index'), [((1, 1, 1), None), ((1,), None), ((2, 1, 3), [0, 0, 1, 2, 2, 2]), ((3,), [0, 0, 0])]
)
def test_expressions_are_lined_up(make_batch, counts, index):
    batch = make_batch(counts)
    out = ReferringDataPreprocessor()(batch, training=True)
    assert out['image_index'] is None if index is None else out['image_index'].tolist() == index
    samples = batch['data_samples']
    assert torch.equal(out['input_ids'], torch.cat([sample.expressions.input_ids for sample in samples]))
    assert torch.equal(out['masks'][:, 0], torch.cat([sample.expressions.masks for sample in samples]))
    assert out['masks'].shape == (sum(counts), 1, 32, 48)
    assert [sample.expressions.texts for sample in out['data_samples']] == [
        [f'thing {place}' for place in range(count)] for count in counts
    ]


def test_masks_of_many_sizes_are_left_to_the_metric(make_batch):
    batch = make_batch((2, 1), training=False)
    assert len({sample.expressions.masks.shape[1:] for sample in batch['data_samples']}) == 2
    assert ReferringDataPreprocessor()(batch)['masks'] is None


def test_a_stacked_batch(make_batch):
    batch = make_batch((1, 1))
    stacked = dict(batch, inputs=torch.stack(batch['inputs']))
    assert torch.equal(ReferringDataPreprocessor()(stacked)['inputs'], ReferringDataPreprocessor()(batch)['inputs'])


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('counts', [(0,), (2, 0, 1)])
def test_a_picture_without_any_expression_is_named(make_batch, counts, training):
    batch = make_batch(counts, training)
    for number, sample in enumerate(batch['data_samples']):
        sample.set_metainfo(dict(img_path=f'{number}.jpg'))
    with pytest.raises(
        ValueError, match=rf'^{counts.index(0)}.jpg has no expression: every picture needs at least one'
    ):
        ReferringDataPreprocessor()(batch, training)
