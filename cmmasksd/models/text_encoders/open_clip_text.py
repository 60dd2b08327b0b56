"""The text tower of a model of open_clip, run at the expressions' own length where it may be."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from open_clip.hf_model import HFTextEncoder
from open_clip.model import _build_text_tower
from torch import Tensor, nn

from cmmasksd.models.adapters import TextAdapter
from cmmasksd.models.open_clip_tower import Architecture, OpenCLIPTower
from cmmasksd.models.stages import Stages
from cmmasksd.models.text_encoders import clip_text_tower, hugging_face_tower
from cmmasksd.models.text_encoders.checking import check_length, check_tokenizer
from cmmasksd.models.text_encoders.transformers_models import read_config
from cmmasksd.registry import MODELS
from cmmasksd.structures import TextFeatures, TokenizedExamples


@MODELS.register_module()
class OpenCLIPTextTransformer(OpenCLIPTower):
    """A text tower of open_clip for L tokens (Eq. 1).

    CLIP's is run at L <= 77 tokens: its positions and causal mask are *sliced*, which is exact, for attention only
    looks back. Towers that look both ways (SigLIP's, CLIPA's, some MobileCLIPs') take exactly the length that they were
    trained with, padding included. The sentence is always open_clip's own ``encode_text``, before it is normalised;
    which tokens are words is told by the special ids of the tower's tokenizer (see :mod:`token_roles`), which the
    pipeline's TokenizeExpressions has to name.

    Args:
        architecture: open_clip name or config. ``ViT-B-16-quickgelu``: D_t 512, C 512; ``ViT-L-14-quickgelu``: D_t 768,
            C 768. Towers out of transformers need that package, and their config: ``text_cfg.hf_model_name`` is a name
            on the hub, or a folder with a ``config.json``.
        pretrained: see :class:`~cmmasksd.models.open_clip_tower.OpenCLIPTower`.
        activation_checkpointing: recompute each block in the backward pass.
        adapter_layers: blocks, from 0, that have adapters beside their feed-forward networks (DETRIS); see
            :class:`~cmmasksd.models.adapters.TextAdapter`.
        adapter_channels: width of the adapters.

    Attributes:
        min_tokens, max_tokens: bounds of L.

    Raises:
        ValueError: the architecture's text tower cannot be built, or pools nothing; adapters that it cannot have.
        ImportError: it needs transformers, which is not installed.
    """

    text: Any

    def __init__(
        self,
        architecture: Architecture = 'ViT-B-16-quickgelu',
        pretrained: str | None = None,
        activation_checkpointing: bool = False,
        adapter_layers: Sequence[int] = (),
        adapter_channels: int = 64,
    ) -> None:
        super().__init__(architecture, pretrained)
        self.text = self._build()
        if (reason := self._kind.prepare(self.text)) is not None:
            raise ValueError(f'The text tower of {self.name} {reason}.')
        self._kind.set_grad_checkpointing(self.text, activation_checkpointing)
        self.roles = self._kind.roles(self.text, self.config['text_cfg'])
        self.min_tokens, self.max_tokens = self._kind.token_lengths(self.text)
        self.embed_dims: int = self._kind.embed_dims(self.text)
        self.out_channels: int = self.config['embed_dim']
        self.vocab_size: int = self.text.vocab_size
        self.adapters = self._build_adapters(adapter_layers, adapter_channels)

    @property
    def _kind(self) -> ModuleType:
        return hugging_face_tower if isinstance(self.text, HFTextEncoder) else clip_text_tower

    def check_tokenizer(self, examples: TokenizedExamples) -> None:
        """Makes sure that the pipeline's tokens are those of this tower.

        Raises:
            ValueError: another length, ids that the tower has not, or special tokens where it sees words.
        """
        what = f'the text tower of {self.name}'
        check_tokenizer(examples, what, self.vocab_size, self.roles, (self.min_tokens, self.max_tokens))

    def embed_text(self, input_ids: Tensor) -> Tensor:
        """Looks up token ids (E, L): word embeddings (E, L, D_t), before positions are added.

        Raises:
            ValueError: a number of tokens that the tower does not take.
        """
        check_length(input_ids.shape[1], 'the text tower', (self.min_tokens, self.max_tokens))
        return self._kind.embed(self.text, input_ids)

    def encode_text(self, word_embeddings: Tensor, input_ids: Tensor) -> TextFeatures:
        """Encodes word embeddings (E, L, D_t), masked or not; the ids (E, L) tell words, EOT and padding apart."""
        if not self.adapters:
            return self._kind.encode(self.text, word_embeddings, input_ids, self.roles)
        return clip_text_tower.encode(self.text, word_embeddings, input_ids, self.roles, self._adapters())

    @property
    def stage_channels(self) -> tuple[int, ...]:
        """Widths of what :meth:`encode_in_stages` stops with.

        Raises:
            ValueError: the tower cannot be parted into stages.
        """
        in_transformers = 'is one of transformers'
        reason = in_transformers if self._kind is not clip_text_tower else clip_text_tower.why_no_stages(self.text)
        if reason:
            raise ValueError(f'The text tower of {self.name} {reason}: it cannot stop between stages for a bridge.')
        return (self.embed_dims,) * clip_text_tower.STAGES

    def encode_in_stages(self, word_embeddings: Tensor, input_ids: Tensor) -> Stages[TextFeatures]:
        """As :meth:`encode_text`, stopping at each third of the depth with what is there (E, L, D_t)."""
        return clip_text_tower.encode_in_stages(self.text, word_embeddings, input_ids, self.roles, self._adapters())

    def forward(self, input_ids: Tensor) -> TextFeatures:
        """``encode_text(embed_text(input_ids), input_ids)``."""
        return self.encode_text(self.embed_text(input_ids), input_ids)

    def select_weights(self, clip: dict[str, Tensor]) -> dict[str, Tensor]:
        others = ('visual.', 'logit_', 'text_decoder.')  # text_decoder: CoCa's, which writes captions
        constants = '.position_ids'  # older versions of transformers kept them
        own = {name: tensor for name, tensor in self.state_dict().items() if name.startswith('adapters.')}
        return own | {
            f'text.{name}': tensor
            for name, tensor in clip.items()
            if not name.startswith(others) and not name.endswith(constants)
        }

    def _adapters(self) -> dict[int, nn.Module]:
        return {int(place): adapter for place, adapter in self.adapters.items()}

    def _build_adapters(self, layers: Sequence[int], channels: int) -> nn.ModuleDict:
        if not layers:
            return nn.ModuleDict()
        if self._kind is not clip_text_tower or self.text.cls_emb is not None:
            raise ValueError(f'The text tower of {self.name} takes no adapters: they stand beside the blocks of CLIP.')
        depth = len(self.text.transformer.resblocks)
        if min(layers) < 0 or max(layers) >= depth:
            raise ValueError(f'adapter_layers {list(layers)} are blocks from 0 to {depth - 1}.')
        return nn.ModuleDict({str(place): TextAdapter(self.embed_dims, channels) for place in sorted(set(layers))})

    def _build(self) -> nn.Module:
        text = dict(self.config['text_cfg'], hf_model_pretrained=False)
        what = f'the text tower of {self.name}'
        if text.get('hf_model_name'):
            read_config(text['hf_model_name'], what)
        try:
            return _build_text_tower(self.config['embed_dim'], text, self.config.get('quick_gelu', False))
        except (AssertionError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f'The text tower of {self.name} cannot be built: {error}') from error
