"""Which part of a run each scheduler of a config takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop

WARM_UPS = ('LinearLR', 'ConstantLR', 'LinearMomentum', 'ConstantMomentum')
ABSOLUTE = ('OneCycle', 'CosineRestart')  # these set a rate; the others change the one that they find


@dataclass(frozen=True)
class Span:
    """One scheduler's part of a run, in iterations, as mmengine will build it.

    Attributes:
        option: the scheduler as ``--cfg-options`` names it, such as ``param_scheduler.1``.
        config: its config.
        unit: iterations in one of the steps that the config counts: an epoch's, or 1.
        begin, end: its first iteration, and the one after its last.
    """

    option: str
    config: Mapping[str, Any]
    unit: int
    begin: int
    end: int

    @property
    def by_epoch(self) -> bool:
        """Whether its config counts epochs."""
        return self.config.get('by_epoch', True)

    @property
    def kind(self) -> str:
        """Its type, without a scope."""
        return kind_of(self.config)

    @property
    def is_warm_up(self) -> bool:
        """Whether it ends at the base rate, so that the rate may rest there."""
        return self.kind in WARM_UPS and self.config.get('end_factor', 1) == 1

    @property
    def changes_what_it_finds(self) -> bool:
        """Whether it may lie over a warm-up: the rate is then the product of both, and ends at the floor (``eta_min``)
        where there is one.
        """
        return not self.kind.startswith(ABSOLUTE)

    def says(self, iterations: int) -> str:
        """A place in the run as this scheduler's config counts."""
        return f'epoch {iterations / self.unit:g}' if self.by_epoch else f'iteration {iterations}'


def spans(schedulers: Any, loop: EpochBasedTrainLoop | IterBasedTrainLoop) -> list[list[Span]]:
    """The schedulers of each scheduled number (learning rate, momentum), in the order of their beginnings.

    Args:
        schedulers: ``param_scheduler`` of a config: one, a list, or a list for each optimiser.
        loop: the built loop, which knows the length of run and epoch.
    """
    found: dict[tuple[str, str], list[Span]] = {}
    for owner, option, config in listed(schedulers):
        unit = len(loop.dataloader) if config.get('by_epoch', True) else 1
        begin = int(config.get('begin', 0) * unit)
        end = loop.max_iters if config.get('end') is None else int(config['end'] * unit)
        span = Span(option, config, unit, begin, end)
        number = config.get('param_name', 'momentum' if span.kind.endswith('Momentum') else 'lr')
        found.setdefault((owner, number), []).append(span)
    return [sorted(each, key=lambda span: span.begin) for each in found.values()]


def listed(
    schedulers: Any, option: str = 'param_scheduler', owner: str = ''
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(name of the optimiser, place in the config, config) of every scheduler, however they are nested."""
    if isinstance(schedulers, dict) and 'type' in schedulers:
        yield owner, option, schedulers
    elif isinstance(schedulers, dict):
        for name, each in schedulers.items():
            yield from listed(each, f'{option}.{name}', name)
    elif isinstance(schedulers, Sequence):
        for place, each in enumerate(schedulers):
            yield from listed(each, f'{option}.{place}', owner)


def kind_of(config: Mapping[str, Any]) -> str:
    """A scheduler's type, without a scope."""
    kind = config['type']
    return (kind if isinstance(kind, str) else kind.__name__).rpartition('.')[2]
