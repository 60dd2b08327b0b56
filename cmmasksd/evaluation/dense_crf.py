"""DenseCRF after the model, as the systems with a star in Table 1 have it."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import mmcv
import numpy as np
import torch
from mmengine.evaluator import Evaluator
from numpy.typing import NDArray

from cmmasksd.registry import EVALUATOR

SURE = 1e-8  # probabilities are kept this far from 0 and 1, whose logarithms are infinite
CERTAINTY = 0.9


class DenseCRF:
    """A fully connected CRF with two labels (Krähenbühl and Koltun, NIPS 2011), by pydensecrf2.

    The defaults are what RRN, CMSA, CMPC and BRINet use in their public code. They refine at the size of their input,
    320 x 320, and this one at the picture's own.

    Args:
        iterations: of mean-field inference.
        near: spread in pixels and weight of the term that joins neighbours.
        alike: spread in pixels, spread in colour (0 to 255) and weight of the term that joins neighbours of a colour.

    Raises:
        ModuleNotFoundError: pydensecrf2 is not installed.
        ValueError: no iteration.
    """

    def __init__(
        self,
        iterations: int = 5,
        near: tuple[float, float] = (3, 3),
        alike: tuple[float, float, float] = (20, 3, 10),
    ) -> None:
        if iterations < 1:
            raise ValueError(f'DenseCRF needs at least one iteration, got {iterations}.')
        self._library = load_library()
        self.iterations, self.near, self.alike = iterations, near, alike

    def __call__(self, image: NDArray[np.uint8], probability: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Refines one mask.

        Args:
            image: (height, width, 3) uint8 RGB.
            probability: (height, width), that a pixel belongs to the object.

        Returns:
            (height, width) bool.

        Raises:
            ValueError: sizes that differ.
        """
        if image.shape[:2] != probability.shape:
            raise ValueError(f'DenseCRF: a picture of {image.shape[:2]} and probabilities of {probability.shape}.')
        height, width = probability.shape
        inside = np.clip(probability.astype(np.float32), SURE, 1 - SURE)
        field = self._library.DenseCRF2D(width, height, 2)
        field.setUnaryEnergy(np.ascontiguousarray(-np.log(np.stack([1 - inside, inside])).reshape(2, -1)))
        field.addPairwiseGaussian(sxy=self.near[0], compat=self.near[1])
        spread, colour, weight = self.alike
        field.addPairwiseBilateral(sxy=spread, srgb=colour, rgbim=np.ascontiguousarray(image), compat=weight)
        answer = np.array(field.inference(self.iterations))  # (2, height * width)
        return answer.argmax(axis=0).reshape(height, width).astype(bool)

    def refine_mask(
        self, image: NDArray[np.uint8], mask: NDArray[np.bool_], certainty: float = CERTAINTY
    ) -> NDArray[np.bool_]:
        """The same where only a mask (height, width) is known: its pixels are trusted by ``certainty``."""
        return self(image, np.where(mask, certainty, 1 - certainty))


def load_library() -> ModuleType:
    """pydensecrf2's module.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    try:
        from pydensecrf import densecrf
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "DenseCRF needs pydensecrf2, which is optional and is compiled: pip install 'cmmasksd[pydensecrf2]', with "
            'a C++ compiler and the headers of Python.'
        ) from error
    return densecrf


@EVALUATOR.register_module()
class DenseCRFEvaluator(Evaluator):
    """mmengine's evaluator whose metrics see refined masks: ``test_evaluator = dict(type='DenseCRFEvaluator',
    metrics=[dict(type='ReferringIoUMetric')])``, or ``--post-process densecrf`` of ``tools/test.py``.

    Args:
        metrics: their configs.
        settings: of :class:`DenseCRF`.

    Raises:
        ModuleNotFoundError: pydensecrf2 is not installed.
    """

    def __init__(self, metrics: dict[str, Any] | Sequence[dict[str, Any]], **settings: Any) -> None:
        super().__init__(metrics)
        self.refine = DenseCRF(**settings)

    def process(self, data_samples: Sequence[Any], data_batch: Any = None) -> None:
        """Refines the masks of each image by its probabilities, then hands the samples to the metrics."""
        for sample in data_samples:
            image = read_stored(sample.img_path, getattr(sample, 'flip', False))
            maps = sample.predictions.probabilities.cpu().numpy()
            masks = np.stack([self.refine(image, each) for each in maps])
            sample.predictions.masks = torch.from_numpy(masks).to(sample.predictions.masks.device)
        super().process(data_samples, data_batch)


def read_stored(path: str, mirrored: bool = False) -> NDArray[np.uint8]:
    """A picture's stored pixels, which annotations are in, or their mirror image: (height, width, 3) uint8 RGB.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no picture, or damaged.
    """
    stored = mmcv.imread(path, flag='color_ignore_orientation')
    if stored is None:
        raise ValueError(f'{path}: the file is damaged or no picture; fetch it again.')
    image = mmcv.bgr2rgb(stored)
    return np.ascontiguousarray(image[:, ::-1]) if mirrored else image
