"""Evaluation of several splits in one run, as papers print it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.runner import BaseLoop, Runner, TestLoop
from prettytable import PrettyTable
from torch.utils.data import DataLoader

from cmmasksd.engine.leaves import leaf_configs
from cmmasksd.registry import LOOPS


@LOOPS.register_module()
class SplitTestLoop(BaseLoop):
    """Runs mmengine's ``TestLoop`` on each split of the test data set and prints one table.

    Args:
        runner: the Runner.
        dataloader: config of the test dataloader; the ``split`` of its data set is replaced, and in a wrapper, such as
            ``ConcatDataset``, that of every data set inside: each has to have all of the splits.
        evaluator: config of the evaluator.
        splits: names of the splits.
        paper: published numbers to print beside ours: ``{split: {metric: percent}}``.

    Raises:
        ValueError: no splits; or one that the data set, or one of several joined, has not, before any is evaluated.
    """

    dataloader: DataLoader

    def __init__(
        self,
        runner: Runner,
        dataloader: dict[str, Any],
        evaluator: dict[str, Any] | list[dict[str, Any]],
        splits: Sequence[str],
        paper: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        splits = [splits] if isinstance(splits, str) else splits
        if not splits:
            raise ValueError("SplitTestLoop needs at least one split, such as test_cfg.splits = ['val'].")
        self._dataloaders: dict[str, DataLoader | dict[str, Any]] = {
            split: self._of_split(dataloader, split) for split in splits
        }
        super().__init__(runner, self._dataloaders[splits[0]])
        self._dataloaders[splits[0]] = self.dataloader  # built already, its annotations read
        self.evaluator = evaluator
        self.paper = paper or {}

    def run(self) -> dict[str, float]:
        """Evaluates every split; returns the metrics as ``split/metric``."""
        by_split = {}
        # all data sets are read before the first is evaluated: what is wrong with the last one is said at once
        loops = {
            split: TestLoop(self.runner, loader, copy.deepcopy(self.evaluator))
            for split, loader in self._dataloaders.items()
        }
        for split in self._dataloaders:
            loop = loops.pop(split)
            self.dataloader = loop.dataloader
            by_split[split] = loop.run()
        self.runner.logger.info('\n' + format_table(by_split, self.paper))
        return {f'{split}/{name}': value for split, metrics in by_split.items() for name, value in metrics.items()}

    @staticmethod
    def _of_split(dataloader: dict[str, Any], split: str) -> dict[str, Any]:
        config = copy.deepcopy(dataloader)
        for dataset in leaf_configs(config['dataset']):
            dataset['split'] = split
        return config


def format_table(by_split: Mapping[str, Mapping[str, float]], paper: Mapping[str, Mapping[str, float]]) -> str:
    """A text table: a row a split, and below it the paper's numbers where there are some."""
    names = list(dict.fromkeys(name for metrics in by_split.values() for name in metrics))
    table = PrettyTable(['split', *names], align='r')
    for split, metrics in by_split.items():
        table.add_row([split, *(_cell(metrics.get(name)) for name in names)])
        if paper.get(split):
            table.add_row([f'{split} (paper)', *(_cell(paper[split].get(name)) for name in names)])
    return table.get_string()


def _cell(value: float | None) -> str:
    if value is None:
        return ''
    return str(value) if isinstance(value, int) else f'{value:.2f}'
