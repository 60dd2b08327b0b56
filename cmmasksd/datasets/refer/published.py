"""How many refs, images and sentences the published sets have, split by split."""

from __future__ import annotations

# (dataset, split_by) -> split -> refs, images, sentences (None: not published in a source we can cite)
PUBLISHED_COUNTS: dict[tuple[str, str], dict[str, tuple[int, int, int | None]]] = {
    ('refcoco', 'unc'): {
        'train': (42404, 16994, 120624),
        'val': (3811, 1500, 10834),
        'testA': (1975, 750, 5657),
        'testB': (1810, 750, 5095),
    },
    ('refcoco+', 'unc'): {
        'train': (42278, 16992, 120191),  # derived: the published total of 141,564 less val, testA and testB
        'val': (3805, 1500, 10758),
        'testA': (1975, 750, 5726),
        'testB': (1798, 750, 4889),
    },
    ('refcocog', 'umd'): {'train': (42226, 21899, None), 'val': (2573, 1300, None), 'test': (5023, 2600, 9602)},
    ('refcocog', 'google'): {'train': (44822, 24698, 85474), 'val': (5000, 4650, 9536)},
}


def compare_counts(counts: dict[str, tuple[int, int, int]], dataset: str, split_by: str) -> list[str]:
    """What ``count_splits`` gave and what was published, in words, wherever they differ."""
    differences = []
    for split, published in PUBLISHED_COUNTS.get((dataset, split_by), {}).items():
        for what, number, expected in zip(
            ('refs', 'images', 'sentences'), counts.get(split, (0, 0, 0)), published, strict=True
        ):
            if expected is not None and number != expected:
                differences.append(f'{split} has {number} {what}, published are {expected}')
    return differences
