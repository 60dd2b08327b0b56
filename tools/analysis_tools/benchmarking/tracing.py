"""Memory and FLOPs of a training step, computed by tracing it on tensors without contents."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from cmmasksd.registry import MODELS

from .counting import count_flops
from .inputs import input_size, set_where_known, step_of

BYTES = 4  # of a float32


@dataclass(frozen=True)
class TracedStep:
    """Bytes of weights, gradients and Adam's moments; bytes of all that is alive at the worst moment; FLOPs."""

    state: int
    peak: int
    flops: int


class LiveBytes(TorchDispatchMode):
    """Adds up the storages that operations make, until they are freed: ``peak`` is the most that was alive at once.

    torch's own MemTracker also tells which module a tensor belongs to, which takes it minutes on a large model.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known = WeakIdKeyDictionary()

    def __torch_dispatch__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        results = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(results):
            if isinstance(tensor, Tensor):
                self.add(tensor)
        return results

    def add(self, tensor: Tensor) -> None:
        """Counts the tensor's storage, once."""
        storage = tensor.untyped_storage()
        if storage in self._known:
            return
        self._known[storage] = True
        self.live += storage.nbytes()
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._free, storage.nbytes())

    def _free(self, size: int) -> None:
        self.live -= size


def move_to_cpu(model: nn.Module) -> None:
    """Gives a model on the meta device tensors of a CPU, which within FakeTensorMode have no contents either.

    timm cannot build its models within that mode: it reads numbers off tensors.
    """
    moved: dict[int, Tensor] = {}  # parameters may be shared
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is None:
                    continue
                if id(tensor) not in moved:
                    empty = torch.empty(tensor.shape, dtype=tensor.dtype, device='cpu')
                    trained = isinstance(tensor, nn.Parameter)
                    moved[id(tensor)] = nn.Parameter(empty, requires_grad=tensor.requires_grad) if trained else empty
                tensors[name] = moved[id(tensor)]  # type: ignore[assignment]  # a buffer stays one


@contextmanager
def without_contents(cfg: Config, checkpointing: bool = False) -> Iterator[nn.Module]:
    """A config's model without contents; within the block nothing that is made has any. Dropout of the head is off."""
    cfg = copy.deepcopy(cfg)
    set_where_known(cfg.model.decode_head, 'dropout', 0.0)
    for tower in (cfg.model.backbone, cfg.model.text_encoder):
        set_where_known(tower, 'activation_checkpointing', checkpointing)
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    with FakeTensorMode():
        move_to_cpu(model)
        yield model


def trace_step(cfg: Config, batch_size: int, amp: bool, checkpointing: bool) -> TracedStep:
    """Traces forward and backward, with one expression an image; Adam's moments, which only lie there meanwhile, are
    added.

    Dropout is off: the kernels traced are those of a CPU, which would do it without fused attention; a GPU need not.
    """
    size = input_size(cfg)
    with without_contents(cfg, checkpointing) as model:
        model.train()
        inputs, masks = (torch.empty(batch_size, channels, *size) for channels in (3, 1))
        ids = torch.empty(batch_size, step_of(cfg, 'TokenizeExpressions').token_length, dtype=torch.int64)

        def step() -> None:
            with torch.autocast('cpu', torch.bfloat16, enabled=amp):
                losses = model(inputs, ids, masks=masks, mode='loss')
            sum(losses.values()).backward()

        with LiveBytes() as memory:
            for tensor in (*model.parameters(), *model.buffers(), inputs, masks, ids):
                memory.add(tensor)
            flops = count_flops(step)
    trained = sum(parameter.numel() for parameter in model.parameters())
    return TracedStep(BYTES * 4 * trained, memory.peak + BYTES * 2 * trained, flops)
