"""Brush masks, against what Label Studio's editor and converter wrote."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cmmasksd.annotation.brush import decode_brush, encode_brush
from tests.test_annotation.conftest import unpack

Vectors = dict[str, list[dict[str, Any]]]


def test_masks_are_written_byte_for_byte_as_the_converter_does(brush_masks: Vectors) -> None:
    written = [each for each in brush_masks['converter'] if each['mask'] is not None]
    assert len(written) == 3
    for each in written:
        assert encode_brush(unpack(each)) == each['rle'], each['name']
    wide = brush_masks['converter'][-1]  # longer than one run can be
    assert encode_brush(np.ones((wide['height'], wide['width']), bool)) == wide['rle']


def test_masks_of_the_converter_are_read(brush_masks: Vectors) -> None:
    for each in brush_masks['converter']:
        mask = decode_brush(each['rle'], each['height'], each['width'])
        assert (mask == (unpack(each) if each['mask'] is not None else True)).all(), each['name']


def test_masks_of_the_editor_are_read_where_they_are_more_opaque_than_not(brush_masks: Vectors) -> None:
    """Strokes have soft edges, colours of their own, and bytes that are no runs."""
    assert {each['name'] for each in brush_masks['editor']} == {'disc', 'noise', 'colour', 'large'}
    for each in brush_masks['editor']:
        mask = decode_brush(each['rle'], each['height'], each['width'])
        assert mask.shape == (each['height'], each['width']) and mask.sum() == each['inside'] > 0
        if each['alpha'] is not None:
            assert (mask.ravel() == (np.array(each['alpha']) >= 128)).all(), each['name']


@pytest.mark.parametrize('size', [(1, 1), (1, 7), (5, 1), (33, 65), (181, 400)])
@pytest.mark.parametrize('share', [0.0, 0.01, 0.5, 1.0])
def test_there_and_back(size: tuple[int, int], share: float) -> None:
    mask = np.random.default_rng(0).random(size) < share
    assert (decode_brush(encode_brush(mask), *size) == mask).all()


def test_what_is_no_mask_of_the_picture_is_refused() -> None:
    rle = encode_brush(np.eye(6, dtype=bool))
    for broken, size, message in [
        (rle, (6, 7), '144 bytes, but 6 x 7 pixels'),
        (rle[:-3], (6, 6), 'cut off'),
        (rle[:5], (6, 6), 'cut off'),
        ([], (6, 6), 'no list of bytes'),
        ([1, 256], (6, 6), 'no list of bytes'),
        (['1'], (6, 6), 'no list of bytes'),
        ('rle', (6, 6), 'no list of bytes'),
        (7, (6, 6), 'no list of bytes'),
        ([*rle[:4], rle[4] ^ 0x80, *rle[5:]], (6, 6), 'words of 24 bits'),
    ]:
        with pytest.raises(ValueError, match=message):
            decode_brush(broken, *size)


def test_a_run_beyond_the_end_is_refused() -> None:
    bits = f'{4:032b}{7:05b}' + '0011' * 4 + '1' + '00' + f'{7:04b}' + '1' * 8
    bits += '0' * (-len(bits) % 8)
    rle = [int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)]
    with pytest.raises(ValueError, match='runs over its end'):
        decode_brush(rle, 1, 1)


def test_noise_ends_in_an_error_or_a_mask() -> None:
    rng, refused = np.random.default_rng(0), 0
    head = encode_brush(np.zeros((2, 2), bool))[:7]
    for _ in range(300):
        try:
            assert decode_brush([*head, *rng.integers(0, 256, 40).tolist()], 2, 2).shape == (2, 2)
        except ValueError:
            refused += 1
    assert 0 < refused < 300
