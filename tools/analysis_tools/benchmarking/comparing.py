"""One comparison: variants of a work, timed turn about, with their memory, their FLOPs and the device's matrix rate."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

import torch

from .counting import count_flops, matrix_rate, share_of_floor
from .timing import Spread, Work, paired_ratio, peak_memory, time_in_turn


@dataclass(frozen=True)
class Variant:
    """A way of doing the work: what to run, how many units (images, expressions) a run is, the dtype of its products,
    whether parts of it are compiled, and its FLOPs where they are known without counting all of it.
    """

    work: Work
    units: int
    dtype: str = 'float32'
    compiled: bool = False
    flops: int | None = None


@dataclass(frozen=True)
class Measurement:
    """All that was measured of a variant. ``seconds`` are of a run of ``units`` units, one a round; memory in
    megabytes.
    """

    units: int
    dtype: str
    seconds: list[float]
    memory: float
    flops: int
    share_of_floor: float

    @property
    def per_unit(self) -> Spread:
        """Milliseconds a unit."""
        return Spread.of([1e3 * second / self.units for second in self.seconds])


@dataclass(frozen=True)
class Comparison:
    """Measurements by the variant's name; ``unit`` is what is counted, ``first`` the variant that ratios refer to.

    ``rates`` are FLOPs a second of a large matrix product by dtype, samples from before and after; ``facts`` what else
    there is to say.
    """

    title: str
    unit: str
    first: str
    measurements: dict[str, Measurement]
    rates: dict[str, list[float]]
    facts: dict[str, object] = field(default_factory=dict)

    def time_ratio(self, name: str, base: str | None = None) -> Spread:
        """Time a unit over that of another variant, from samples of the same round."""
        one, other = self.measurements[name], self.measurements[base or self.first]
        scale = other.units / one.units
        ratio = paired_ratio(one.seconds, other.seconds)
        return Spread(ratio.median * scale, ratio.low * scale, ratio.high * scale)

    def flop_ratio(self, name: str, base: str | None = None) -> float:
        """FLOPs a unit over those of another variant."""
        one, other = self.measurements[name], self.measurements[base or self.first]
        return one.flops / one.units / (other.flops / other.units)


def compare(
    title: str,
    unit: str,
    variants: dict[str, Variant],
    device: torch.device,
    repeats: int,
    first: str,
) -> Comparison:
    """Measures all variants: count and memory, which warms up too, then times turn about between two measurements of
    the matrix rate.
    """
    print(f'{title}: {len(variants)} ways ...', file=sys.stderr)
    for variant in variants.values():
        if _differs_at_first(variant, device):
            variant.work()
    once = {name: _measure_once(variant, device) for name, variant in variants.items()}
    dtypes = sorted({variant.dtype for variant in variants.values()})
    before = {dtype: matrix_rate(device, getattr(torch, dtype)) for dtype in dtypes}
    seconds = time_in_turn({name: variant.work for name, variant in variants.items()}, repeats, 0, device)
    rates = {dtype: before[dtype] + matrix_rate(device, getattr(torch, dtype)) for dtype in dtypes}
    measurements = {
        name: Measurement(
            variant.units,
            variant.dtype,
            seconds[name],
            *once[name],
            share_of_floor(once[name][1], Spread.of(seconds[name]).median, rates[variant.dtype]),
        )
        for name, variant in variants.items()
    }
    return Comparison(title, unit, first, measurements, rates)


def _differs_at_first(variant: Variant, device: torch.device) -> bool:
    """Whether a first run does what later ones do not: compiling; on a GPU, handles and searches for kernels. Where the
    FLOPs are known the work has run before.
    """
    return variant.flops is None and (device.type != 'cpu' or variant.compiled)


def _measure_once(variant: Variant, device: torch.device) -> tuple[float, int]:
    """Peak memory and FLOPs. What is compiled runs as it was while it is counted, so its memory takes another run."""
    if variant.flops is None and not _differs_at_first(variant, device):
        return peak_memory(lambda: count_flops(variant.work), device)
    memory, _ = peak_memory(variant.work, device)
    return memory, count_flops(variant.work) if variant.flops is None else variant.flops
