"""Parameters and FLOPs of a segmentor's parts, told by whether they are done for an image or for an expression."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from .counting import count_children, count_flops
from .inputs import input_size, step_of
from .tracing import without_contents
from .training import only_branches

IMAGE, EXPRESSION, PART_OF = 'image', 'expression', 'of which'


@dataclass(frozen=True)
class Part:
    """A piece of work.

    Attributes:
        name: what.
        parameters: of the modules that do it and no other part.
        flops: for one ``unit``.
        unit: ``image`` or ``expression``: for which it is done once; ``of which``: a share of the part before.
    """

    name: str
    parameters: int
    flops: int
    unit: str


def count_parts(cfg: Config) -> list[Part]:
    """The work from pixels and tokens to logits (the main branch, which is all that inference runs), part by part.

    Where the image encoder needs the text, it and the neck's projections run once for each expression.
    """
    length = step_of(cfg, 'TokenizeExpressions').token_length
    with without_contents(cfg) as model, torch.no_grad():
        model.eval()
        images, ids = torch.empty(1, 3, *input_size(cfg)), torch.empty(1, length, dtype=torch.int64)
        of_image = EXPRESSION if model.image_needs_text else IMAGE
        meter = _Meter()
        words = meter('text encoder', EXPRESSION, lambda: model.embed_text(ids), model.text_encoder)
        text = None
        if model.bridge is None:
            text = meter('text encoder', EXPRESSION, lambda: model.encode_text(words, ids))
        patches = meter('image embeddings', IMAGE, lambda: model.embed_image(images))
        encode = partial(model.encode_pair, patches, words, ids, torch.zeros(1).long(), text=text)
        name, encoders = 'image encoder', [model.backbone]
        if model.bridge is not None:
            name, encoders = 'image encoder, bridge and text encoder', [model.backbone, model.bridge]
        visual, text = meter(name, of_image, encode, nn.ModuleList(encoders))
        projected = meter('neck, projections', of_image, lambda: model.project(visual), model.neck)
        fused = meter('neck, fusion', EXPRESSION, lambda: model.fuse(projected, text.sentence, None))
        head = count_children(lambda: model.decode(fused, text), model.decode_head)
        meter('decode head', EXPRESSION, lambda: model.decode(fused, text), model.decode_head)
        inner = [Part(f'  {name}', 0, flops, PART_OF) for name, flops in head.items()]
        return [*meter.parts, *inner]


class _Meter:
    """Does a piece of work, and keeps what it costs."""

    def __init__(self) -> None:
        self.parts: list[Part] = []

    def __call__(self, name: str, unit: str, work: Any, module: nn.Module | None = None) -> Any:
        done: list[Any] = []
        flops = count_flops(lambda: done.append(work()))
        parameters = sum(parameter.numel() for parameter in module.parameters()) if module else 0
        if self.parts and self.parts[-1].name == name:
            last = self.parts.pop()
            flops, parameters = flops + last.flops, parameters + last.parameters
        self.parts.append(Part(name, parameters, flops, unit))
        return done[0]


def total(parts: Sequence[Part], expressions: int) -> int:
    """FLOPs of one image with so many expressions."""
    times = {IMAGE: 1, EXPRESSION: expressions, PART_OF: 0}
    return sum(part.flops * times[part.unit] for part in parts)


def branch_parameters(cfg: Config) -> dict[str, int]:
    """Parameters of each distillation branch, which inference does without."""
    with without_contents(cfg) as model:
        return {name: sum(each.numel() for each in branch.parameters()) for name, branch in _branches(model)}


def count_training(cfg: Config) -> dict[str, int]:
    """FLOPs of forward and backward for an image with one expression: the main branch alone, with each of the config's
    branches, and with all of them.
    """
    length = step_of(cfg, 'TokenizeExpressions').token_length
    cfg, size, found = copy.deepcopy(cfg), input_size(cfg), {}
    with without_contents(cfg) as model:
        model.train()
        inputs, masks = (torch.empty(2, channels, *size) for channels in (3, 1))  # two, as batch norms want
        ids = torch.empty(2, length, dtype=torch.int64)

        def step() -> None:
            model.zero_grad()
            sum(model(inputs, ids, masks=masks, mode='loss').values()).backward()

        names = [name for name, _ in _branches(model)]
        for chosen in [(), *((name,) for name in names), tuple(names)]:
            label = ' + '.join(('main', *(name.upper() for name in chosen)))
            if label not in found:
                with only_branches(model, chosen):
                    found[label] = count_flops(step) // len(inputs)
    return found


def _branches(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return list(model.distillation.named_children())
