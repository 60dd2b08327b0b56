"""Times the loading of annotations from REFER's own files and from their converted form: python
tools/analysis_tools/benchmark_annotations.py

Makes a set of RefCOCO's size (no pictures) in a temporary folder, converts it, and loads both forms turn about, each
time in a process of its own. Prints medians, their ratio and the peak of resident memory.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cmmasksd.datasets.refer import PUBLISHED_COUNTS
from cmmasksd.datasets.refer.files import make_ref_record, write_refer_files

NUM_ANNOTATIONS = 196_771  # of RefCOCO's instances.json
WORDS = (
    'left',
    'right',
    'man',
    'woman',
    'in',
    'the',
    'red',
    'blue',
    'shirt',
    'with',
    'front',
    'of',
    'zebra',
    'café',
    'second',
    'from',
    'chair',
)


def make_set(root: Path, scale: float, seed: int = 0) -> None:
    """Writes ``<root>/refcoco`` with ``scale`` times RefCOCO's counts, and an empty image folder."""
    rng = np.random.default_rng(seed)
    counts = {
        split: [math.ceil(scale * number) for number in numbers]
        for split, numbers in PUBLISHED_COUNTS['refcoco', 'unc'].items()
    }
    images = [_make_image(image_id) for image_id in range(1, 1 + sum(images for _, images, _ in counts.values()))]
    per_image = NUM_ANNOTATIONS / 19_994
    owners = np.arange(round(per_image * len(images))) // per_image
    annotations = [_make_annotation(ann_id, int(owner) + 1, rng) for ann_id, owner in enumerate(owners, start=1)]
    refs = list(_make_refs(counts, images, annotations, per_image, rng))
    (root / 'refcoco').mkdir(parents=True)
    (root / 'images/train2014').mkdir(parents=True)
    instances = {
        'images': images,
        'annotations': annotations,
        'categories': [{'id': 1, 'name': 'thing', 'supercategory': 'thing'}],
    }
    write_refer_files(root / 'refcoco', 'unc', instances, refs)


def _make_image(image_id: int) -> dict[str, Any]:
    name = f'COCO_train2014_{image_id:012d}.jpg'
    return {
        'license': 1,
        'file_name': name,
        'coco_url': f'http://mscoco.org/images/{image_id}',
        'height': 480,
        'width': 640,
        'id': image_id,
    }


def _make_annotation(ann_id: int, image_id: int, rng: np.random.Generator) -> dict[str, Any]:
    """Star-shaped polygons: mostly one part of some 40 points, as COCO has, now and then two or three."""
    parts = []
    for _ in range(rng.choice([1, 2, 3], p=[0.85, 0.1, 0.05])):
        number = int(np.clip(rng.lognormal(3.3, 0.7), 4, 400))
        angles, radii = np.sort(rng.random(number)) * 2 * np.pi, 30 + 60 * rng.random(number)
        centre = rng.uniform((100, 100), (540, 380))
        parts.append(
            (centre + radii[:, None] * np.stack((np.cos(angles), np.sin(angles)), 1)).round(2).ravel().tolist()
        )
    numbers = {'area': round(float(rng.uniform(100, 90_000)), 3), 'bbox': rng.uniform(0, 300, 4).round(2).tolist()}
    return {'segmentation': parts, **numbers, 'iscrowd': 0, 'image_id': image_id, 'category_id': 1, 'id': ann_id}


def _make_refs(
    counts: dict[str, list[int]], images: list, annotations: list, per_image: float, rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    ref_id = next_sentence = first_image = 0
    for split, (num_refs, num_images, num_sentences) in counts.items():
        for index, owned in enumerate(np.diff(np.linspace(0, num_sentences, num_refs + 1).astype(int))):
            image_index = first_image + index % num_images
            annotation = annotations[math.ceil(image_index * per_image) + index // num_images]
            sentences = [
                (text, text.title())
                for text in (' '.join(rng.choice(WORDS, rng.integers(1, 7))) for _ in range(max(1, owned)))
            ]
            yield make_ref_record(ref_id, annotation, images[image_index], split, sentences, next_sentence)
            ref_id, next_sentence = ref_id + 1, next_sentence + len(sentences)
        first_image += num_images


def load(root: str, what: str) -> dict[str, float]:
    """Loads in this process; seconds without imports, and MiB: the process's peak, and what it held before."""
    from cmmasksd.datasets import RefCOCODataset
    from cmmasksd.datasets.refer import load_refer

    before, start = _memory('VmRSS'), time.perf_counter()
    records = load_refer(root, 'refcoco', 'unc').refs if what == 'load_refer' else RefCOCODataset(root, split='train')
    seconds = time.perf_counter() - start
    return {'seconds': seconds, 'peak': _memory('VmHWM'), 'before': before, 'records': len(records)}


def _memory(field: str) -> float:
    """MiB; the peak of getrusage would be that of the process that started this one, if larger."""
    return int(re.search(rf'{field}:\s+(\d+)', Path('/proc/self/status').read_text()).group(1)) / 1024


def measure(plain: Path, converted: Path, repeats: int) -> dict[str, dict[str, list[dict[str, float]]]]:
    """Both forms turn about, each load in a process of its own."""
    results: dict[str, dict[str, list]] = {}
    for what in ('load_refer', 'RefCOCODataset'):
        results[what] = {'plain': [], 'converted': []}
        for _ in range(repeats):
            for form, root in (('plain', plain), ('converted', converted)):
                command = [sys.executable, __file__, '--load', str(root), '--what', what]
                results[what][form].append(
                    json.loads(
                        subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
                    )
                )
    return results


def report(results: dict[str, dict[str, list[dict[str, float]]]]) -> None:
    for what, forms in results.items():
        assert len({run['records'] for runs in forms.values() for run in runs}) == 1
        medians = {form: statistics.median(run['seconds'] for run in runs) for form, runs in forms.items()}
        for form, runs in forms.items():
            seconds = [run['seconds'] for run in runs]
            peak, before = (statistics.median(run[key] for run in runs) for key in ('peak', 'before'))
            print(
                f'{what:15} {form:10} {medians[form]:6.2f} s ({min(seconds):.2f} to {max(seconds):.2f}), '
                f'peak {peak:5.0f} MiB, {peak - before:5.0f} of it loading'
            )
        print(f'{what:15} converted is {medians["plain"] / medians["converted"]:.1f} times as fast')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--scale', type=float, default=1.0, help="of RefCOCO's counts (default: %(default)s)")
    parser.add_argument('--repeats', type=int, default=3, help='loads of each form (default: %(default)s)')
    parser.add_argument(
        '--load', metavar='ROOT', help='load this folder once, print what it took as JSON, and do nothing else'
    )
    parser.add_argument(
        '--what',
        choices=['load_refer', 'RefCOCODataset'],
        default='load_refer',
        help='what --load loads (default: %(default)s)',
    )
    args = parser.parse_args()
    if args.load:
        print(json.dumps(load(args.load, args.what)))
        return
    from cmmasksd.datasets.refer.converted.converting import convert_refer

    with tempfile.TemporaryDirectory() as name:
        plain, converted = Path(name, 'plain'), Path(name, 'converted')
        make_set(plain, args.scale)
        for folder in ('refcoco', 'images/train2014'):
            (converted / folder).mkdir(parents=True)
        for path in (plain / 'refcoco').iterdir():
            os.link(path, converted / 'refcoco' / path.name)
            print(f'{path.name}: {path.stat().st_size / 2**20:.1f} MiB')
        path = convert_refer(converted, 'refcoco', 'unc')
        print(f'{path.name}: {path.stat().st_size / 2**20:.1f} MiB', flush=True)
        report(measure(plain, converted, args.repeats))


if __name__ == '__main__':
    main()
