"""open_clip's own text transformer: CLIP, SigLIP, CLIPA, CoCa, MobileCLIP, worldwide models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from open_clip.transformer import TextTransformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cmmasksd.models.layers import use_fused_attention
from cmmasksd.models.stages import Stages
from cmmasksd.models.text_encoders.token_roles import TokenRoles, roles_of_tower
from cmmasksd.structures import TextFeatures

Adapters = Mapping[int, nn.Module]
NO_ADAPTERS: Adapters = MappingProxyType({})
STAGES = 3  # as many as the image encoders'


def roles(text: TextTransformer, text_cfg: dict[str, Any]) -> TokenRoles:
    """Which tokens are words."""
    return roles_of_tower(text_cfg)


def prepare(text: TextTransformer) -> str | None:
    """Switches to the fused attention; gives the reason where this tower cannot be used, else None."""
    if text.pool_type == 'none':
        return "pools nothing (pool_type='none'), so there is no feature of the whole sentence: set pool_type"
    if text.text_projection is None and text.width != text.output_dim:
        return (
            f"has no projection, and its width {text.width} is not the joint space's {text.output_dim}: set "
            "text_cfg.proj_type='linear'"
        )
    use_fused_attention(text)
    return None


def token_lengths(text: TextTransformer) -> tuple[int, int]:
    """The fewest and the most tokens that the tower can be run on with the features that it was trained to give.

    Where attention only looks back, positions and mask are *sliced* to L, which is exact. Where it looks both ways, or
    the last position is the sentence, padding is part of what the tower saw: then all positions are needed.
    """
    exact = text.attn_mask is not None and (text.pool_type != 'last' or text.cls_emb is not None)
    return (1 if exact else text.context_length), text.context_length


def embed_dims(text: TextTransformer) -> int:
    """Width D_t."""
    return text.width


def embed(text: TextTransformer, input_ids: Tensor) -> Tensor:
    """Ids (E, L) -> word embeddings (E, L, D_t), before positions."""
    return text.token_embedding(input_ids)


def encode(
    text: TextTransformer,
    word_embeddings: Tensor,
    input_ids: Tensor,
    roles: TokenRoles,
    adapters: Adapters = NO_ADAPTERS,
) -> TextFeatures:
    """Word embeddings (E, L, D_t) -> features; the sentence is open_clip's ``encode_text``, before normalisation.

    Args:
        text: the tower.
        word_embeddings: (E, L, D_t).
        input_ids: (E, L).
        roles: which tokens are words.
        adapters: beside the feed-forward networks of blocks, by their place.
    """
    if text.cls_emb is not None:
        return _finish(text, *_run_with_class_token(text, word_embeddings, input_ids), input_ids, roles)
    x, mask = _start(text, word_embeddings, input_ids)
    x = _run_blocks(text, range(len(text.transformer.resblocks)), x, mask, adapters)
    return _finish(text, text.ln_final(x), None, input_ids, roles)


def encode_in_stages(
    text: TextTransformer,
    word_embeddings: Tensor,
    input_ids: Tensor,
    roles: TokenRoles,
    adapters: Adapters = NO_ADAPTERS,
) -> Stages[TextFeatures]:
    """As :func:`encode`, of a tower that :func:`why_no_stages` has nothing against, stopping at each third of the depth
    with what is there (E, L, D_t).
    """
    depth = len(text.transformer.resblocks)
    x, mask = _start(text, word_embeddings, input_ids)
    for first in range(0, depth, depth // STAGES):
        x = _run_blocks(text, range(first, first + depth // STAGES), x, mask, adapters)
        x = x + (yield x)
    return _finish(text, text.ln_final(x), None, input_ids, roles)


def why_no_stages(text: TextTransformer) -> str | None:
    """The reason where this tower cannot be parted into stages, else None."""
    if text.cls_emb is not None:
        return 'appends a [class] token to the words'
    depth = len(text.transformer.resblocks)
    return f'has {depth} blocks, and no third of that is a whole number' if depth % STAGES else None


def _finish(
    text: TextTransformer, words: Tensor, sentence: Tensor | None, input_ids: Tensor, roles: TokenRoles
) -> TextFeatures:
    tokens = _project(text, words)  # (E, L, C)
    padding, word_tokens = roles.find(input_ids)
    sentence = _pool(text, tokens, input_ids) if sentence is None else _project(text, sentence)
    return TextFeatures(words=words, tokens=tokens, sentence=sentence, padding=padding, word_tokens=word_tokens)


def set_grad_checkpointing(text: TextTransformer, enable: bool) -> None:
    """Recompute each block in the backward pass."""
    text.set_grad_checkpointing(enable)


def _start(text: TextTransformer, word_embeddings: Tensor, input_ids: Tensor) -> tuple[Tensor, Tensor | None]:
    """The blocks' input (E, L, D_t), and where attention may look (L, L)."""
    length = input_ids.shape[1]
    x = word_embeddings + text.positional_embedding[:length].to(word_embeddings.dtype)
    return x, None if text.attn_mask is None else text.attn_mask[:length, :length]


def _run_blocks(
    text: TextTransformer, places: Sequence[int], x: Tensor, mask: Tensor | None, adapters: Adapters
) -> Tensor:
    """The blocks at these places, those with adapters beside them."""
    recompute = text.transformer.grad_checkpointing and torch.is_grad_enabled()
    for place in places:
        run = partial(_run_block, text.transformer.resblocks[place], adapters.get(place))
        x = checkpoint(run, x, mask, use_reentrant=False) if recompute else run(x, mask)
    return x


def _run_block(block: Any, adapter: nn.Module | None, x: Tensor, mask: Tensor | None) -> Tensor:
    if adapter is None:
        return block(x, attn_mask=mask)
    x = x + block.ls_1(block.attention(q_x=block.ln_1(x), attn_mask=mask))
    return x + block.ls_2(block.mlp(block.ln_2(x))) + adapter(x)


def _run_with_class_token(text: TextTransformer, word_embeddings: Tensor, input_ids: Tensor) -> tuple[Tensor, Tensor]:
    """CoCa's: words (E, L, D_t), and the sentence (E, D_t), a token that is appended to them.

    That token attends to all tokens up to the first one of padding (open_clip's mask is one place off, and the weights
    were trained so), which is why a token of padding follows the L ones. It keeps the last of all positions.
    """
    count = input_ids.shape[1]
    if count < text.context_length:
        pad = input_ids.new_full((input_ids.shape[0], 1), text.pad_id)
        input_ids = torch.cat([input_ids, pad], dim=1)
        word_embeddings = torch.cat([word_embeddings, text.token_embedding(pad).to(word_embeddings.dtype)], dim=1)
    length = input_ids.shape[1]
    token = text.cls_emb.expand(input_ids.shape[0], 1, -1).to(word_embeddings.dtype)
    positions = torch.cat([text.positional_embedding[:length], text.positional_embedding[-1:]])
    x = torch.cat([word_embeddings, token], dim=1) + positions.to(word_embeddings.dtype)
    mask = text._build_additive_mask(input_ids, length + 1, x.dtype)
    if text.attn_mask is not None:
        mask = mask + text.attn_mask[: length + 1, : length + 1]
    mask = mask.unflatten(0, (input_ids.shape[0], -1))  # (E, heads, L + 1, L + 1), as the fused attention takes it
    x = text.ln_final(text.transformer(x, attn_mask=mask))
    return x[:, :count], x[:, -1]


def _pool(text: TextTransformer, tokens: Tensor, input_ids: Tensor) -> Tensor:
    """The sentence (E, C) among the tokens (E, L, C)."""
    if text.pool_type in ('first', 'last'):
        return tokens[:, 0 if text.pool_type == 'first' else -1]
    place = input_ids.argmax(dim=1) if text.pool_type == 'argmax' else (input_ids == text.eos_id).int().argmax(dim=1)
    return tokens.gather(1, place[:, None, None].expand(-1, 1, tokens.shape[2])).squeeze(1)


def _project(text: TextTransformer, words: Tensor) -> Tensor:
    projection = text.text_projection
    if projection is None:
        return words
    return projection(words) if isinstance(projection, nn.Linear) else words @ projection
