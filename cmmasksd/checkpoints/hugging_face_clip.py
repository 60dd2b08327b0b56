"""Hugging Face's CLIP under OpenAI's names: the same numbers, other names and three matrices in another form."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_LAYER = r'encoder\.layers\.(\d+)\.'
_OPENAI_NAMES = {
    r'text_model\.embeddings\.token_embedding\.weight': 'token_embedding.weight',
    r'text_model\.embeddings\.position_embedding\.weight': 'positional_embedding',
    rf'text_model\.{_LAYER}': r'transformer.resblocks.\1.',
    r'text_model\.final_layer_norm\.': 'ln_final.',
    r'text_projection\.weight': 'text_projection',
    r'vision_model\.embeddings\.class_embedding': 'visual.class_embedding',
    r'vision_model\.embeddings\.patch_embedding\.weight': 'visual.conv1.weight',
    r'vision_model\.embeddings\.position_embedding\.weight': 'visual.positional_embedding',
    r'vision_model\.pre_layrnorm\.': 'visual.ln_pre.',  # spelt so
    rf'vision_model\.{_LAYER}': r'visual.transformer.resblocks.\1.',
    r'vision_model\.post_layernorm\.': 'visual.ln_post.',
    r'visual_projection\.weight': 'visual.proj',
    r'logit_scale': 'logit_scale',
}
_OPENAI_PARTS = {
    '.self_attn.out_proj.': '.attn.out_proj.',
    '.layer_norm1.': '.ln_1.',
    '.layer_norm2.': '.ln_2.',
    '.mlp.fc1.': '.mlp.c_fc.',
    '.mlp.fc2.': '.mlp.c_proj.',
}
_QUERY = re.compile(r'\.self_attn\.q_proj\.(weight|bias)$')
_LEFT_OUT = re.compile(r'\.position_ids$|\.self_attn\.[kv]_proj\.(weight|bias)$')  # keys and values join the queries


def from_hugging_face(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Gives Hugging Face's CLIP OpenAI's names.

    Queries, keys and values of a layer, (D, D) each, become one matrix (3 D, D); the projections into the joint space,
    (C, D), are transposed.

    Raises:
        KeyError: a tensor that CLIP has not, or a key or value that a layer lacks; names it.
    """
    converted = {}
    for name, value in state.items():
        if _LEFT_OUT.search(name):
            continue
        if _QUERY.search(name):
            value = torch.cat([state[name.replace('.q_proj.', f'.{letter}_proj.')] for letter in 'qkv'])
        elif name.endswith('_projection.weight'):
            value = value.t()
        converted[_openai_name(name)] = value
    return converted


def _openai_name(name: str) -> str:
    inner = _QUERY.sub(r'.attn.in_proj_\1', name)
    for part, replacement in _OPENAI_PARTS.items():
        inner = inner.replace(part, replacement)
    for beginning, replacement in _OPENAI_NAMES.items():
        if re.match(beginning, inner):
            return re.sub(f'^{beginning}', replacement, inner)
    raise KeyError(name)
