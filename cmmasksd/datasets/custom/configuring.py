"""Writes the config that trains on a set of one's own."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from cmmasksd.datasets.custom.sizing import Sizes, find_size
from cmmasksd.datasets.refer.records import ReferData
from cmmasksd.registry import SCOPE
from cmmasksd.shipped import HOME


def write_config(path: Path, base: Config, data: ReferData, sizes: Sizes, weights: Path | None = None) -> None:
    """Writes a config.

    Args:
        path: of the config.
        base: what it begins from.
        data: the set to train on, validated on ``val`` or else on the first split but ``train``.
        sizes: see :func:`~cmmasksd.datasets.custom.sizing.size_training`.
        weights: checkpoint to start from.

    Raises:
        OSError: it cannot be written.
    """
    place = (
        '{{ fileDirname }}' if path.parent.resolve() == Path(data.root).resolve() else str(Path(data.root).resolve())
    )
    lines = [
        f'# Trains on {data.dataset}; written for its size and for the machine it was made on. Change what you like.',
        f'_base_ = {_name(base)!r}',
        'for loader in (_base_.train_dataloader, _base_.val_dataloader, _base_.test_dataloader):',
        f'    loader.update(batch_size={sizes.batch_size}, num_workers={sizes.num_workers}, persistent_workers='
        f'{sizes.num_workers > 0})',
        f'    loader.dataset.update(data_root={place!r}, dataset={data.dataset!r}, split_by={data.split_by!r})',
        *_resize(base, sizes.image_size),
        'del loader',
        *_evaluate([split for split in data.split_names if split != 'train']),
        '# in iterations; the cosine ends with the run',
        'param_scheduler = [',
        f"    dict(type='LinearLR', start_factor=1e-2, begin=0, end={sizes.warm_up}, by_epoch=False),",
        f"    dict(type='CosineAnnealingLR', eta_min=0, begin={sizes.warm_up}, by_epoch=False),",
        ']',
        f'train_cfg = dict(max_epochs={sizes.epochs}, val_interval={sizes.val_interval})',
        f'default_hooks = dict(checkpoint=dict(interval={sizes.val_interval}), logger=dict(interval=10))',
    ]
    if weights is not None:
        lines.append(f'load_from = {str(weights.resolve())!r}')
    path.write_text('\n'.join(lines) + '\n')


def _name(base: Config) -> str:
    """A base by its shipped name, which is the same on every machine, or by its path."""
    path, configs = Path(base.filename).resolve(), (HOME / 'configs').resolve()
    if path.is_relative_to(configs):
        return f'{SCOPE}::{path.relative_to(configs).as_posix()}'
    return str(path)


def _resize(base: Config, size: int) -> list[str]:
    if size == find_size(base):
        return []
    return [
        '    for step in loader.dataset.pipeline:',
        "        if step['type'].endswith('LetterboxResize'):",
        f'            step.size = ({size}, {size})',
        f'_base_.model.backbone.image_size = ({size}, {size})',
        'del step',
    ]


def _evaluate(splits: list[str]) -> list[str]:
    if not splits:
        return [f'{loader}_dataloader = {loader}_evaluator = {loader}_cfg = None' for loader in ('val', 'test')]
    validated = 'val' if 'val' in splits else splits[0]
    return [
        f'_base_.val_dataloader.dataset.split = _base_.test_dataloader.dataset.split = {validated!r}',
        f'test_cfg = dict(splits={splits}, paper=None)',  # the paper's are RefCOCO's numbers
    ]
