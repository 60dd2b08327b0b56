"""Times a table in bulk against the bare model, turn about: python tools/analysis_tools/benchmark_bulk.py CONFIG"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from cmmasksd.arguments import positive

if TYPE_CHECKING:
    from pathlib import Path

    from cmmasksd.apis import ReferringInferencer

SENTENCES = ['the man on the left', 'a dog that sleeps']


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Time a table in bulk (reading JPEGs, segmenting, RLEs, lines on disk) against the bare model on '
        'batches that are prepared, turn about; weights are random.'
    )
    parser.add_argument('config', help='config file, or the name of a shipped one')
    parser.add_argument('--pictures', type=positive, default=32, metavar='N', help='(default: %(default)s)')
    parser.add_argument(
        '--size', type=positive, nargs=2, default=[480, 640], metavar=('H', 'W'), help='of the pictures'
    )
    parser.add_argument('--batch-size', type=positive, default=4, metavar='N', help='(default: %(default)s)')
    parser.add_argument('--threads', type=positive, default=2, metavar='N', help='(default: %(default)s)')
    parser.add_argument('--repeats', type=positive, default=3, metavar='N', help='(default: %(default)s)')
    parser.add_argument('--image-size', type=positive, metavar='N', help="side of the input (default: the config's)")
    parser.add_argument('--device', help='such as cpu or cuda:0 (default: an accelerator if there is one)')
    return parser.parse_args()


def open_model(args: argparse.Namespace) -> ReferringInferencer:
    """The config's model, without downloads."""
    from cmmasksd.apis import ReferringInferencer
    from cmmasksd.shipped import open_config

    cfg = open_config(args.config)
    for part in (cfg.model.backbone, cfg.model.text_encoder):
        part.pretrained = None
    if args.image_size:
        cfg.model.backbone.image_size = (args.image_size, args.image_size)
        for step in cfg.test_dataloader.dataset.pipeline:
            if step.type.endswith('LetterboxResize'):
                step.size = (args.image_size, args.image_size)
    return ReferringInferencer(cfg, device=args.device)


def make_table(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """JPEGs of smooth noise, which are as large as photos, and a table of two sentences each."""
    import json

    import cv2
    import numpy as np

    rng, lines = np.random.default_rng(0), []
    for number in range(count):
        picture = cv2.resize(rng.integers(0, 256, (60, 80, 3), np.uint8), size[::-1], interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f'{number}.jpg'), picture)
        lines.append(json.dumps(dict(image=f'{number}.jpg', sentences=SENTENCES)) + '\n')
    (folder / 'table.jsonl').write_text(''.join(lines))
    return folder / 'table.jsonl'


def time_bare(inferencer: ReferringInferencer, pictures: list, batch_size: int) -> float:
    """Seconds that the model takes for prepared pictures, to probabilities on its own grid."""
    import time

    import torch

    begun = time.perf_counter()
    for start in range(0, len(pictures), batch_size):
        inferencer.segment(pictures[start : start + batch_size])
    if inferencer.device.type == 'cuda':
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def main() -> None:
    args = parse_args()
    import logging
    import resource
    import tempfile
    import time
    from pathlib import Path
    from statistics import median

    from cmmasksd.apis.bulk import segment_table

    logging.disable(logging.INFO)
    inferencer = open_model(args)
    bare, bulk = [], []
    with tempfile.TemporaryDirectory() as name:
        table = make_table(Path(name), args.pictures, tuple(args.size))
        prepared = [inferencer.prepare(str(path), SENTENCES) for path in sorted(table.parent.glob('*.jpg'))]
        time_bare(inferencer, prepared[: args.batch_size], args.batch_size)
        for repeat in range(args.repeats):
            bare.append(time_bare(inferencer, prepared, args.batch_size))
            begun = time.perf_counter()
            segment_table(
                lambda: inferencer, table, f'{name}/{repeat}', batch_size=args.batch_size, threads=args.threads
            )
            bulk.append(time.perf_counter() - begun)
    rates = [args.pictures / median(seconds) for seconds in (bare, bulk)]
    ratio = median(one / other for one, other in zip(bare, bulk))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print(f'{args.pictures} pictures of {args.size[0]}x{args.size[1]}, two sentences each, on {inferencer.device}')
    print(f'bare model {rates[0]:.2f} pictures a second, bulk {rates[1]:.2f}: a share of {ratio:.2f}')
    print(f'at most {memory:.0f} MiB of memory')


if __name__ == '__main__':
    main()
