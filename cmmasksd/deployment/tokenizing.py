"""A pipeline's tokenizer as one of Hugging Face's ``tokenizers``, which needs neither torch nor open_clip."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

import numpy as np
import regex as re
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from cmmasksd.datasets.transforms import TokenizeExpressions
from cmmasksd.datasets.transforms.tokenizers import CLIPTokenizer, HuggingFaceTokenizer, clip_tokenizer, get_tokenizer

# What ftfy makes of quotes that phones write; of its other mending, which is for broken encodings, nothing is here.
QUOTES = {'‘': "'", '’': "'", '‚': "'", '‛': "'", '“': '"', '”': '"', '„': '"', '‟': '"'}
WORDS = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""  # CLIP's
SPACES = (normalizers.Replace(Regex(r'\s+'), ' '), normalizers.Strip())
PUNCTUATION = normalizers.Replace(Regex('[' + re.escape(string.punctuation) + ']'), '')
CLEANING = {  # open_clip's, by the names of its functions
    '_clean_whitespace': SPACES,
    '_clean_lower': (*SPACES, normalizers.Lowercase()),
    '_clean_canonicalize': (normalizers.Replace('_', ' '), PUNCTUATION, normalizers.Lowercase(), *SPACES),
}
EXAMPLES = (
    'left zebra',
    "The man's RED  shirt, 2nd from the right!",
    'naïve café ÅNGSTRÖM straße 東京 🦓 ½',
    'it’s the “big” one',
    '<start_of_text> </s> [SEP] <|endoftext|>',
    'a b_c-d/e (f) 12345',
    'zebra ' * 100,
)


def convert_tokenizer(step: TokenizeExpressions) -> Tokenizer:
    """The tokenizer of a pipeline's step, cut and padded to its length.

    Raises:
        ValueError: one that cannot be converted, or whose conversion gives other tokens.
    """
    own: Any = get_tokenizer(step.tokenizer)
    if isinstance(own, CLIPTokenizer):
        converted = _convert_clip()
    elif isinstance(own, HuggingFaceTokenizer):
        converted = _convert_hugging_face(own)
    else:
        raise ValueError(f"{own.name} is no tokenizer that can be exported: those are CLIP's and Hugging Face's.")
    converted.enable_truncation(step.token_length)
    converted.enable_padding(length=step.token_length, pad_id=own.pad, pad_token='')
    converted.encode_special_tokens = True
    _compare(converted, step, own.name)
    return converted


def _convert_clip() -> Tokenizer:
    clip = clip_tokenizer()
    vocabulary, merges = clip.encoder, sorted(clip.bpe_ranks, key=clip.bpe_ranks.__getitem__)
    converted = Tokenizer(models.BPE(vocabulary, merges, end_of_word_suffix='</w>'))
    quotes = [normalizers.Replace(*pair) for pair in QUOTES.items()]
    converted.normalizer = normalizers.Sequence([*quotes, normalizers.NFC(), *SPACES, normalizers.Lowercase()])
    converted.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), 'removed', invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    sot, eot = clip.decoder[clip.sot_token_id], clip.decoder[clip.eot_token_id]
    special = [(sot, clip.sot_token_id), (eot, clip.eot_token_id)]
    converted.post_processor = processors.TemplateProcessing(f'{sot} $A {eot}', special_tokens=special)
    return converted


def _convert_hugging_face(own: HuggingFaceTokenizer) -> Tokenizer:
    backend = getattr(own._tokenizer, 'backend_tokenizer', None)
    if backend is None or own._stripped is not None:
        raise ValueError(f'{own.name} runs in Python alone, or is changed by open_clip, and cannot be exported.')
    converted = Tokenizer.from_str(backend.to_str())
    cleaning = CLEANING.get(getattr(own._clean, '__name__', ''), ())
    normalizer = [converted.normalizer] if converted.normalizer else []
    converted.normalizer = normalizers.Sequence([*cleaning, *normalizer])
    return converted


def _compare(converted: Tokenizer, step: TokenizeExpressions, name: str) -> None:
    for text in EXAMPLES:
        expected = step(dict(texts=[text]))['input_ids'][0]
        found = converted.encode(text).ids
        if not np.array_equal(found, expected):
            raise ValueError(
                f'{name} gives other tokens once it is exported: of {text!r:.60} {_brief(found)} and not '
                f'{_brief(expected)}; it cannot be exported.'
            )


def _brief(ids: Sequence[int] | np.ndarray) -> str:
    return f'[{", ".join(str(each) for each in list(ids)[:10])} ...]'
