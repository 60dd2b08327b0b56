"""One forward pass of training, watched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cmmasksd.apis import ReferringInferencer
from cmmasksd.apis.prepared import PreparedPicture
from cmmasksd.datasets.transforms import TokenizeExpressions
from cmmasksd.datasets.transforms.tokenizers import get_tokenizer
from cmmasksd.models.distillation import MaskedSelfDistillation
from cmmasksd.models.distillation.correlation import correlate
from cmmasksd.models.mask_alignment import logits_to_masks
from cmmasksd.structures import gather_images


@dataclass(frozen=True, eq=False)
class Seen:
    """What happens to the K expressions of a picture.

    Attributes:
        correlation: (K, h, w), of each patch with the sentence, from 0 to 1 (Eq. 3).
        patches: by branch, (K, h, w) bool: masked patches; branches that mask words are left out.
        words: by branch, (K, L) bool: masked tokens; likewise.
        probabilities: of the main branch, then by branch: (K, height, width) at the picture's own size.
    """

    correlation: np.ndarray
    patches: dict[str, np.ndarray]
    words: dict[str, np.ndarray]
    probabilities: dict[str, np.ndarray]


@contextmanager
def recorded_choices(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Keeps the masks (K, M) that each branch draws."""
    drawn: dict[str, Tensor] = {}
    branches = {name: each for name, each in model.distillation.items() if isinstance(each, MaskedSelfDistillation)}

    def keep(name: str, choose: Any) -> Any:
        def choose_and_keep(*arguments: Any, **options: Any) -> Tensor:
            drawn[name] = choose(*arguments, **options)
            return drawn[name]

        return choose_and_keep

    for name, branch in branches.items():
        branch.choose = keep(name, branch.choose)
    try:
        yield drawn
    finally:
        for branch in branches.values():
            del branch.choose


@torch.no_grad()
def watch(model: nn.Module, picture: PreparedPicture) -> Seen:
    """Runs a picture and its K expressions through the main branch and all students, as a training step does but for
    dropout and batch norms.

    Args:
        model: a segmentor in evaluation mode.
        picture: of ``ReferringInferencer.prepare``.
    """
    batch = model.data_preprocessor(dict(inputs=[picture.inputs], data_samples=[picture.data_sample]), False)
    inputs, index = batch['inputs'], torch.zeros(len(batch['input_ids']), dtype=torch.long)
    main = model.encode(inputs, batch['input_ids'], index.to(inputs.device))
    with recorded_choices(model) as drawn:
        students = {name: branch.student(model, main) for name, branch in model.distillation.items()}
    main_logits, logits = model.segment_students(main, students)
    grid = tuple(main.visual.levels[2].shape[2:])
    scores = correlate(main.text.sentence, gather_images(main.visual.patches, main.image_index))
    sides = {name: model.distillation[name].masked_side for name in drawn}
    return Seen(
        correlation=_stretch(scores.reshape(-1, *grid).float().cpu().numpy()),
        patches={name: drawn[name].reshape(-1, *grid).cpu().numpy() for name in drawn if sides[name] == 'image'},
        words={name: drawn[name].cpu().numpy() for name in drawn if sides[name] == 'text'},
        probabilities={
            name: _at_own_size(model, each, picture, inputs.shape[2:])
            for name, each in dict(main=main_logits, **logits).items()
        },
    )


def _stretch(maps: np.ndarray) -> np.ndarray:
    """Each map (h, w) from 0 to 1."""
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    return (maps - low) / np.maximum(high - low, 1e-12)


def _at_own_size(model: nn.Module, logits: Tensor, picture: PreparedPicture, size: torch.Size) -> np.ndarray:
    maps = logits_to_masks(logits.float().sigmoid(), size, model.mask_alignment)[:, 0]
    return picture.letterbox.undo(maps).cpu().numpy()


def words_of(inferencer: ReferringInferencer, picture: PreparedPicture) -> list[list[str]]:
    """The text of each token (K, L); empty for SOT, EOT and padding."""
    step = next(each for each in inferencer.pipeline.transforms if isinstance(each, TokenizeExpressions))
    tokenizer = get_tokenizer(step.tokenizer)
    found = []
    for text, ids in zip(picture.expressions, picture.data_sample.expressions.input_ids.tolist(), strict=True):
        _, is_word, _ = tokenizer.encode(text, len(ids))
        marked = [*is_word, *[False] * (len(ids) - len(is_word))]
        found.append([tokenizer.decode([token]).strip() if word else '' for token, word in zip(ids, marked)])
    return found
