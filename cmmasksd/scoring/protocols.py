"""How published evaluations score: at which size, which sentences, what is compared with which thresholds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Counts = NDArray[np.int64]  # (E, 4): intersection, union, predicted area, annotated area


@dataclass(frozen=True)
class Protocol:
    """A way to score.

    Attributes:
        name: as the command line has it.
        rule: what it does, in words.
        size: (height, width) that masks are brought to, nearest pixel; None: the picture's own.
        compute: from counts (E, 4) to scores by name, in percent.
    """

    name: str
    rule: str
    size: tuple[int, int] | None
    compute: Callable[[Counts], dict[str, float]]


def _ious(counts: Counts) -> Numbers:
    return counts[:, 0] / np.maximum(counts[:, 1], 1)


def _overall(counts: Counts) -> float:
    return 100 * float(counts[:, 0].sum() / max(int(counts[:, 1].sum()), 1))


def _precisions(right: Sequence[NDArray[np.bool_]], tenths: Sequence[int]) -> dict[str, float]:
    means = (100 * float(each.mean()) if each.size else float('nan') for each in right)
    return dict(zip((f'Pr@0.{tenth}' for tenth in tenths), means, strict=True))


def _exact(counts: Counts) -> dict[str, float]:
    """In integers: an IoU of exactly 3/5 is not above 0.6."""
    tenths = (5, 6, 7, 8, 9)
    right = [10 * counts[:, 0] > tenth * counts[:, 1] for tenth in tenths]
    return dict(mIoU=100 * float(_ious(counts).mean()), oIoU=_overall(counts), **_precisions(right, tenths))


def _cris(counts: Counts) -> dict[str, float]:
    """With CRIS's millionth below the line and its thresholds in single precision (engine/engine.py)."""
    tenths = (5, 6, 7, 8, 9)
    ious = counts[:, 0] / (counts[:, 1] + 1e-6)
    right = [ious > float(np.float32(tenth / 10)) for tenth in tenths]
    return dict(mIoU=100 * float(ious.mean()), oIoU=_overall(counts), **_precisions(right, tenths))


def _lavt(counts: Counts) -> dict[str, float]:
    """``>=`` in double precision (test.py of LAVT)."""
    tenths = (5, 6, 7, 8, 9)
    right = [_ious(counts) >= tenth / 10 for tenth in tenths]
    return dict(mIoU=100 * float(_ious(counts).mean()), oIoU=_overall(counts), **_precisions(right, tenths))


def _grefcoco(counts: Counts) -> dict[str, float]:
    """gIoU, cIoU, N-acc. and T-acc. (refer_evaluation.py of ReLA), an empty mask standing for "no target"."""
    tenths = (7, 8, 9)
    silent, none = counts[:, 2] == 0, counts[:, 3] == 0
    ious = np.where(none, silent, _ious(counts))
    right = [ious[~none] >= tenth / 10 for tenth in tenths]

    def share(part: NDArray[np.bool_]) -> float:
        return 100 * float(part.mean()) if part.size else float('nan')

    return dict(
        gIoU=100 * float(ious.mean()),
        cIoU=_overall(counts),
        N_acc=share(silent[none]),
        T_acc=share(~silent[~none]),
        **_precisions(right, tenths),
    )


PROTOCOLS = {
    each.name: each
    for each in (
        Protocol(
            'exact',
            "every sentence; the picture's own size; IoU > X, compared in integers; two empty masks count 0. What "
            'tools/test.py prints',
            None,
            _exact,
        ),
        Protocol(
            'cris',
            "every sentence; the picture's own size; I / (U + 1e-6) > X, X in single precision (0.7 and 0.9 are a "
            'little less than written)',
            None,
            _cris,
        ),
        Protocol(
            'lavt',
            'every sentence; prediction and ground truth at 480 x 480, nearest pixel; IoU >= X; two empty masks '
            'count 0. LAVT itself predicts at that size: masks of the own size lose a little by being brought to it',
            (480, 480),
            _lavt,
        ),
        Protocol(
            'grefcoco',
            "every sentence; the picture's own size; gIoU counts 1 where nothing is meant and the mask is empty, else "
            '0 there; Pr of expressions with a target, IoU >= X; cIoU sums over all. ReLA has a classifier for "no '
            'target", here an empty mask says so',
            None,
            _grefcoco,
        ),
    )
}
