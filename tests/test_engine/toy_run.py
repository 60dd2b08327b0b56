"""A whole run of mmengine's Runner in a fraction of a second: a set of six refs, and a model that notes what it hears
and what it draws.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from cmmasksd.datasets.refcoco import RefCOCODataset

HOOKS = ('CheckpointFirst', 'StrictLoad', 'EpochSeed', 'AverageStatistics', 'MissedValidation', 'Resume')
_NUMBERS = itertools.count()
SENTENCES = 50  # of each ref: two draws are seldom equal by chance


def names_and_texts(record: dict[str, Any]) -> dict[str, Any]:
    return dict(ref_ids=record['refs'][0]['ref_id'], texts=record['texts'][0])


class ManySentences(RefCOCODataset):
    """RefCOCODataset, whose records are made up."""

    def __init__(self, refs: int = 6, first: int = 0, **options: Any) -> None:
        self.ref_ids = range(first, first + refs)
        steps = [dict(type='SelectSentences', mode='random'), names_and_texts]
        super().__init__('nowhere', pipeline=steps, serialize_data=False, **options)

    def load_data_list(self) -> list[dict[str, Any]]:
        sentences = [f'sentence {number}' for number in range(SENTENCES)]
        return [
            dict(refs=[dict(ref_id=ref_id, sentences=sentences, sent_ids=list(range(SENTENCES)))], img_path='')
            for ref_id in self.ref_ids
        ]

    def get_cat_ids(self, idx: int) -> list[int]:
        return [min(idx, 1)]


class Listener(BaseModel):
    """Its weight ends where the draws of all its steps have led it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.heard: list[list[tuple[int, str]]] = []

    def forward(self, ref_ids: list[int], texts: list[str], mode: str = 'loss') -> Any:
        if mode == 'predict':
            return [0] * len(texts)
        self.heard.append(list(zip(map(int, ref_ids), texts)))
        words = sum(int(text.split()[1]) for text in texts)
        return dict(loss=(self.weight * (torch.rand(3) + words)).sum())


class Scores(BaseMetric):
    """Gives the numbers that it was told, one a validation, as mIoU and, the other way round, as oIoU."""

    def __init__(self, scores: Iterable[float]) -> None:
        super().__init__()
        self.scores = iter(scores)

    def process(self, data_batch: Any, data_samples: Sequence[int]) -> None:
        self.results += data_samples

    def compute_metrics(self, results: list[int]) -> dict[str, float]:
        score = next(self.scores)
        return dict(mIoU=score, oIoU=-score)


def make_run(
    work_dir: Path,
    dataset: BaseDataset | None = None,
    train_cfg: dict[str, Any] | None = None,
    loader: dict[str, Any] | None = None,
    checkpoint: dict[str, Any] | None = None,
    scores: Iterable[float] = (),
    **options: Any,
) -> Runner:
    """A run of three epochs of three steps, unless told otherwise, with a checkpoint of each iteration; validated
    where there are scores.
    """
    train_loader = dict(
        batch_size=2,
        num_workers=0,
        dataset=dataset or ManySentences(),
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type='pseudo_collate'),
    )
    saving = dict(type='AtomicCheckpointHook', by_epoch=False, interval=1)
    if scores:
        val_loader = {**train_loader, 'sampler': dict(type='DefaultSampler', shuffle=False)}
        options.update(val_dataloader=val_loader, val_cfg=dict(), val_evaluator=[Scores(scores)])
    return Runner(
        model=options.pop('model', None) or Listener(),
        work_dir=str(work_dir),
        train_dataloader={**train_loader, **(loader or {})},
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=0.1)),
        train_cfg=train_cfg or dict(by_epoch=True, max_epochs=3),
        default_hooks=dict(checkpoint={**saving, **(checkpoint or {})}),
        custom_hooks=[dict(type=f'{hook}Hook') for hook in HOOKS],
        randomness=options.pop('randomness', dict(seed=3)),
        default_scope='cmmasksd',
        experiment_name=f'toy_{next(_NUMBERS)}',
        log_level=options.pop('log_level', 'ERROR'),
        **options,
    )
