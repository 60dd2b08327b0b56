"""Tokenizers by name: CLIP's byte pairs, those of open_clip's models, and Hugging Face's from a folder or the hub."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import regex as re

if TYPE_CHECKING:
    from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

CLIP_CONTEXT_LENGTH = 77
UNBOUNDED = 512  # tokens of a Hugging Face tokenizer that names no bound of its own


class Tokenizer(Protocol):
    """What TokenizeExpressions needs.

    Attributes:
        name: for messages.
        vocab_size: ids that it can give.
        model_vocab_size: word embeddings of the model that it belongs to, where that is known.
        context_length: the most tokens.
        special_tokens: how many of a sentence's tokens are no words.
        pad: the id that fills up.
    """

    name: str
    vocab_size: int
    model_vocab_size: int | None
    context_length: int
    special_tokens: int
    pad: int

    def encode(self, text: str, length: int) -> tuple[list[int], list[bool], bool]:
        """An expression's ids, at most ``length``, without padding; which of them are words; whether it was cut."""

    def decode(self, ids: Sequence[int]) -> str:
        """What word tokens say."""


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


class CLIPTokenizer:
    """CLIP's: SOT, byte pairs, EOT, then zeros; a longer expression is cut and keeps EOT in the last slot, as in CRIS.

    Args:
        context_length: the most tokens.
    """

    special_tokens = 2
    pad = 0
    model_vocab_size: int | None = None

    def __init__(self, context_length: int = CLIP_CONTEXT_LENGTH) -> None:
        tokenizer = clip_tokenizer()
        self.name, self.context_length, self.vocab_size = "CLIP's tokenizer", context_length, tokenizer.vocab_size
        self._tokenizer = tokenizer

    def encode(self, text: str, length: int) -> tuple[list[int], list[bool], bool]:
        words = self._tokenizer.encode(text)
        kept = words[: length - 2]
        ids = [self._tokenizer.sot_token_id, *kept, self._tokenizer.eot_token_id]
        return ids, [False, *[True] * len(kept), False], len(kept) < len(words)

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(ids)


class HuggingFaceTokenizer:
    """One of transformers', with open_clip's cleaning. Special tokens that are typed are characters like any others.

    Args:
        inner: open_clip's wrapper.
        name: for messages.
        model_vocab_size: see :class:`Tokenizer`.

    Raises:
        ValueError: it has no token to fill up with.
    """

    def __init__(self, inner: HFTokenizer, name: str, model_vocab_size: int | None = None) -> None:
        if inner.tokenizer_mode:
            raise ValueError(f'{name} is to run in the mode {inner.tokenizer_mode!r}, which is not known here.')
        if inner.tokenizer.pad_token_id is None:
            raise ValueError(
                f'{name} has no token of padding, so expressions of several lengths make no batch: set pad_token in '
                'its tokenizer_config.json.'
            )
        self._clean: Callable[[str], str] = inner.clean_fn
        self._tokenizer: Any = inner.tokenizer
        self._tokenizer.padding_side = self._tokenizer.truncation_side = 'right'
        self._stripped = self._tokenizer.sep_token_id if inner.strip_sep_token else None
        self.name, self.model_vocab_size = name, model_vocab_size
        self.vocab_size, self.pad = len(self._tokenizer), self._tokenizer.pad_token_id
        self.context_length = inner.context_length
        self.special_tokens = len(self._tokenizer('')['input_ids'])

    def encode(self, text: str, length: int) -> tuple[list[int], list[bool], bool]:
        text = self._take_apart(self._clean(text))
        options = dict(return_special_tokens_mask=True, split_special_tokens=True, verbose=False)
        whole = self._tokenizer(text, **options)
        cut = len(whole['input_ids']) > length
        if cut:
            whole = self._tokenizer(text, truncation=True, max_length=length, **options)
        ids = [0 if each == self._stripped else each for each in whole['input_ids']]  # open_clip's CLIPA
        return ids, [not special for special in whole['special_tokens_mask']], cut

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(ids)

    def save(self, folder: Path) -> None:
        """Writes the files that it is read from; open_clip's cleaning of text is not in them."""
        self._tokenizer.save_pretrained(str(folder))

    def _take_apart(self, text: str) -> str:
        """Spaces between the characters of special tokens, which are pieces of the vocabulary too: of ``</s>``."""
        for token in self._tokenizer.all_special_tokens:
            text = text.replace(token, f' {" ".join(token)} ')
        return text


@cache
def get_tokenizer(name: str | None = None) -> Tokenizer:
    """A tokenizer, made once per process.

    Args:
        name: a model of open_clip; a folder with a Hugging Face tokenizer (with an ``open_clip_config.json`` in it, as
            repositories of open_clip's models have one, text is cleaned as that says); a name on the hub; None: CLIP's.

    Raises:
        ValueError: neither of these, or one that cannot be fetched or read.
        ImportError: it needs transformers, which is not installed.
    """
    if name is None:
        return CLIPTokenizer()
    import open_clip

    folder = Path(name).expanduser()
    config = open_clip.get_model_config(name) if ':' not in name else None
    if config is not None:
        return _of_model(name, config['text_cfg'], name)
    if (folder / 'open_clip_config.json').is_file():
        source = f'local-dir:{folder}'
        return _of_model(source, open_clip.get_model_config(source)['text_cfg'], name)
    if not folder.is_dir() and (folder.is_absolute() or name.startswith(('.', '~'))):
        raise ValueError(f"TokenizeExpressions.tokenizer='{name}' is no folder: give the folder that holds the files.")
    return _from_hugging_face(name, lambda options: _wrap(str(folder), options))


def _of_model(source: str, text: dict[str, Any], name: str) -> Tokenizer:
    """The tokenizer of one of open_clip's models, from the hub or beside its config."""
    import open_clip

    if not text.get('hf_tokenizer_name'):
        return CLIPTokenizer(text.get('context_length', CLIP_CONTEXT_LENGTH))
    # for towers out of transformers the config says nothing of the vocabulary
    vocab_size = None if text.get('hf_model_name') else text.get('vocab_size')
    return _from_hugging_face(
        name, lambda options: open_clip.get_tokenizer(source, **options), text['hf_tokenizer_name'], vocab_size
    )


def _wrap(source: str, options: dict[str, Any]) -> HFTokenizer:
    from open_clip.tokenizer import HFTokenizer

    tokenizer = HFTokenizer(source, context_length=None, **options)
    bound = tokenizer.tokenizer.model_max_length
    tokenizer.context_length = bound if bound < 10**6 else UNBOUNDED  # transformers writes 10**30 for none
    return tokenizer


def _from_hugging_face(
    name: str,
    load: Callable[[dict[str, Any]], HFTokenizer],
    repository: str | None = None,
    model_vocab_size: int | None = None,
) -> HuggingFaceTokenizer:
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"The tokenizer '{name}' needs Hugging Face's transformers, which is not installed: pip install "
            "'cmmasksd[transformers]'"
        ) from error
    try:
        inner = load(dict(trust_remote_code=False))
    except (OSError, ValueError, TypeError, KeyError) as error:
        where = f"the hub's '{repository}'" if repository else 'a folder or the hub'
        fetch = f'run `hf download {repository} --local-dir FOLDER`' if repository else 'fetch its files'
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ValueError(
            f"The tokenizer '{name}' could not be read from {where} ({reason:.200}). Without a network, {fetch} "
            "on a machine that has one and set TokenizeExpressions.tokenizer to the folder; a model's name must be one "
            'of open_clip.list_models().'
        ) from error
    return HuggingFaceTokenizer(inner, f"the tokenizer '{name}'", model_vocab_size)
