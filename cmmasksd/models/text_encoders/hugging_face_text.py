"""BERT and its relatives by transformers: the text encoder of LAVT and of most RIS methods without CLIP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn

from cmmasksd.checkpoints.state_dicts import brief
from cmmasksd.models.text_encoders.checking import check_length, check_tokenizer
from cmmasksd.models.text_encoders.token_roles import roles_of_hugging_face
from cmmasksd.models.text_encoders.transformers_models import (
    build_encoder,
    import_transformers,
    mean_of_tokens,
    most_tokens,
    read_config,
    recompute_layers,
    run_encoder,
)
from cmmasksd.registry import MODELS
from cmmasksd.structures import TextFeatures, TokenizedExamples


@MODELS.register_module()
class HuggingFaceTextEncoder(BaseModule):
    """A language model of transformers that reads both ways: BERT, RoBERTa, DistilBERT, T5's encoder and others.

    Words are the last hidden states, as LAVT takes them (``bert_model(...)[0]``); LAVT has no sentence feature, which
    CRIS's neck and LMVSD need: here it is [CLS], projected into the joint space, or where sentences begin without one
    (T5) the mean of the tokens. Tokens are words, projected likewise. Both projections are learned; without them
    (``joint_channels=None``) sentence and tokens stay in the words' space, where LAVT's image encoder meets them. Word
    embeddings are masked before positions and token types are added; padding is not attended to.

    Args:
        name_or_path: a folder with a ``config.json``, a name on the hub such as ``bert-base-uncased``, or settings:
            ``dict(model_type='bert')`` is that model's, and needs no network.
        joint_channels: width C of the joint space; None: the words' own.
        pretrained: where :meth:`init_weights` reads the weights: a folder with safetensors, or a name on the hub; None:
            nowhere. Pickled weights are never read.
        activation_checkpointing: recompute each layer in the backward pass.

    Attributes:
        embed_dims: width of the word embeddings.
        word_channels: width D_t of the words, for the decode head.
        out_channels: C.

    Raises:
        ImportError: transformers is not installed.
        ValueError: no such config, or a model that reads one way alone (GPT).
    """

    def __init__(
        self,
        name_or_path: str | Mapping[str, Any],
        joint_channels: int | None = 512,
        pretrained: str | None = None,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.name = f"'{name_or_path}'" if isinstance(name_or_path, str) else f"'{name_or_path.get('model_type')}'"
        self.pretrained = pretrained
        self.config = read_config(name_or_path, f'HuggingFaceTextEncoder {self.name}')
        self.encoder = build_encoder(self.config, f'HuggingFaceTextEncoder {self.name}')
        self._refuse_one_way()
        if activation_checkpointing:
            recompute_layers(self.encoder)
        self.roles = roles_of_hugging_face(self.config)
        self.max_tokens = most_tokens(self.config)
        self.embed_dims: int = self.encoder.get_input_embeddings().embedding_dim
        self.word_channels: int = self.config.hidden_size
        self.vocab_size: int = self.config.vocab_size
        self.out_channels = joint_channels or self.word_channels
        self.token_projection = self._projection(joint_channels)
        self.sentence_projection = self._projection(joint_channels)

    def _projection(self, joint_channels: int | None) -> nn.Module:
        return nn.Identity() if joint_channels is None else nn.Linear(self.word_channels, joint_channels)

    def init_weights(self) -> None:
        """Loads the language model's weights named by ``pretrained``; the projections stay random.

        Raises:
            ValueError: no such folder or name, no safetensors in it, or weights of another model.
        """
        super().init_weights()
        if self.pretrained is None:
            return
        transformers = import_transformers(f'HuggingFaceTextEncoder {self.name}')
        try:
            loaded, info = transformers.AutoModel.from_pretrained(
                self.pretrained,
                config=self.config,
                use_safetensors=True,
                output_loading_info=True,
                trust_remote_code=False,
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise ValueError(
                f"pretrained='{self.pretrained}' gives no weights of {self.name} as safetensors ({brief(error)}). Give "
                'a folder with config.json and model.safetensors, or a name on the Hugging Face hub where there is a '
                'network.'
            ) from error
        source = loaded.get_encoder() if getattr(self.config, 'is_encoder_decoder', False) else loaded
        missing = [name for name in info['missing_keys'] if not name.startswith('pooler.')]
        if missing or info.get('mismatched_keys'):
            raise ValueError(
                f"The weights '{self.pretrained}' are not those of {self.name}: {len(missing)} are missing, such as "
                f'{brief(", ".join(sorted(missing)[:2]))}. Give name_or_path and pretrained of one model.'
            )
        own = self.encoder.state_dict()
        self.encoder.load_state_dict({name: value for name, value in source.state_dict().items() if name in own})
        print_log(f"HuggingFaceTextEncoder: loaded the weights '{self.pretrained}'.", logger='current')

    def check_tokenizer(self, examples: TokenizedExamples) -> None:
        """Makes sure that the pipeline's tokens are those of this model.

        Raises:
            ValueError: too many tokens, ids that it has not, or special tokens where it sees words.
        """
        bounds = (1, self.max_tokens)
        check_tokenizer(examples, f'HuggingFaceTextEncoder {self.name}', self.vocab_size, self.roles, bounds)

    def embed_text(self, input_ids: Tensor) -> Tensor:
        """Looks up token ids (E, L): word embeddings (E, L, embed_dims), before positions are added.

        Raises:
            ValueError: more tokens than the model has positions.
        """
        check_length(input_ids.shape[1], f'HuggingFaceTextEncoder {self.name}', (1, self.max_tokens))
        return self.encoder.get_input_embeddings()(input_ids)

    def encode_text(self, word_embeddings: Tensor, input_ids: Tensor) -> TextFeatures:
        """Encodes word embeddings (E, L, embed_dims), masked or not; the ids (E, L) tell words and padding apart."""
        out, mask = run_encoder(self.encoder, word_embeddings, input_ids, self.roles.pad)
        words = out.last_hidden_state  # (E, L, D_t)
        padding, word_tokens = self.roles.find(input_ids)
        whole = words[:, 0] if self.roles.prefix else mean_of_tokens(words, mask)
        return TextFeatures(
            words=words,
            tokens=self.token_projection(words),
            sentence=self.sentence_projection(whole),
            padding=padding,
            word_tokens=word_tokens,
        )

    def forward(self, input_ids: Tensor) -> TextFeatures:
        """``encode_text(embed_text(input_ids), input_ids)``."""
        return self.encode_text(self.embed_text(input_ids), input_ids)

    def _refuse_one_way(self) -> None:
        decoder = type(self.encoder).__name__.startswith(('GPT', 'Llama', 'Mistral', 'OPT', 'Bloom', 'Qwen', 'Gemma'))
        if decoder or getattr(self.config, 'is_decoder', False):
            raise ValueError(
                f'HuggingFaceTextEncoder {self.name} reads from left to right alone, so that no token holds its '
                'sentence as [CLS] does: choose an encoder, such as bert-base-uncased.'
            )
