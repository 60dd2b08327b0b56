"""Properties of the letterbox and of tokens, for all sizes and all texts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from open_clip.tokenizer import SimpleTokenizer

from cmmasksd.datasets.transforms import LetterboxResize
from cmmasksd.datasets.transforms.text import tokenize
from cmmasksd.structures import Letterbox

SOT, EOT = 49406, 49407
SIDES = st.one_of(st.integers(1, 12), st.integers(1, 700))
SIZES = st.tuples(SIDES, SIDES)
WORDS = ['left', 'zebra', "man's", '&amp;', '<b>', 'café', '🦓', '左', '\u200d', '\0', '\u0301', '2nd', '...', 'İ', 'ﬁ']
TEXTS = st.one_of(
    st.text(max_size=30),
    st.text(st.characters(), max_size=20),  # halves of surrogate pairs too
    st.lists(st.sampled_from(WORDS), max_size=40).map(' '.join),
)


@given(st.tuples(st.integers(1, 20_000), st.integers(1, 20_000)), SIZES)
@example((1, 20_000), (576, 576))
@example((20_000, 1), (1, 1))
def test_a_letterbox_lies_inside_and_keeps_the_shape(original: tuple[int, int], size: tuple[int, int]) -> None:
    letterbox = Letterbox.fit(original, size)
    scale = min(size[0] / original[0], size[1] / original[1])
    assert any(inner == outer for inner, outer in zip(letterbox.scaled, size))
    for inner, outer, start, length in zip(letterbox.scaled, size, letterbox.offset, original):
        assert 1 <= inner <= outer and 0 <= start and start + inner <= outer
        assert 0 <= (outer - inner - start) - start <= 1  # in the middle
        assert abs(inner - length * scale) <= 0.5 + 1e-9 * outer or inner == 1


@given(SIZES, SIZES, st.sampled_from([0, 1]), st.floats(0.0, 1.0))
def test_a_mask_comes_back_to_its_place(
    original: tuple[int, int], size: tuple[int, int], axis: int, share: float
) -> None:
    """A picture that is cut in two by an edge: the edge comes back within a pixel of the coarser of both grids."""
    mask = np.zeros((1, *original), bool)
    edge = round(share * original[axis])
    mask[(slice(None), slice(edge), slice(None)) if axis == 0 else (slice(None), slice(None), slice(edge))] = True
    results = LetterboxResize(size).transform(dict(img=np.zeros((*original, 3), np.uint8), masks=mask))
    assert results['img'].shape == (*size, 3) and results['masks'].shape == (1, *size)
    back = results['letterbox'].undo(torch.from_numpy(results['masks'])).numpy()[0]
    assert back.shape == original and 0 <= back.min() and back.max() <= 1
    lines = (back > 0.5).mean(axis=1 - axis)
    coarser = max(1, original[axis] / results['letterbox'].scaled[axis])
    assert abs(lines.sum() - edge) <= 1.5 * coarser


@given(SIZES, st.integers(0, 2**32 - 1))
def test_a_picture_that_fits_comes_back_bit_for_bit(original: tuple[int, int], seed: int) -> None:
    generator = np.random.default_rng(seed)
    side = max(original)
    mask = generator.random((2, *original)) > 0.5
    image = generator.integers(0, 256, (*original, 3), dtype=np.uint8)
    results = LetterboxResize((side, side)).transform(dict(img=image, masks=mask))
    letterbox = results['letterbox']
    assert np.array_equal(results['img'][letterbox.window], image)
    assert np.array_equal(letterbox.undo(torch.from_numpy(results['masks'])).numpy(), mask)


@pytest.fixture(scope='module')
def theirs() -> SimpleTokenizer:
    return SimpleTokenizer()


@given(TEXTS, st.integers(3, 77))
@example('zebra ' * 300, 17)
@example('', 17)
@example('&nbsp;', 22)
def test_tokens_are_open_clips_and_end_with_eot(theirs: SimpleTokenizer, text: str, token_length: int) -> None:
    expected = theirs([text], context_length=token_length)[0].numpy()
    if expected[1] == EOT:  # nothing to read
        with pytest.raises(ValueError, match='is empty: give at least one word'):
            tokenize(text, token_length)
        return
    ids = tokenize(text, token_length)
    assert ids.shape == (token_length,) and ids.dtype == np.int64
    np.testing.assert_array_equal(ids, expected)
    end = int(ids.argmax())
    assert ids[0] == SOT and ids[end] == EOT and not ids[end + 1 :].any() and (ids[1:end] < SOT).all()
