"""A pipeline from its config; transforms of other projects in it are made to fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mmcv.transforms import Compose

from cmmasksd.datasets.transforms.augmentation import OPENMMLAB, AugmentPicture, build_step, held_by, walk
from cmmasksd.datasets.transforms.global_draws import global_draws


def build_pipeline(steps: Sequence[dict[str, Any] | Callable]) -> list[Callable]:
    """Builds a pipeline's transforms by our registry.

    A transform of OpenMMLab's other projects, such as ``mmcv.RandomFlip``, knows neither our masks nor our sentences:
    it becomes an :class:`~cmmasksd.datasets.transforms.AugmentPicture` of that one transform. Inside ``RandomApply``,
    ``RandomChoice`` or ``TestTimeAug`` that hold some of ours the others become so, and what they draw follows
    ``results['rng']``.

    Raises:
        ImportError: another project cannot be imported.
    """
    return [_fit(build_step(step) if isinstance(step, dict) else step) for step in steps]


def _fit(step: Any) -> Any:
    if not _is_foreign(step):
        return step
    if all(_is_foreign(inner) for inner in walk(step)):
        return AugmentPicture([step])
    for compose in [step] if isinstance(step, Compose) else held_by(step):
        compose.transforms = [_fit(inner) for inner in compose.transforms]
    return DrawFromRecord(step)


def _is_foreign(step: Any) -> bool:
    return type(step).__module__.partition('.')[0] in OPENMMLAB


class DrawFromRecord:
    """A transform of another project that holds some of ours, and draws what ``results['rng']`` says.

    Args:
        step: the transform.
    """

    def __init__(self, step: Callable[[dict], Any]) -> None:
        self.step = step

    def __call__(self, results: dict) -> Any:
        if 'rng' not in results:
            return self.step(results)
        with global_draws(int(results['rng'].integers(2**32))):
            return self.step(results)

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.step!r})'
