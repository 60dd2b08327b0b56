"""torch.compile for the parts of a model whose shapes never change."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from cmmasksd.registry import HOOKS

VERBS = ('backbone.encode_image', 'neck.project', 'neck.fuse', 'decode_head.forward')


def compile_verbs(model: nn.Module, verbs: Sequence[str] = VERBS, **options: Any) -> None:
    """Replaces methods of the model's parts by compiled ones, for static shapes; parameters and checkpoints keep their
    names.

    Args:
        model: a segmentor, not wrapped.
        verbs: the methods, each as ``<part of the model>.<method>``.
        options: of ``torch.compile``, such as ``backend``; ``dynamic=False`` unless given.

    Raises:
        ValueError: the model has no such part or method.
    """
    for verb in verbs:
        *path, name = verb.split('.')
        try:
            part = reduce(getattr, path, model)
            method = getattr(part, name)
        except AttributeError as error:
            raise ValueError(
                f"CompileHook: {type(model).__name__} has no '{verb}'; name a part and its method, such as "
                f'{VERBS[0]!r}.'
            ) from error
        setattr(part, name, torch.compile(method, **{'dynamic': False, **options}))


@HOOKS.register_module()
class CompileHook(Hook):
    """Compiles encoder, neck and head before a run: put ``dict(type='CompileHook')`` into ``custom_hooks``.

    mmengine's own ``compile`` wraps the whole training step, whose lists of samples break the graph at every turn.
    Batches should be equally large (``drop_last``); evaluation compiles once more, and again for every number of
    expressions that it meets first.

    Args:
        verbs: see :func:`compile_verbs`, as are the options.
    """

    def __init__(self, verbs: Sequence[str] = VERBS, **options: Any) -> None:
        self.verbs = tuple(verbs)
        self.options = options

    def before_run(self, runner: Runner) -> None:
        compile_verbs(
            runner.model.module if is_model_wrapper(runner.model) else runner.model, self.verbs, **self.options
        )
