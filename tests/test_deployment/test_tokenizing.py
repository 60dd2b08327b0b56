"""Exported tokenizers against those of the pipeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmmasksd.datasets.transforms import TokenizeExpressions
from tests import tokenizer_folders

tokenizing = pytest.importorskip('cmmasksd.deployment.tokenizing', exc_type=ImportError)
PIECES = ['left', "man's", 'RED', '2nd', 'naïve', 'straße', '東京', '🦓', '(', '...', 'it’s', '“x”', 'a_b', '½']
WORDS = st.lists(st.sampled_from([*PIECES, '<end_of_text>']), min_size=1, max_size=12)


@settings(max_examples=60)
@given(WORDS)
def test_clips_tokens_are_the_same(words: list[str]) -> None:
    step, text = TokenizeExpressions(17), ' '.join(words)
    converted = tokenizing.convert_tokenizer(step)
    assert np.array_equal(converted.encode(text).ids, step(dict(texts=[text]))['input_ids'][0])


@pytest.mark.parametrize('kind', ['bert_like', 't5_like'])
def test_tokens_of_a_folder_are_the_same(kind: str, tmp_path: Path) -> None:
    folder = getattr(tokenizer_folders, kind)(tmp_path / kind)
    step = TokenizeExpressions(12, folder)
    converted = tokenizing.convert_tokenizer(step)
    for text in ('left zebra', 'the man in a red shirt who stands behind the table ' * 3):
        assert np.array_equal(converted.encode(text).ids, step(dict(texts=[text]))['input_ids'][0])


def test_other_tokens_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizing, 'WORDS', r'\p{L}')
    with pytest.raises(ValueError, match="CLIP's tokenizer gives other tokens once it is exported: of 'left zebra'"):
        tokenizing.convert_tokenizer(TokenizeExpressions(17))
