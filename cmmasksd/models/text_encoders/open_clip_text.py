"""CLIP's text tower, run at the expressions' own length."""

from __future__ import annotations

import torch
from open_clip.model import _build_text_tower
from open_clip.transformer import TextTransformer
from torch import Tensor

from cmmasksd.models.layers import use_fused_attention
from cmmasksd.models.open_clip_tower import Architecture, OpenCLIPTower
from cmmasksd.registry import MODELS
from cmmasksd.structures import TextFeatures


@MODELS.register_module()
class OpenCLIPTextTransformer(OpenCLIPTower):
    """open_clip's text transformer for L <= 77 tokens (Eq. 1).

    Position embeddings and the causal mask are stored at CLIP's 77 and *sliced* to L, which is exact, for attention
    only looks back.

    Args:
        architecture: open_clip name or config. ``ViT-B-16-quickgelu``: D_t 512, C 512; ``ViT-L-14-quickgelu``: D_t 768,
            C 768.
        pretrained: see :class:`~cmmasksd.models.open_clip_tower.OpenCLIPTower`.
        activation_checkpointing: recompute each block in the backward pass.

    Raises:
        ValueError: the architecture's text tower is not CLIP's causal transformer.
    """

    def __init__(
        self,
        architecture: Architecture = 'ViT-B-16-quickgelu',
        pretrained: str | None = None,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__(architecture, pretrained)
        self.text = _build_text_tower(
            self.config['embed_dim'], self.config['text_cfg'], self.config.get('quick_gelu', False)
        )
        causal = (
            isinstance(self.text, TextTransformer) and self.text.attn_mask is not None and self.text.cls_emb is None
        )
        if not causal or self.text.pool_type != 'argmax':
            raise ValueError(
                f"The text tower of '{architecture}' is not CLIP's causal transformer; this text encoder needs one."
            )
        use_fused_attention(self.text)
        self.text.set_grad_checkpointing(activation_checkpointing)
        self.embed_dims: int = self.text.width
        self.out_channels: int = self.config['embed_dim']

    def embed_text(self, input_ids: Tensor) -> Tensor:
        """Looks up token ids (E, L): word embeddings (E, L, D_t), before positions are added.

        Raises:
            ValueError: more tokens than the tower has positions.
        """
        if input_ids.shape[1] > self.text.context_length:
            raise ValueError(
                f'{input_ids.shape[1]} tokens, but the text tower has {self.text.context_length} positions: '
                "lower the pipeline's TokenizeExpressions.token_length."
            )
        return self.text.token_embedding(input_ids)

    def encode_text(self, word_embeddings: Tensor, input_ids: Tensor) -> TextFeatures:
        """Encodes word embeddings (E, L, D_t), masked or not; the ids (E, L) tell where EOT stands (CLIP: the largest
        id).
        """
        text, length = self.text, input_ids.shape[1]
        x = word_embeddings + text.positional_embedding[:length].to(word_embeddings.dtype)
        words = text.ln_final(text.transformer(x, attn_mask=text.attn_mask[:length, :length]))  # (E, L, D_t)
        tokens = words @ text.text_projection  # (E, L, C)
        eot = input_ids.argmax(dim=1, keepdim=True)  # (E, 1)
        position = torch.arange(length, device=input_ids.device)
        return TextFeatures(
            words=words,
            tokens=tokens,
            sentence=tokens.gather(1, eot[..., None].expand(-1, -1, tokens.shape[2])).squeeze(1),
            padding=position > eot,
            word_tokens=(position > 0) & (position < eot),
        )

    def forward(self, input_ids: Tensor) -> TextFeatures:
        """``encode_text(embed_text(input_ids), input_ids)``."""
        return self.encode_text(self.embed_text(input_ids), input_ids)

    def select_weights(self, clip: dict[str, Tensor]) -> dict[str, Tensor]:
        return {f'text.{name}': tensor for name, tensor in clip.items() if not name.startswith(('visual.', 'logit_'))}
