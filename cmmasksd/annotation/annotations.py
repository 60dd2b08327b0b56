"""What annotators made of a task: masks and what they mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmmasksd.annotation.brush import decode_brush
from cmmasksd.annotation.labelling import SENTENCE_FIELDS, LabellingError, listed_texts, texts_of
from cmmasksd.datasets.refer.fields import check_image_size

ORIGINS = {'prediction': 'accepted', 'prediction-changed': 'corrected', 'manual': 'drawn'}
Masks = dict[tuple[str, ...], NDArray[np.bool_]]  # (height, width) by the sentences that mean it


@dataclass
class Counts:
    """What became of an export.

    Attributes:
        rows: of the table.
        tasks: with rows.
        unlabelled: tasks without an annotation, or with skipped ones only.
        several: tasks with more than one annotation, of which one was taken.
        regions: masks by how they came about: accepted, corrected, drawn.
        other: results that are no masks, by type.
    """

    rows: int = 0
    tasks: int = 0
    unlabelled: int = 0
    several: int = 0
    regions: dict[str, int] = field(default_factory=dict)
    other: dict[str, int] = field(default_factory=dict)


def read_masks(task: Mapping[str, Any], counts: Counts) -> Masks:
    """The masks of a task's annotation; regions of one sentence are one mask.

    Of several annotations the ground truth is taken, or else the one that was changed last.

    Raises:
        LabellingError: a mask that is malformed, empty, turned or without a sentence.
        ReferError: a picture of no size.
    """
    annotation = _choose(task['annotations'], counts)
    results = annotation.get('result') if annotation else []
    if not isinstance(results, list) or not all(isinstance(each, dict) for each in results):
        raise LabellingError('its annotation has no list of results')
    masks: Masks = {}
    for region in _brush_regions(results, counts):
        sentences, mask = _sentences_of(region, results, task['data']), _mask_of(region)
        if any(each.shape != mask.shape for each in masks.values()):
            raise LabellingError('its masks have different sizes')
        masks[sentences] = masks[sentences] | mask if sentences in masks else mask
    for sentences, mask in masks.items():
        if not mask.any():
            raise LabellingError(f'the mask of "{sentences[0]:.60}" is empty: paint it or delete the region')
    return masks


def _choose(annotations: Any, counts: Counts) -> dict[str, Any] | None:
    if not isinstance(annotations, list) or not all(isinstance(each, dict) for each in annotations):
        raise LabellingError('its annotations must be exported in full: export as JSON')
    made = [each for each in annotations if not each.get('was_cancelled')]
    counts.unlabelled += not made
    counts.several += len(made) > 1
    return max(made, key=lambda each: (bool(each.get('ground_truth')), str(each.get('updated_at', ''))), default=None)


def _brush_regions(results: list[dict[str, Any]], counts: Counts) -> Iterator[dict[str, Any]]:
    for result in results:
        kind, value = str(result.get('type')), result.get('value')
        if kind == 'brushlabels' and isinstance(value, dict) and 'rle' in value:
            how = ORIGINS.get(str(result.get('origin', 'manual')), 'drawn')
            counts.regions[how] = counts.regions.get(how, 0) + 1
            yield result
        elif kind != 'textarea':
            counts.other[kind] = counts.other.get(kind, 0) + 1


def _mask_of(region: dict[str, Any]) -> NDArray[np.bool_]:
    height, width = region.get('original_height'), region.get('original_width')
    check_image_size(height, width)
    if region.get('image_rotation'):
        raise LabellingError('its picture was turned in the editor: turn it back and submit it again')
    assert isinstance(height, int) and isinstance(width, int)
    try:
        return decode_brush(region['value']['rle'], height, width)
    except ValueError as error:
        raise LabellingError(f'region {region.get("id")}: {error}') from None


def _sentences_of(region: dict[str, Any], results: list[dict[str, Any]], data: Mapping[str, Any]) -> tuple[str, ...]:
    """What a region means: its own text area, its note, its label where the task lists it, the task's one sentence, or
    the one that was typed.
    """
    areas = [each for each in results if each.get('type') == 'textarea']
    own = [text for each in areas if each.get('id') == region.get('id') for text in texts_of(each.get('value'))]
    note = texts_of(region['meta']) if isinstance(region.get('meta'), dict) and 'text' in region['meta'] else []
    labels = region['value'].get('brushlabels') or []
    listed = [label for label in labels if any(label in (listed_texts(each) or ()) for each in data.values())]
    given = [text for name in SENTENCE_FIELDS for text in listed_texts(data.get(name)) or ()]
    typed = [text for each in areas for text in texts_of(each.get('value'))]
    for texts, most in ((own, None), (note, None), (listed, None), (given, 1), (typed, 1)):
        cleaned = tuple(dict.fromkeys(text.strip() for text in texts if text.strip()))
        if cleaned and (most is None or len(cleaned) <= most):
            return cleaned
    raise LabellingError(f'region {region.get("id")} ({", ".join(map(str, labels))}) has no sentence: write it there')
