"""The memory of a training step, computed by tracing it on tensors without contents."""

from __future__ import annotations

import copy

import torch
from mmengine.config import Config
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

from cmmasksd.registry import MODELS

from .inputs import random_batch


def trace_step(cfg: Config, batch_size: int, amp: bool, checkpointing: bool) -> tuple[int, int]:
    """Traces one step, with one expression an image, after a first one that makes Adam's moments.

    Dropout is off: on a CPU, whose kernels are traced, it would do without fused attention, which a GPU need not.

    Returns:
        Bytes of weights, gradients and moments, and of all that is alive at the worst moment.
    """
    cfg = copy.deepcopy(cfg)
    cfg.model.decode_head.dropout = 0.0
    for tower in (cfg.model.backbone, cfg.model.text_encoder):
        tower.activation_checkpointing = checkpointing
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = MODELS.build(cfg.model).train()
        optimiser = torch.optim.Adam(model.parameters())
        batch = random_batch(cfg, [1] * batch_size, training=True)
        tracker = MemTracker()
        tracker.track_external(model, optimiser)
        with tracker:
            for _ in range(2):
                tracker.reset_mod_stats()
                with torch.autocast('cpu', torch.bfloat16, enabled=amp):
                    losses = model(**model.data_preprocessor(batch, True), mode='loss')
                sum(losses.values()).backward()
                optimiser.step()
                optimiser.zero_grad()
        peak = tracker.get_tracker_snapshot('peak')[torch.device('cpu')]['Total']
    trained = sum(parameter.numel() for parameter in model.parameters())
    return 4 * 4 * trained, peak
