"""Writer of REFER's files, for sets that are made and not fetched: RefShapes and one's own."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def make_ref_record(
    ref_id: int,
    annotation: Record,
    image: Record,
    split: str,
    sentences: Sequence[tuple[str, str]],
    first_sentence: int,
) -> Record:
    """A ref as REFER has it; its ``file_name`` carries REFER's extra suffix, so that a reader that opens it is found
    out.

    Args:
        ref_id: of the new ref.
        annotation: COCO's record of the object: ``id``, ``image_id`` and ``category_id`` are read.
        image: COCO's record of the picture: ``file_name`` is read.
        split: that the ref belongs to.
        sentences: (sent, raw) of each expression.
        first_sentence: id of the first of them; the others follow.
    """
    stem, suffix = image['file_name'].rsplit('.', 1)
    numbered = list(enumerate(sentences, start=first_sentence))
    return {
        'ref_id': ref_id,
        'ann_id': annotation['id'],
        'image_id': annotation['image_id'],
        'category_id': annotation['category_id'],
        'split': split,
        'file_name': f'{stem}_{annotation["id"]}.{suffix}',
        'sent_ids': [sent_id for sent_id, _ in numbered],
        'sentences': [
            {'tokens': sent.split(), 'raw': raw, 'sent': sent, 'sent_id': sent_id} for sent_id, (sent, raw) in numbered
        ],
    }


def write_refer_files(folder: Path, split_by: str, instances: Record, refs: list[Record]) -> None:
    """Writes ``instances.json`` and ``refs(<split_by>).p``, whose bytes depend on what the records hold and on nothing
    else.
    """
    (folder / 'instances.json').write_text(json.dumps(instances))
    # Through JSON and back: a pickle's bytes depend on which equal strings are one object, and that on how the records
    # were made.
    (folder / f'refs({split_by}).p').write_bytes(pickle.dumps(json.loads(json.dumps(refs)), protocol=2))


def count_records(refs: list[Record]) -> dict[str, dict[str, int]]:
    """Images, refs and sentences of each split, in order of first appearance."""
    num_refs = Counter(ref['split'] for ref in refs)
    images = Counter(split for split, _ in {(ref['split'], ref['image_id']) for ref in refs})
    sentences: Counter[str] = Counter()
    for ref in refs:
        sentences[ref['split']] += len(ref['sentences'])
    return {
        split: {'images': images[split], 'refs': number, 'sentences': sentences[split]}
        for split, number in num_refs.items()
    }
