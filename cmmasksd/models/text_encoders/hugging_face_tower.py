"""open_clip's text towers out of transformers: RoBERTa, XLM-RoBERTa, mT5, NLLB."""

from __future__ import annotations

from typing import Any

from open_clip.hf_model import ClsPooler, HFTextEncoder
from torch import Tensor

from cmmasksd.models.text_encoders.token_roles import TokenRoles, roles_of_hugging_face
from cmmasksd.models.text_encoders.transformers_models import (
    keep_all_layers,
    most_tokens,
    recompute_layers,
    run_encoder,
)
from cmmasksd.structures import TextFeatures


def roles(text: HFTextEncoder, text_cfg: dict[str, Any]) -> TokenRoles:
    """Which tokens are words."""
    return roles_of_hugging_face(text.config)


def prepare(text: HFTextEncoder) -> str | None:
    """Leaves out what no feature needs."""
    if not hasattr(text, 'proj'):
        return "has no projection into the joint space: set text_cfg.hf_proj_type='linear'"
    keep_all_layers(text.transformer)
    if not isinstance(text.pooler, ClsPooler) and getattr(text.transformer, 'pooler', None) is not None:
        text.transformer.pooler = None
    return None


def token_lengths(text: HFTextEncoder) -> tuple[int, int]:
    """The fewest and the most tokens: padding is not attended to, so any length gives the same."""
    return 1, most_tokens(text.config)


def embed_dims(text: HFTextEncoder) -> int:
    """Width D_t."""
    return text.transformer.get_input_embeddings().embedding_dim


def embed(text: HFTextEncoder, input_ids: Tensor) -> Tensor:
    """Ids (E, L) -> word embeddings (E, L, D_t), before positions."""
    return text.transformer.get_input_embeddings()(input_ids)


def encode(text: HFTextEncoder, word_embeddings: Tensor, input_ids: Tensor, roles: TokenRoles) -> TextFeatures:
    """Word embeddings (E, L, D_t) -> features: words are the last hidden states, tokens their projection, and the
    sentence is open_clip's own ``encode_text``, before normalisation."""
    out, mask = run_encoder(text.transformer, word_embeddings, input_ids, text.config.pad_token_id)
    padding, word_tokens = roles.find(input_ids)
    return TextFeatures(
        words=out.last_hidden_state,
        tokens=text.proj(out.last_hidden_state),
        sentence=text.proj(text.pooler(out, mask)),
        padding=padding,
        word_tokens=word_tokens,
    )


def set_grad_checkpointing(text: HFTextEncoder, enable: bool) -> None:
    """Recompute each block in the backward pass."""
    if enable:
        recompute_layers(text.transformer)
