"""Strips a training checkpoint to what inference needs and names it by its hash: python tools/misc/publish_model.py
SRC DST
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import torch


def publish(source: str, destination: str) -> Path:
    """Keeps the weights of the main branch (distillation branches vanish at inference); returns ``DST-<8 digits of
    SHA-256>.pth``.
    """
    from cmmasksd.checkpoints import CheckpointError, load_checkpoint_file

    checkpoint = load_checkpoint_file(source)
    if not isinstance(checkpoint.get('state_dict'), dict):
        raise CheckpointError(
            f'{source} has no state_dict: give a checkpoint of a training run, such as best_mIoU_*.pth'
        )
    weights = {
        name: tensor.cpu() for name, tensor in checkpoint['state_dict'].items() if not name.startswith('distillation.')
    }
    target = Path(destination).with_suffix('')
    target.parent.mkdir(parents=True, exist_ok=True)
    unnamed = target.with_suffix('.tmp')
    torch.save({'meta': {}, 'state_dict': weights}, unnamed)
    digest = hashlib.sha256(unnamed.read_bytes()).hexdigest()[:8]
    return unnamed.rename(target.with_name(f'{target.name}-{digest}.pth'))


def main() -> None:
    parser = argparse.ArgumentParser(description='Publish a checkpoint.')
    parser.add_argument('source', help='checkpoint of a training run')
    parser.add_argument('destination', help='path of the published file, to which the hash is added')
    args = parser.parse_args()
    print(publish(args.source, args.destination))


if __name__ == '__main__':
    main()
