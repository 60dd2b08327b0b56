"""Losses between logits and a mask, from configs: one or several, of torch or of mmseg."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from cmmasksd.models.building import build_part, scope_of

Config = Mapping[str, Any]
LossConfig = Config | Sequence[Config] | None

BCE: Config = dict(type='torch.BCEWithLogitsLoss')
HARD = frozenset({'LovaszLoss'})  # their formula holds for masks of 0 and 1 alone


class MaskLoss(nn.Module):
    """One or several losses of logits (E, 1, h, w) against a mask of the same shape with values in [0, 1].

    Targets are soft: shares of a logit's square, or a teacher's probabilities. Binary cross-entropy (the paper's), Dice
    and focal loss take them as they are; Lovasz' hinge gets them cut at one half.

    Args:
        config: one config or several; None: binary cross-entropy. ``type`` is ``torch.X`` (a loss of ``torch.nn`` that
            takes logits) or a registered one such as ``mmseg.DiceLoss``, whose own options stand beside it.
            ``loss_weight`` works for all, and ``hard_target`` says whether targets are cut.

    Raises:
        ValueError: an empty list, an unknown loss of torch, one that is named twice, or one from which logits with one
            channel learn nothing (a softmax over a single class).
    """

    def __init__(self, config: LossConfig = None) -> None:
        super().__init__()
        configs = [BCE] if config is None else [config] if isinstance(config, Mapping) else list(config)
        if not configs:
            raise ValueError('loss_decode names no loss: leave it out for binary cross-entropy.')
        self.terms = nn.ModuleDict()
        for each in configs:
            name = short_name(each['type'])
            if name in self.terms:
                raise ValueError(f"loss_decode names '{each['type']}' twice.")
            self.terms[name] = LossTerm(each)

    def forward(self, logits: Tensor, target: Tensor, name: str) -> dict[str, Tensor]:
        """The losses, scalars in float32, as ``name``, or ``name_bce``, ``name_dice`` ... where there are several."""
        values = {term: loss(logits.float(), target.float()) for term, loss in self.terms.items()}
        return {name if len(values) == 1 else f'{name}_{term}': value for term, value in values.items()}


class LossTerm(nn.Module):
    """One loss, whatever its project's conventions.

    Args:
        config: see :class:`MaskLoss`.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        options = dict(config)
        kind = options['type'].rpartition('.')[2]
        self.hard_target = options.pop('hard_target', kind in HARD)
        self.class_indices = scope_of(config) == 'mmseg' and kind == 'CrossEntropyLoss'
        self.weight = 1.0
        if scope_of(config) == 'torch':
            self.weight = options.pop('loss_weight', 1.0)
            del options['type']
            self.loss = _torch_loss(kind)(**options)
        else:
            self.loss = build_part(options)
        self._try_out(config)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """(E, 1, h, w), twice -> a scalar."""
        if self.hard_target:
            target = (target > 0.5).to(target.dtype)
        if self.class_indices:
            target = target[:, 0]  # mmseg's target has no channels: where use_sigmoid is set it may hold shares
        return self.weight * self.loss(logits, target)

    def _try_out(self, config: Config) -> None:
        """Takes the gradient once: many losses are made for several classes and give 0, always, for one channel."""
        with torch.device('cpu'), torch.enable_grad():  # also where the model is built on the meta device
            logits = torch.linspace(-2, 2, 128).view(2, 1, 8, 8).requires_grad_()
            target = torch.linspace(0, 1, 128).view(2, 1, 8, 8)
            try:
                (gradient,) = torch.autograd.grad(self(logits, target.flip(3)), logits)
            except Exception as error:  # whatever a stranger's loss makes of what it is not made for
                raise ValueError(f'loss_decode: {dict(config)} does not take logits of one channel: {error}') from error
        if not (gradient.isfinite().all() and gradient.any()):
            raise ValueError(
                f'loss_decode: from {dict(config)} logits of one channel learn nothing. '
                'Where it has the option, set use_sigmoid=True; a softmax needs several classes.'
            )


def short_name(kind: str) -> str:
    """``mmseg.DiceLoss`` -> ``dice``, ``torch.BCEWithLogitsLoss`` -> ``bce``."""
    name = kind.rpartition('.')[2].removesuffix('Loss').removesuffix('WithLogits')
    return name.lower()


def _torch_loss(kind: str) -> type[nn.Module]:
    loss = getattr(nn, kind, None)
    if loss is None or not kind.endswith('Loss'):
        raise ValueError(f"torch.nn has no loss '{kind}': write one that it has, such as {BCE['type']}.")
    return loss
