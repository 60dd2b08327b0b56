"""A work dir as a training leaves it, of RefShapes' small model without the training; and pictures to ask about."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from cmmasksd.apis import ReferringInferencer

MODEL = 'vit-tiny_refshapes'
SENTENCES = ['left zebra', 'the tree']


def make_run(folder: Path) -> Path:
    """Writes the config and a checkpoint; gives the checkpoint."""
    inferencer = ReferringInferencer(MODEL, device='cpu')
    inferencer.cfg.dump(folder / f'{MODEL}.py')
    torch.save(dict(meta={}, state_dict=inferencer.model.state_dict()), folder / 'best.pth')
    return folder / 'best.pth'


def make_pictures(folder: Path, count: int) -> list[str]:
    """Writes small pictures; gives their names."""
    rng, names = np.random.default_rng(0), [f'p{number}.png' for number in range(count)]
    for name in names:
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(folder / name)
    return names


def make_table(folder: Path, rows: int) -> Path:
    """A table of ``rows`` rows about three pictures."""
    names = make_pictures(folder, 3)
    lines = [json.dumps(dict(image=names[row % 3], sentences=SENTENCES[: 1 + row % 2])) for row in range(rows)]
    (folder / 'table.jsonl').write_text('\n'.join(lines) + '\n')
    return folder / 'table.jsonl'


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]
