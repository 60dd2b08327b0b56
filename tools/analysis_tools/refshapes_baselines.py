"""What RefShapes scores without learning: python tools/analysis_tools/refshapes_baselines.py data/refshapes

Masks that are chosen without reading the sentence, or by half of what it says, are scored on each split as a model's
would be. A model that stays near these numbers has learnt no language. The last row knows the looks of what is meant,
and not where it lies: it picks one of the things that look the same.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

COLUMNS = ('mIoU', 'oIoU', 'Pr@0.5', 'Pr@0.7', 'Pr@0.9', 'Loc')
SPLITS = ('val', 'testA', 'testB', 'testC', 'testD')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data_root', help='folder that holds the set and images/')
    parser.add_argument('--dataset', default='refshapes-benchmark', help='or refshapes (default: %(default)s)')
    parser.add_argument('--splits', nargs='+', default=SPLITS, help='default: all but train')
    parser.add_argument('--seed', type=int, default=0, help='of what is drawn (default: %(default)s)')
    return parser.parse_args()


def everything(masks: np.ndarray, target: int, looks: list, rng: np.random.Generator) -> np.ndarray:
    """The whole picture."""
    return masks[0] | True


def middle_box(masks: np.ndarray, target: int, looks: list, rng: np.random.Generator) -> np.ndarray:
    """The middle box of half the picture's sides."""
    height, width = masks.shape[1:]
    box = masks[0] & False
    box[height // 4 : height - height // 4, width // 4 : width - width // 4] = True
    return box


def random_object(masks: np.ndarray, target: int, looks: list, rng: np.random.Generator) -> np.ndarray:
    """Any object of the picture."""
    return masks[rng.integers(len(masks))]


def largest_object(masks: np.ndarray, target: int, looks: list, rng: np.random.Generator) -> np.ndarray:
    """The object of the largest visible area."""
    return masks[masks.sum(axis=(1, 2)).argmax()]


def middle_object(masks: np.ndarray, target: int, looks: list, rng: np.random.Generator) -> np.ndarray:
    """The object whose middle is nearest to the picture's."""
    import numpy as np

    middle = (np.array(masks.shape[1:]) - 1) / 2
    distances = [np.linalg.norm(np.argwhere(mask).mean(axis=0) - middle) for mask in masks]
    return masks[int(np.argmin(distances))]


def right_looks(masks: np.ndarray, target: int, looks: list, rng: np.random.Generator) -> np.ndarray:
    """Any of the objects with the kind, colour, size and texture of the right one."""
    alike = [number for number, look in enumerate(looks) if look == looks[target]]
    return masks[alike[rng.integers(len(alike))]]


BASELINES: dict[str, Callable] = {
    'everything': everything,
    'middle box': middle_box,
    'random object': random_object,
    'largest object': largest_object,
    'object nearest to the middle': middle_object,
    'right looks, position ignored': right_looks,
}


def load_pictures(root: str, dataset: str, split: str) -> list[tuple[np.ndarray, list, list[int]]]:
    """Of each picture all objects' masks (O, height, width), their looks, and the number of the object that each
    sentence means.
    """
    import json
    from pathlib import Path

    import numpy as np

    from cmmasksd.datasets.refer import decode_mask, load_refer

    data = load_refer(root, dataset, 'unc', split)
    objects: dict[int, list[dict]] = {}
    for annotation in json.loads((Path(root) / dataset / 'instances.json').read_text())['annotations']:
        if 'attributes' not in annotation:
            raise ValueError(f'{root}/{dataset}: its objects have no attributes; give a set that RefShapes made.')
        objects.setdefault(annotation['image_id'], []).append(annotation)
    meant: dict[int, list[int]] = {}
    for ref in data.refs:
        numbers = [annotation['id'] for annotation in objects[ref.image_id]]
        meant.setdefault(ref.image_id, []).extend([numbers.index(ref.ann_id)] * len(ref.sentences))
    pictures = []
    for image_id, targets in meant.items():
        size = data.images[image_id].height, data.images[image_id].width
        masks = np.stack([decode_mask(annotation['segmentation'], *size) for annotation in objects[image_id]])
        looks = [
            [annotation['category_id'], *(annotation['attributes'][name] for name in ('colour', 'size', 'texture'))]
            for annotation in objects[image_id]
        ]
        pictures.append((masks, looks, targets))
    return pictures


def score(pictures: list[tuple[np.ndarray, list, list[int]]], baseline: Callable, seed: int) -> dict[str, float]:
    """The metric's table for what a baseline predicts."""
    import numpy as np
    import torch

    from cmmasksd.evaluation import ReferringIoUMetric

    rng, metric = np.random.default_rng(seed), ReferringIoUMetric(localisation=True)
    for masks, looks, targets in pictures:
        predictions = np.stack([baseline(masks, target, looks, rng) for target in targets])
        sample = dict(
            predictions=dict(masks=torch.from_numpy(predictions)),
            expressions=dict(masks=torch.from_numpy(masks[targets])),
            objects=dict(masks=torch.from_numpy(masks)),
        )
        metric.process(None, [sample])
    return metric.evaluate(len(pictures))


def main() -> None:
    args = parse_args()
    from prettytable import PrettyTable

    table = PrettyTable(['split', 'baseline', *COLUMNS], align='r')
    table.align['split'] = table.align['baseline'] = 'l'
    try:
        for split in args.splits:
            pictures = load_pictures(args.data_root, args.dataset, split)
            for name, baseline in BASELINES.items():
                found = score(pictures, baseline, args.seed)
                table.add_row([split, name, *(f'{found[column]:.2f}' for column in COLUMNS)])
    except (ValueError, OSError) as error:
        raise SystemExit(f'Error: {error}') from None
    print(table)


if __name__ == '__main__':
    main()
