"""Memory and FLOPs of a training step, computed by tracing it on tensors without contents."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from mmengine.config import Config
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

from cmmasksd.registry import MODELS

from .counting import count_flops
from .inputs import input_size, step_of

BYTES = 4  # of a float32


@dataclass(frozen=True)
class TracedStep:
    """Bytes of weights, gradients and Adam's moments; bytes of all that is alive at the worst moment; FLOPs."""

    state: int
    peak: int
    flops: int


def trace_step(cfg: Config, batch_size: int, amp: bool, checkpointing: bool) -> TracedStep:
    """Traces forward and backward, with one expression an image; Adam's moments, which only lie there meanwhile, are added.

    Dropout is off: the kernels traced are those of a CPU, which would do it without fused attention; a GPU need not.
    """
    cfg = copy.deepcopy(cfg)
    cfg.model.decode_head.dropout = 0.0
    for tower in (cfg.model.backbone, cfg.model.text_encoder):
        tower.activation_checkpointing = checkpointing
    size = input_size(cfg)
    with FakeTensorMode():
        model = MODELS.build(cfg.model).train()
        inputs, masks = (torch.empty(batch_size, channels, *size) for channels in (3, 1))
        ids = torch.empty(batch_size, step_of(cfg, 'TokenizeExpressions').token_length, dtype=torch.int64)

        def step() -> None:
            with torch.autocast('cpu', torch.bfloat16, enabled=amp):
                losses = model(inputs, ids, masks=masks, mode='loss')
            sum(losses.values()).backward()

        tracker = MemTracker()
        tracker.track_external(model, inputs, ids, masks)
        with tracker:
            flops = count_flops(step)
    trained = sum(parameter.numel() for parameter in model.parameters())
    peak = tracker.get_tracker_snapshot('peak')[torch.device('cpu')]['Total']
    return TracedStep(BYTES * 4 * trained, peak + BYTES * 2 * trained, flops)
