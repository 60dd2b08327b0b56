"""Steps on one batch, what they come to, and why they may come to nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from cmmasksd.models.mask_alignment import logits_to_masks, masks_to_logits

PARTS = ('backbone', 'text_encoder', 'neck', 'decode_head')


@dataclass
class Course:
    """What was seen at each evaluation."""

    steps: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    ious: list[float] = field(default_factory=list)


class Learner:
    """A model and the batch that it learns by heart.

    Args:
        model: a segmentor, on its device.
        batch: of the data loader.
        optimiser: of the model.

    Attributes:
        targets: (E, 1, 4h, 4w) bool, the masks on the logits' grid.
        sized: (E,) bool, whether an object fills any square of a logit; only these are scored.
    """

    def __init__(self, model: nn.Module, batch: dict[str, Any], optimiser: OptimWrapper) -> None:
        self.model, self.batch, self.optimiser = model, batch, optimiser
        self.data = model.data_preprocessor(batch, True)
        self.begun = self._fingerprints()
        shape = self.logits().shape[2:]
        self.targets = masks_to_logits(self.data['masks'], shape, model.mask_alignment) > 0.5
        self.sized = self.targets.flatten(1).any(1)

    def logits(self, training: bool = False) -> Tensor:
        """The main branch's (E, 1, 4h, 4w), with the batch norms' running statistics or, in training, the batch's."""
        self.model.train(training)
        data = self.data
        count = len(data['inputs'])
        index = (
            torch.arange(count, device=data['inputs'].device) if data['image_index'] is None else data['image_index']
        )
        with torch.no_grad():
            images = self.model.encode_images(data['inputs'])
            return torch.cat([each for _, each in self.model.segment_images(images, data['input_ids'], index)])

    def iou(self, training: bool = False) -> float:
        """Mean IoU in percent on the logits' grid at 0.5, where the loss is: geometry takes nothing away there."""
        return mean_iou(self.logits(training) > 0, self.targets, self.sized)

    def iou_at_input(self) -> float:
        """Mean IoU in percent at the input's size and the model's threshold, as evaluation has it."""
        masks = self.data['masks']
        maps = logits_to_masks(self.logits().sigmoid(), masks.shape[2:], self.model.mask_alignment)
        return mean_iou(maps > self.model.threshold, masks > 0.5, self.sized)

    def learn(self, steps: int, interval: int, target: float, course: Course) -> Iterator[str]:
        """Trains until the IoU is above the target, the steps are over or the loss is not finite; a line each time
        that it looks.
        """
        for step in range(1, steps + 1):
            self.model.train()
            loss = float(self.model.train_step(self.batch, self.optimiser)['loss'].detach())
            if step % interval and step < steps and math.isfinite(loss):
                continue
            course.steps.append(step)
            course.losses.append(loss)
            course.ious.append(self.iou())
            yield f'step {step}: loss {loss:.4f}, IoU {course.ious[-1]:.2f}'
            if not math.isfinite(loss) or course.ious[-1] > target:
                return

    def still_parts(self) -> list[str]:
        """Parts none of whose parameters has moved."""
        now = self._fingerprints()
        return [part for part in PARTS if now[part] == self.begun[part]]

    def _fingerprints(self) -> dict[str, list[float]]:
        parts = {part: getattr(self.model, part) for part in PARTS}
        return {
            name: [float(parameter.detach().double().abs().sum()) for parameter in part.parameters()]
            for name, part in parts.items()
        }


def mean_iou(masks: Tensor, targets: Tensor, sized: Tensor) -> float:
    """Mean IoU in percent of bool masks (E, 1, h, w) of the expressions that ``sized`` (E,) names."""
    masks, targets = masks[sized].flatten(1), targets[sized].flatten(1)
    return 100 * float(((masks & targets).sum(1) / (masks | targets).sum(1)).mean())


def diagnose(learner: Learner, course: Course) -> list[str]:
    """What to look at, a sentence each."""
    if not math.isfinite(course.losses[-1]):
        return ['The loss is not finite: set --lr lower; with --amp, try without it.']
    said = []
    still = learner.still_parts()
    if still:
        said.append(
            f'Nothing has moved in {", ".join(still)}: look at optim_wrapper.paramwise_cfg, which may freeze it, and '
            'at what cuts its gradient.'
        )
    trained = learner.iou(training=True)
    if trained > course.ious[-1] + 10:
        said.append(
            f"With the batch's own statistics the IoU is {trained:.1f}: the batch norms' running ones lag behind or "
            'are wrong; set --batch-size higher, or look at momentum and synchronisation.'
        )
    shares = learner.logits().gt(0).flatten(1).float().mean(1)
    if not shares.any():
        said.append('Nothing is predicted anywhere: set --lr higher or --steps higher; look at the weight of the loss.')
    elif len(course.losses) > 2 and course.ious[-1] > course.ious[len(course.ious) // 2] + 1:
        said.append('The IoU still rises: set --steps higher.')
    elif course.losses[-1] > 0.9 * course.losses[0]:
        said.append('The loss has hardly fallen: set --lr ten times higher or lower.')
    said.append(
        'Draw what the model is shown, and see whether masks and sentences belong to the pictures: '
        'tools/analysis_tools/browse_dataset.py CONFIG --mode transformed'
    )
    return said
