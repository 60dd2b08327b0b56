"""Which tokens of an expression are words, and which are padding: a tower's tokenizer decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor


@dataclass(frozen=True)
class TokenRoles:
    """How the tokens of a sentence are told apart by their ids.

    Attributes:
        end: how the end of a sentence (EOT) is found: the ``largest`` id, as in CLIP; the first of some ids; or
            ``last``, the last one before the padding, as BERT's [SEP].
        prefix: special tokens at the beginning of every sentence, such as SOT or [CLS].
        starts: ids of special tokens that may stand there.
        pad: id of the padding, for ``last``.
    """

    end: Literal['largest', 'last'] | tuple[int, ...]
    prefix: int = 0
    starts: tuple[int, ...] = ()
    pad: int = 0

    def find_end(self, input_ids: Tensor) -> Tensor:
        """The place of EOT (E, 1); L where a sentence has none."""
        length = input_ids.shape[1]
        if self.end == 'largest':
            return input_ids.argmax(dim=1, keepdim=True)
        if self.end == 'last':
            position = torch.arange(length, device=input_ids.device)
            return (position * (input_ids != self.pad)).amax(dim=1, keepdim=True)
        is_end = torch.isin(input_ids, torch.tensor(self.end, device=input_ids.device))
        first = is_end.int().argmax(dim=1, keepdim=True)
        return torch.where(is_end.any(dim=1, keepdim=True), first, length)

    def find(self, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Ids (E, L) -> ``padding`` and ``word_tokens``, as in :class:`~cmmasksd.structures.TextFeatures`."""
        position = torch.arange(input_ids.shape[1], device=input_ids.device)
        end = self.find_end(input_ids)
        words = (position >= self.prefix) & (position < end)
        if self.starts:
            words &= ~torch.isin(input_ids, torch.tensor(self.starts, device=input_ids.device))
        return position > end, words


CLIP = TokenRoles(end='largest', prefix=1)
_BERT_CLS, _XLM_SOT = 101, 0


def roles_of_tower(text_cfg: Mapping[str, Any]) -> TokenRoles:
    """The roles in a text tower of open_clip's own kind, from its config.

    Without a tokenizer's name it reads CLIP's byte pairs. Towers that pool at an end of their own say which
    (``eos_id``): mT5's begin sentences with nothing, XLM's with id 0. CLIPA's read BERT's word pieces, whose [SEP] is
    turned into padding (id 0). SigLIP's read T5's or Gemma's pieces, which end with id 1.
    """
    tokenizer = str(text_cfg.get('hf_tokenizer_name') or '').lower()
    if text_cfg.get('pool_type') == 'eos':
        return TokenRoles(end=(text_cfg.get('eos_id', 2),), starts=(_XLM_SOT,) if 'xlm' in tokenizer else ())
    if not tokenizer:
        return CLIP
    return TokenRoles(end=(0,), starts=(_BERT_CLS,)) if 'bert' in tokenizer else TokenRoles(end=(1,))


def roles_of_hugging_face(config: Any) -> TokenRoles:
    """The roles in a model of transformers: all but T5's family begin with a special token ([CLS], <s>, a language);
    every sentence ends with one ([SEP], </s>).
    """
    return TokenRoles(end='last', prefix=0 if 't5' in config.model_type else 1, pad=config.pad_token_id or 0)
