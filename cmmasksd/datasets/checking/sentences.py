"""Looks at sentences as a tokenizer (CLIP's) reads them: nothing left, cut, said twice, said of two objects."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from cmmasksd.datasets.checking.annotations import CheckedRef, CheckedSet, name_some
from cmmasksd.datasets.checking.report import Kind, Report
from cmmasksd.datasets.transforms.tokenizers import Tokenizer, get_tokenizer

NO_TOKENS = Kind('no-tokens', 'error', 'sentences of which the tokenizer leaves nothing')
AMBIGUOUS = Kind('ambiguous-sentence', 'warning', 'sentences that are said of several objects of one picture')
REPEATED = Kind('repeated-sentence', 'info', 'refs that say the same sentence twice')
_MAX_SHOWN = 80  # characters
_WHOLE = 10**6  # tokens: nothing is cut

Tokens = tuple[int, ...]


def check_sentences(
    checked: CheckedSet,
    sentence_field: str,
    token_lengths: Sequence[int],
    report: Report,
    tokenizer: Tokenizer | None = None,
) -> None:
    """Tokenizes every sentence once.

    Two sentences are the same if their tokens are: case and spaces tell the model nothing.

    Args:
        checked: the set.
        sentence_field: ``sent`` or ``raw``, whichever is to be trained on.
        token_lengths: L of the models in question, SOT and EOT included; longer sentences are cut to it.
        report: gets what is found.
        tokenizer: the models' own; None: CLIP's.
    """
    tokenizer = tokenizer or get_tokenizer()
    encode = lru_cache(maxsize=2**16)(lambda text: _words(text, tokenizer))
    cuts = [
        (length, Kind(f'cut-at-{length}', 'info', f'sentences that are cut to {length} tokens'))
        for length in token_lengths
    ]
    said: dict[tuple[int, Tokens], list[CheckedRef]] = {}
    for ref in checked.refs:
        tokens_of_ref: set[Tokens] = set()
        for sentence in ref.sentences:
            text = getattr(sentence, sentence_field)
            place, ids = f'{checked.refs_path}, ref {ref.ref_id}', dict(ref_id=ref.ref_id, sent_id=sentence.sent_id)
            tokens = encode(text)
            if not tokens:
                message = (
                    f'{tokenizer.name} leaves nothing of sentence {sentence.sent_id}, {_show(text)}; '
                    'leave it out or write it anew'
                )
                report.add(NO_TOKENS, place, message, **ids)
                continue
            for length, kind in cuts:
                count = len(tokens) + tokenizer.special_tokens
                if count > length:
                    report.add(kind, place, f'sentence {sentence.sent_id} has {count} tokens: {_show(text)}', **ids)
            if tokens in tokens_of_ref:
                report.add(
                    REPEATED,
                    place,
                    f'sentence {sentence.sent_id} says again what another one says: {_show(text)}',
                    **ids,
                )
            else:
                said.setdefault((ref.image_id, tokens), []).append(ref)
            tokens_of_ref.add(tokens)
    _report_ambiguous(said, checked, report, tokenizer)


def _words(text: str, tokenizer: Tokenizer) -> Tokens:
    ids, words, _ = tokenizer.encode(text, _WHOLE)
    return tuple(each for each, is_word in zip(ids, words) if is_word)


def _report_ambiguous(
    said: dict[tuple[int, Tokens], list[CheckedRef]], checked: CheckedSet, report: Report, tokenizer: Tokenizer
) -> None:
    """Refs that share an annotation mean the same object, so they may say the same."""
    for (image_id, tokens), refs in said.items():
        if len({ref.ann_id for ref in refs}) > 1:
            named = name_some([ref.ref_id for ref in refs])
            quoted = _show(tokenizer.decode(tokens).strip())
            message = f'{quoted} is said of different objects, by refs {named}; no model can tell them apart'
            report.add(AMBIGUOUS, f'{checked.refs_path}, image {image_id}', message, image_id=image_id)


def _show(text: str) -> str:
    return repr(text if len(text) <= _MAX_SHOWN else f'{text[:_MAX_SHOWN]}...')
