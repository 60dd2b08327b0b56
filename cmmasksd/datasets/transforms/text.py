"""Which sentences of a ref are used, and their CLIP tokens."""

from __future__ import annotations

import logging
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np
import regex as re
from mmcv.transforms import BaseTransform
from mmengine.logging import print_log

from cmmasksd.datasets.transforms.loading import name_record
from cmmasksd.registry import TRANSFORMS

if TYPE_CHECKING:
    from open_clip.tokenizer import SimpleTokenizer

MODES = ('random', 'all', 'first')
CLIP_CONTEXT_LENGTH = 77


@cache
def clip_tokenizer() -> SimpleTokenizer:
    """CLIP's byte-pair tokenizer, to which ``<start_of_text>`` and ``<end_of_text>`` are characters like any others: a
    sentence that holds them would end there.

    Imported at first use: open_clip takes seconds to import, and readers of this package need not pay them.
    """
    from open_clip.tokenizer import SimpleTokenizer

    tokenizer = SimpleTokenizer()
    special = '|'.join(tokenizer.decoder[token] for token in tokenizer.all_special_ids)
    tokenizer.pat = re.compile(tokenizer.pat.pattern.removeprefix(f'{special}|'), re.IGNORECASE)
    return tokenizer


@lru_cache(maxsize=2**14)
def _encode(text: str) -> tuple[int, ...]:
    return tuple(clip_tokenizer().encode(text))


@cache
def _say_that_sentences_are_cut(token_length: int) -> None:
    """Runs once per process and length, being cached."""
    message = (
        f'An expression has more than {token_length} tokens and is cut to them (EOT kept, as CLIP cuts); '
        'this is said once.'
    )
    print_log(message, logger='current', level=logging.WARNING)


def tokenize(text: str, token_length: int) -> np.ndarray:
    """CLIP's tokens of an expression: SOT, word tokens, EOT, then zeros; a longer one is cut and keeps EOT in the last
    slot, as in CRIS.

    Args:
        text: the expression; CLIP cleans it and makes it lower-case.
        token_length: L, SOT and EOT included.

    Returns:
        (L,) int64.

    Raises:
        ValueError: nothing is left of the expression to read.
        TypeError: it is no string.
    """
    if not isinstance(text, str):
        raise TypeError(f'an expression must be a string, got {text!r:.80}')
    words = _encode(text)
    if not words:
        raise ValueError(f'the expression {text!r} is empty: give at least one word')
    if len(words) > token_length - 2:
        _say_that_sentences_are_cut(token_length)
        words = words[: token_length - 2]
    ids = np.zeros(token_length, dtype=np.int64)
    tokenizer = clip_tokenizer()
    ids[: len(words) + 2] = tokenizer.sot_token_id, *words, tokenizer.eot_token_id
    return ids


@TRANSFORMS.register_module()
class SelectSentences(BaseTransform):
    """Chooses the sentences of the refs: K expressions.

    Sets ``texts`` (K strings), ``ref_ids`` and ``sent_ids`` (K,) int64, and ``mask_index`` (K,) int64: the position in
    ``refs`` of the expression's ref, and so of its mask. Expressions are in the order of the refs.

    Args:
        mode: ``random``: one per ref, drawn from ``results['rng']``; ``all``; ``first``: one per ref, its first (how
            CRIS scores val in training).

    Raises:
        ValueError: unknown mode, or a ref without sentences.
    """

    def __init__(self, mode: str) -> None:
        if mode not in MODES:
            raise ValueError(f'SelectSentences.mode must be one of {MODES}, got {mode!r}.')
        self.mode = mode

    def transform(self, results: dict) -> dict:
        """Adds ``texts``, ``ref_ids``, ``sent_ids`` and ``mask_index``."""
        chosen = [
            (index, ref, number) for index, ref in enumerate(results['refs']) for number in self._choose(ref, results)
        ]
        results['texts'] = [ref['sentences'][number] for _, ref, number in chosen]
        results['ref_ids'] = np.array([ref['ref_id'] for _, ref, _ in chosen], dtype=np.int64)
        results['sent_ids'] = np.array([ref['sent_ids'][number] for _, ref, number in chosen], dtype=np.int64)
        results['mask_index'] = np.array([index for index, _, _ in chosen], dtype=np.int64)
        return results

    def _choose(self, ref: dict, results: dict) -> range | list[int]:
        count = len(ref['sentences'])
        if not count:
            raise ValueError(f'{name_record(results)}: ref {ref["ref_id"]} has no sentence; mend or remove it.')
        if self.mode == 'all':
            return range(count)
        return [0 if self.mode == 'first' else int(results['rng'].integers(count))]


@TRANSFORMS.register_module()
class TokenizeExpressions(BaseTransform):
    """CLIP's tokens of ``texts``: sets ``input_ids`` (K, L) int64.

    Args:
        token_length: L; 17 in the paper, 22 on G-Ref, at most CLIP's 77.

    Raises:
        ValueError: a length that is no whole number within bounds, no expression at all, or one without any word.
        TypeError: an expression that is no string.
    """

    def __init__(self, token_length: int = 17) -> None:
        if type(token_length) is not int or not 3 <= token_length <= CLIP_CONTEXT_LENGTH:
            raise ValueError(
                f'TokenizeExpressions.token_length must be a whole number from 3 to {CLIP_CONTEXT_LENGTH}, got '
                f'{token_length!r}.'
            )
        self.token_length = token_length
        clip_tokenizer()  # in the main process: workers that are forked later need not import open_clip each

    def transform(self, results: dict) -> dict:
        """Adds ``input_ids``."""
        if not len(results['texts']):
            raise ValueError(f'{name_record(results)}: there is no expression; ask for at least one.')
        try:
            results['input_ids'] = np.stack([tokenize(text, self.token_length) for text in results['texts']])
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f'{name_record(results)}: {error}.') from error
        return results
