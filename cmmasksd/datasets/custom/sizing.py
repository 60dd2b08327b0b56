"""How long and how large a training on a set should be, by the set and by what it runs on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import open_clip
from mmengine.config import Config

from cmmasksd.datasets.refer.errors import ReferError
from cmmasksd.datasets.refer.records import ReferData

STEPS = {True: 3000, False: 500}  # of a whole training, by whether there is an accelerator
MIN_EPOCHS, MAX_EPOCHS = 2, 200
MIN_STEPS_AN_EPOCH = 4
VALIDATIONS = 10
CPU_SIZE = 320  # of the largest input on a CPU
MIN_PATCHES = 6


@dataclass(frozen=True)
class Sizes:
    """The numbers of a training.

    Attributes:
        image_size: the input's side in pixels.
        batch_size: refs a step.
        epochs: of ``steps`` steps each.
        steps: in an epoch.
        val_interval: epochs from one validation and checkpoint to the next.
        warm_up: steps in which the learning rate rises.
        num_workers: that load data.
    """

    image_size: int
    batch_size: int
    epochs: int
    steps: int
    val_interval: int
    warm_up: int
    num_workers: int


def size_training(base: Config, data: ReferData, accelerator: bool, cores: int) -> Sizes:
    """Numbers for a training from a config on a set.

    The input is as large as the base's, but no larger than the pictures, nor on a CPU than 320; the batch is the
    base's, but an epoch has four steps at least; the epochs make some 500 steps on a CPU, some 3,000 elsewhere.

    Args:
        base: config to begin from.
        data: the set.
        accelerator: whether there is a GPU or the like.
        cores: of the CPU.

    Raises:
        ReferError: the set has no ``train``, or the base is not one that trains on a single set.
    """
    refs = len(data.split('train'))
    batch_size = max(1, min(base.train_dataloader.batch_size, refs // MIN_STEPS_AN_EPOCH))
    steps = refs // batch_size
    epochs = min(max(math.ceil(STEPS[accelerator] / steps), MIN_EPOCHS), MAX_EPOCHS)
    val_interval = max(1, epochs // VALIDATIONS)
    epochs = math.ceil(epochs / val_interval) * val_interval  # the last is validated too
    return Sizes(
        image_size=_image_size(base, data, accelerator),
        batch_size=batch_size,
        epochs=epochs,
        steps=steps,
        val_interval=val_interval,
        warm_up=max(2, min(100, epochs * steps // 10)),
        num_workers=min(4, cores - 1) if accelerator else 0,
    )


def find_size(base: Config) -> int:
    """The side of a config's input.

    Raises:
        ReferError: it has none that is square.
    """
    steps = base.train_dataloader.dataset.get('pipeline') or ()
    sizes = {tuple(step.size) for step in steps if str(step.get('type')).endswith('LetterboxResize')}
    if len(sizes) != 1 or len(set(size := sizes.pop())) != 1:
        raise ReferError(
            f'{base.filename} does not train on one set with a square LetterboxResize; choose another --base, such as '
            'vit-tiny_refshapes or vit-b_refcoco'
        )
    return int(size[0])


def _image_size(base: Config, data: ReferData, accelerator: bool) -> int:
    size, patch = find_size(base), _patch_size(base.model.backbone)
    if patch is None:
        return size
    sides = sorted(max(image.height, image.width) for image in data.images.values())
    wanted = min(sides[len(sides) // 2], size if accelerator else CPU_SIZE)
    return min(size, max(MIN_PATCHES, math.ceil(wanted / patch)) * patch)


def _patch_size(backbone: dict[str, Any]) -> int | None:
    """The patch of a plain ViT, whose input can have any size; None for others."""
    architecture = backbone.get('architecture')
    config = open_clip.get_model_config(architecture) if isinstance(architecture, str) else architecture
    patch = (config or {}).get('vision_cfg', {}).get('patch_size')
    return patch if isinstance(patch, int) else None
