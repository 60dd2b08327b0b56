"""How long the models of configs/zoo.yml take beside one another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from cmmasksd.registry import MODELS

from .inputs import EOT, SOT, input_size, step_of
from .report import describe_machine
from .timing import paired_ratio, time_in_turn

CLS, SEP = 101, 102  # BERT's
WORDS = 4
COUNTS = (1, 8)


def expressions(cfg: Config, count: int) -> torch.Tensor:
    """Ids (count, L) of expressions of a few words, of CLIP's tokens or BERT's; no tokenizer is asked."""
    step = step_of(cfg, 'TokenizeExpressions')
    start, end = (CLS, SEP) if step.get('tokenizer') else (SOT, EOT)
    ids = torch.zeros(count, step.token_length, dtype=torch.int64)
    ids[:, 0], ids[:, WORDS + 1] = start, end
    ids[:, 1 : WORDS + 1] = torch.randint(1000, 30_000, (count, WORDS), generator=torch.Generator().manual_seed(0))
    return ids


def time_models(cfgs: Sequence[Config], base: Config, repeats: int) -> dict[str, Any]:
    """Times the models turn about, from pixels to logits, with random weights, in float32, on the CPU.

    Args:
        cfgs: of the models, ``base`` among them.
        base: whose time with one expression counts 1.
        repeats: rounds that count, after one that does not.

    Returns:
        what was measured where, and by config's file the median of the rounds' ratios with one and eight expressions.
    """
    works: dict[str, Callable[[], object]] = {}
    for cfg in cfgs:
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            model = MODELS.build(cfg.model).eval()
        images = torch.zeros(1, 3, *input_size(cfg))
        for count in COUNTS:
            works[f'{cfg.filename} {count}'] = _work(model, images, expressions(cfg, count))
    samples = time_in_turn(works, repeats, warmup=1, device=torch.device('cpu'))
    own = samples[f'{base.filename} {COUNTS[0]}']
    ratios = {name: round(paired_ratio(seconds, own).median, 2) for name, seconds in samples.items()}
    times = {cfg.filename: [ratios[f'{cfg.filename} {count}'] for count in COUNTS] for cfg in cfgs}
    return dict(machine=describe_machine(torch.device('cpu')), rounds=repeats, times=times)


def _work(model: Any, images: torch.Tensor, ids: torch.Tensor) -> Callable[[], object]:
    index = torch.zeros(len(ids), dtype=torch.int64)

    def run() -> None:
        with torch.inference_mode():
            list(model.segment_images(model.encode_images(images), ids, index))

    return run
