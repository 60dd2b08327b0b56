"""Segments a table with Ray Data, on one machine or a cluster: python segment_table.py TABLE OUT --weights W

TABLE is JSON lines or Parquet with the columns image and sentences; OUT becomes a folder of JSON lines.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import ray
from ray.data import ActorPoolStrategy

from cmmasksd.apis.bulk import ReferringPredictor


def main() -> None:
    parser = argparse.ArgumentParser(description='Segment a table with Ray Data.')
    parser.add_argument('table', help='.jsonl or .parquet; every machine must see it, and the pictures')
    parser.add_argument('out', help='folder for the answers')
    parser.add_argument('--weights', required=True, help='checkpoint with its config beside it, or a published model')
    parser.add_argument('--actors', type=int, default=1, help='models at a time (default: %(default)s)')
    parser.add_argument('--gpus', type=float, default=0, help='of each actor (default: %(default)s)')
    parser.add_argument('--batch-size', type=int, default=16, help='rows at a time (default: %(default)s)')
    args = parser.parse_args()
    table = Path(args.table).resolve()
    rows = (
        ray.data.read_parquet(str(table)) if table.suffix == '.parquet' else ray.data.read_json(str(table), lines=True)
    )
    answers = rows.map_batches(
        ReferringPredictor,
        fn_constructor_args=(str(Path(args.weights).resolve()),),
        fn_constructor_kwargs=dict(images=str(table.parent), device='cuda' if args.gpus else 'cpu'),
        compute=ActorPoolStrategy(size=args.actors),
        num_gpus=args.gpus,
        batch_size=args.batch_size,
    )
    answers.write_json(str(Path(args.out).resolve()))


if __name__ == '__main__':
    main()
