"""Which sentences of a ref are used, and their tokens."""

from __future__ import annotations

import logging
from functools import cache, lru_cache

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.logging import print_log

from cmmasksd.datasets.transforms.loading import name_record
from cmmasksd.datasets.transforms.tokenizers import get_tokenizer
from cmmasksd.registry import TRANSFORMS
from cmmasksd.structures import TokenizedExamples

MODES = ('random', 'all', 'first')
EXAMPLES = ('left zebra', 'the man in a red shirt who stands behind the table', 'zebra ' * 300)


@lru_cache(maxsize=2**14)
def _encode(text: str, token_length: int, tokenizer: str | None) -> tuple[tuple[int, ...], tuple[bool, ...], bool]:
    ids, words, cut = get_tokenizer(tokenizer).encode(text, token_length)
    return tuple(ids), tuple(words), cut


@cache
def _say_that_sentences_are_cut(token_length: int) -> None:
    """Runs once per process and length, being cached."""
    message = (
        f'An expression has more than {token_length} tokens and is cut to them (EOT kept, as CLIP cuts); '
        'this is said once.'
    )
    print_log(message, logger='current', level=logging.WARNING)


def tokenize(text: str, token_length: int, tokenizer: str | None = None) -> np.ndarray:
    """The tokens of an expression, special ones included, then padding; a longer one is cut and keeps its end (EOT).

    Args:
        text: the expression; the tokenizer cleans it (CLIP's makes it lower-case).
        token_length: L, special tokens included.
        tokenizer: see :class:`TokenizeExpressions`.

    Returns:
        (L,) int64.

    Raises:
        ValueError: nothing is left of the expression to read.
        TypeError: it is no string.
    """
    if not isinstance(text, str):
        raise TypeError(f'an expression must be a string, got {text!r:.80}')
    ids, words, cut = _encode(text, token_length, tokenizer)
    if not any(words):
        raise ValueError(f'the expression {text!r} is empty: give at least one word')
    if cut:
        _say_that_sentences_are_cut(token_length)
    return np.array([*ids, *[get_tokenizer(tokenizer).pad] * (token_length - len(ids))], dtype=np.int64)


@TRANSFORMS.register_module()
class SelectSentences(BaseTransform):
    """Chooses the sentences of the refs: K expressions.

    Sets ``texts`` (K strings), ``ref_ids`` and ``sent_ids`` (K,) int64, and ``mask_index`` (K,) int64: the position in
    ``refs`` of the expression's ref, and so of its mask. Expressions are in the order of the refs. Refs that are not
    drawn are taken out of ``refs``.

    Args:
        mode: ``random``: one per ref, drawn from ``results['rng']``; ``all``; ``first``: one per ref, its first (how
            CRIS scores val in training).
        max_refs: at most so many of the refs, drawn from ``results['rng']``; None: all. It bounds what a training item
            with many refs takes (``RefCOCODataset(by_image=True)``).

    Raises:
        ValueError: unknown mode, less than one ref, a ref without sentences, or a picture that is mirrored already.
    """

    def __init__(self, mode: str, max_refs: int | None = None) -> None:
        if mode not in MODES:
            raise ValueError(f'SelectSentences.mode must be one of {MODES}, got {mode!r}.')
        if max_refs is not None and max_refs < 1:
            raise ValueError(f'SelectSentences.max_refs must be at least 1, got {max_refs}.')
        self.mode = mode
        self.max_refs = max_refs

    def transform(self, results: dict) -> dict:
        """Adds ``texts``, ``ref_ids``, ``sent_ids`` and ``mask_index``."""
        if results.get('flip'):
            raise ValueError(
                f'{name_record(results)}: the picture is mirrored and its sentences would not be: put SelectSentences '
                'before the flip in the pipeline.'
            )
        if self.max_refs is not None and len(results['refs']) > self.max_refs:
            kept = results['rng'].choice(len(results['refs']), self.max_refs, replace=False)
            results['refs'] = [results['refs'][index] for index in sorted(kept)]
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
    """Tokens of ``texts``: sets ``input_ids`` (K, L) int64.

    Args:
        token_length: L; 17 in the paper, 22 on G-Ref, at most the tokenizer's bound (CLIP's 77). Text towers that look
            both ways (SigLIP's) want all of it.
        tokenizer: the text encoder's own: the name of a model of open_clip (``ViT-B-16-SigLIP2``); a folder with the
            files of a Hugging Face tokenizer, which needs no network; a name on the hub (``bert-base-uncased``); None:
            CLIP's.

    Raises:
        ValueError: a length that is no whole number within bounds, a tokenizer that cannot be read, no expression at
            all, or one without any word.
        TypeError: an expression that is no string.
        ImportError: the tokenizer needs transformers, which is not installed.
    """

    def __init__(self, token_length: int = 17, tokenizer: str | None = None) -> None:
        found = get_tokenizer(tokenizer)  # in the main process: workers that are forked later need not import it each
        fewest = found.special_tokens + 1
        if type(token_length) is not int or not fewest <= token_length <= found.context_length:
            raise ValueError(
                f'TokenizeExpressions.token_length must be a whole number from {fewest} to {found.context_length}, got '
                f'{token_length!r}.'
            )
        self.token_length = token_length
        self.tokenizer = tokenizer

    def transform(self, results: dict) -> dict:
        """Adds ``input_ids``."""
        if not len(results['texts']):
            raise ValueError(f'{name_record(results)}: there is no expression; ask for at least one.')
        try:
            ids = [tokenize(text, self.token_length, self.tokenizer) for text in results['texts']]
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f'{name_record(results)}: {error}.') from error
        results['input_ids'] = np.stack(ids)
        return results

    def examples(self) -> TokenizedExamples:
        """Short, middle and long expressions, for the text encoder's ``check_tokenizer``."""
        tokenizer, length = get_tokenizer(self.tokenizer), self.token_length
        encoded = [tokenizer.encode(text, length) for text in EXAMPLES]
        return TokenizedExamples(
            name=tokenizer.name,
            input_ids=np.array([ids + [tokenizer.pad] * (length - len(ids)) for ids, _, _ in encoded]),
            word_tokens=np.array([words + [False] * (length - len(words)) for _, words, _ in encoded]),
            vocab_size=tokenizer.vocab_size,
            model_vocab_size=tokenizer.model_vocab_size,
        )
