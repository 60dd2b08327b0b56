"""What an attention pooling makes of each patch by itself, for patches in the joint space.

Such a pooling (SigLIP's MAP head, CoCa's pooler) attends from a learned query to all patches. Of a sequence of one
patch it makes that patch's value, whatever the query is: there is nothing else to attend to. So the pooling is run
without its attention, which is exact, on all patches at once.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch.nn.functional as F
from open_clip.transformer import AttentionalPooler
from timm.layers import AttentionPoolLatent
from torch import Tensor, nn


def pool_each_patch(pool: AttentionPoolLatent | AttentionalPooler, patches: Tensor) -> Tensor:
    """``pool`` of every patch as a sequence of its own: (B, N, D) -> (B, N, D_out)."""
    if isinstance(pool, AttentionalPooler):
        attention = pool.attn
        same = attention.in_proj_weight is not None
        weight = attention.in_proj_weight.chunk(3)[2] if same else attention.v_proj_weight
        return attention.out_proj(F.linear(pool.ln_k(patches), weight, attention.in_proj_bias.chunk(3)[2]))
    bias = None if pool.kv.bias is None else pool.kv.bias.chunk(2)[1]
    x = pool.proj_drop(pool.proj(F.linear(patches, pool.kv.weight.chunk(2)[1], bias)))
    return x if pool.mlp is None else x + pool.mlp(pool.norm(x))


def attention_parameters(pool: AttentionPoolLatent | AttentionalPooler) -> Iterator[nn.Parameter]:
    """The parameters that the attention alone needs: without the pooled feature they have no gradient."""
    if isinstance(pool, AttentionalPooler):
        yield pool.query
        yield from pool.ln_q.parameters()
        if pool.attn.in_proj_weight is None:
            yield from (pool.attn.q_proj_weight, pool.attn.k_proj_weight)
        return
    yield pool.latent
    for part in (pool.q, pool.q_norm, pool.k_norm):
        yield from part.parameters()
