"""What is inside wrappers of data sets, and inside their configs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from mmengine.config import ConfigDict
from mmengine.dataset import ClassBalancedDataset, ConcatDataset, RepeatDataset
from mmengine.runner.runner import _SlicedDataset
from torch.utils.data import ConcatDataset as TorchConcatDataset
from torch.utils.data import Dataset, Subset

from cmmasksd.engine.leaves import leaf_configs, leaf_datasets
from tests.test_engine.toy_run import ManySentences

ONE, TWO = ManySentences(), ManySentences()


@pytest.mark.parametrize(
    'wrapped',
    [
        pytest.param(ConcatDataset([ONE, TWO]), id='ConcatDataset'),
        pytest.param(TorchConcatDataset([RepeatDataset(ONE, times=2), TWO]), id='nested'),
        pytest.param(
            TorchConcatDataset([ClassBalancedDataset(ONE, oversample_thr=0.9), Subset(TWO, [1])]), id='balanced, subset'
        ),
        pytest.param(_SlicedDataset(ConcatDataset([ONE, TWO]), 4), id='num_batch_per_epoch'),
    ],
)
def test_wrappers_are_looked_through(wrapped: Dataset) -> None:
    assert list(leaf_datasets(wrapped)) == [ONE, TWO]


@pytest.mark.parametrize('leaf', [ONE, SimpleNamespace(dataset='refcoco', split='val'), [1, 2]])
def test_what_wraps_nothing_is_a_leaf(leaf: Any) -> None:
    assert list(leaf_datasets(leaf)) == [leaf]


def test_configs_of_wrappers_are_looked_through_and_can_be_changed() -> None:
    one, two = dict(type='RefCOCODataset', dataset='refcoco'), dict(type='RefCOCODataset', dataset='refcocog')
    nested = ConfigDict(
        type='ConcatDataset',
        datasets=[dict(type='RepeatDataset', times=2, dataset=one), dict(type='ConcatDataset', datasets=[two])],
    )
    assert list(leaf_configs(nested)) == [one, two] and list(leaf_configs(one)) == [one]
    for leaf in leaf_configs(nested):
        leaf['split'] = 'testA'
    assert nested.datasets[0].dataset.split == nested.datasets[1].datasets[0].split == 'testA'
