"""What happens when a loss is not a number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from mmengine.dist import all_gather_object, all_reduce
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from cmmasksd.engine.sharding import local_part
from cmmasksd.registry import HOOKS

SKIPS = 'skipped_steps'  # in the message hub, which checkpoints hold


class NonFiniteError(FloatingPointError):
    """A loss or a weight that is NaN or infinite; the message names the iteration, the losses and the batch."""


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Looks at the losses between the forward and the backward pass: stops at one that is not finite, or skips its
    step.

    Stopping raises on the process that met it; the launcher ends the others. Skipping (``max_skips``) is agreed upon by
    all processes: none runs a backward pass, so that gradients, weights and the optimiser's state stay what they were,
    and so do the model's buffers (the running statistics of batch norms, which a NaN enters in the forward pass), of
    which a copy is kept during each step. The log shows the loss as it was, and a skipped iteration counts in the
    schedules. A checkpoint with a weight or statistic that is not finite is never written.

    The price is one number read from the device between the two passes, and with ``max_skips`` in several processes one
    number exchanged. What the losses do not show, a gradient that overflows in the backward pass, is refused before the
    optimiser's step by ``optim_wrapper.clip_grad=dict(max_norm=..., error_if_nonfinite=True)``.

    Args:
        max_skips: steps that may be skipped in the whole run, resumed parts included; 0 stops at the first.

    Raises:
        NonFiniteError: a loss that is not finite, and no skip left; or a checkpoint that would not be finite.
        ValueError: ``max_skips`` is negative, or comes with a gradient scaler, which skips steps by itself and needs
            gradients for it.
    """

    def __init__(self, max_skips: int = 0) -> None:
        if max_skips < 0:
            raise ValueError(f'max_skips must be at least 0, got {max_skips}.')
        self.max_skips = max_skips
        self._handles: list[Any] = []
        self._buffers: list[Tensor] = []

    def before_train(self, runner: Runner) -> None:
        """Hooks itself to the model, below a wrapper of several processes."""
        if self.max_skips and hasattr(runner.optim_wrapper, 'loss_scaler'):
            raise ValueError(
                'NonFiniteLossHook(max_skips) does not go with a gradient scaler: take AutocastOptimWrapper (--amp), '
                'which has none.'
            )
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self._handles = [model.register_forward_hook(partial(self._check, runner), with_kwargs=True)]
        if self.max_skips:
            self._handles.append(model.register_forward_pre_hook(self._remember))

    def after_train(self, runner: Runner) -> None:
        for handle in self._handles:
            handle.remove()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Refuses a poisoned checkpoint: a run resumed from it could never recover."""
        names = not_finite({**checkpoint.get('ema_state_dict', {}), **checkpoint['state_dict']})
        if names:
            raise NonFiniteError(
                f'Iteration {runner.iter + 1}: {len(names)} weights or statistics are not finite, such as {names[0]}: '
                'this checkpoint is not '
                'written, those before it are intact. Lower the learning rate, or stop at the gradient by '
                'optim_wrapper.clip_grad='
                'dict(max_norm=1.0, error_if_nonfinite=True).'
            )

    def _remember(self, model: nn.Module, args: tuple) -> None:
        if model.training:
            self._buffers = [buffer.clone() for buffer in model.buffers()]

    def _check(
        self, runner: Runner, model: nn.Module, args: tuple, kwargs: dict[str, Any], outputs: Any
    ) -> dict[str, Any] | None:
        """A forward hook of the model. None leaves its losses alone; losses without a graph, in their place, move
        nothing.
        """
        if kwargs.get('mode') != 'loss':
            return None
        losses = sum_up(outputs)
        finite = bool(torch.stack(list(losses.values())).isfinite().all())
        if finite and not self.max_skips:
            return None
        report = '' if finite else describe(losses, model, kwargs.get('data_samples') or ())
        if self.max_skips and on_all_processes(finite):
            return None
        self._skip_or_stop(runner, report)
        with torch.no_grad():
            for buffer, kept in zip(model.buffers(), self._buffers, strict=True):
                buffer.copy_(kept)
        return {**outputs, **{name: loss.requires_grad_() for name, loss in losses.items()}}

    def _skip_or_stop(self, runner: Runner, report: str) -> None:
        """Counts a skip and says so, or raises; where steps may be skipped, all processes come here together."""
        where = f'Iteration {runner.iter + 1} (epoch {runner.epoch + 1})'
        if not self.max_skips:
            raise NonFiniteError(
                f'{where}: {report}. No step was taken. If the batch is sound, lower the learning rate or clip '
                'gradients '
                '(optim_wrapper.clip_grad); NonFiniteLossHook(max_skips=N) in custom_hooks passes over N such steps.'
            )
        reports = '; '.join(f'process {rank}: {each}' for rank, each in enumerate(all_gather_object(report)) if each)
        skips = runner.message_hub.runtime_info.get(SKIPS, 0) + 1
        if skips > self.max_skips:
            raise NonFiniteError(f'{where}: {reports}. No step was taken, and max_skips={self.max_skips} are used up.')
        runner.message_hub.update_info(SKIPS, skips)
        runner.logger.warning(f'{where}: step skipped, number {skips} of at most {self.max_skips}: {reports}.')


def sum_up(outputs: Mapping[str, Any]) -> dict[str, Tensor]:
    """The losses among a model's outputs as mmengine adds them up: every name with ``loss`` in it, a mean each;
    scalars without a graph.
    """
    named = {
        name: value if isinstance(value, (list, tuple)) else [value]
        for name, value in outputs.items()
        if 'loss' in name
    }
    return {name: torch.stack([part.detach().float().mean() for part in parts]).sum() for name, parts in named.items()}


def on_all_processes(condition: bool) -> bool:
    """Whether it holds on every process."""
    failed = torch.tensor(0.0 if condition else 1.0)
    all_reduce(failed)
    return not failed


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Names of the tensors that hold a NaN or an infinity, as far as this process has them: it may be alone here."""
    return [name for name, tensor in tensors.items() if not local_part(tensor).isfinite().all()]


def describe(losses: Mapping[str, Tensor], model: nn.Module, samples: Sequence[SegDataSample]) -> str:
    """One sentence: the losses that are not finite, the pictures and refs of the batch, and whether the weights were
    broken before.
    """
    values = ', '.join(f'{name} is {loss.item()}' for name, loss in losses.items() if not loss.isfinite())
    batch = ', '.join(f'{sample.get("img_path")} (ref {_ref_ids(sample)})' for sample in samples)
    broken = not_finite(dict(model.named_parameters()))
    before = (
        f'; {len(broken)} weights were not finite before this step, such as {broken[0]}: an earlier gradient was not'
        if broken
        else ''
    )
    return f'{values}, in the batch of {batch or "unknown pictures"}{before}'


def _ref_ids(sample: SegDataSample) -> str:
    ids = sample.expressions.get('ref_ids') if 'expressions' in sample else None
    return 'unknown' if ids is None else ', '.join(map(str, dict.fromkeys(ids.tolist())))
