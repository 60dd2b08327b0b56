"""Language models of Hugging Face's transformers: built from a config without weights, and run on word embeddings.

transformers is imported when such a model is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cmmasksd.checkpoints.state_dicts import brief

INSTALL = "needs Hugging Face's transformers, which is not installed: pip install 'cmmasksd[transformers]'"


def import_transformers(what: str) -> Any:
    """The package.

    Raises:
        ImportError: it is not installed; names what needs it.
    """
    try:
        import transformers
    except ImportError as error:
        raise ImportError(f'{what} {INSTALL}') from error
    return transformers


def read_config(name_or_path: str | Mapping[str, Any], what: str) -> Any:
    """The config of a model.

    Args:
        name_or_path: a folder with a ``config.json``, a name on the hub, or the config's settings with a
            ``model_type``; ``dict(model_type='bert')`` is bert-base-uncased.
        what: whose config it is, for messages.

    Raises:
        ImportError: no transformers.
        ValueError: no such folder or name, no config in it, no network to fetch it, or settings that cannot be.
    """
    transformers = import_transformers(what)
    try:
        if isinstance(name_or_path, Mapping):
            return transformers.AutoConfig.for_model(**name_or_path)
        path = str(Path(name_or_path).expanduser())
        return transformers.AutoConfig.from_pretrained(path, trust_remote_code=False)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f'{what}: {name_or_path!r} has no config of transformers that can be read ({brief(error)}). Give a folder '
            "with its config.json, a name on the Hugging Face hub where there is a network, or dict(model_type='bert', "
            '...).'
        ) from error


def build_encoder(config: Any, what: str) -> nn.Module:
    """The encoder of a config, with random weights and without what no word needs: pooler, decoder, random skips of
    layers.

    Raises:
        ValueError: no encoder of text.
    """
    transformers = import_transformers(what)
    if getattr(config, 'vocab_size', None) is None:
        raise ValueError(f"{what}: '{config.model_type}' is no model of texts: choose an encoder, such as BERT.")
    model = transformers.AutoModel.from_config(config)
    if getattr(config, 'is_encoder_decoder', False):
        model = model.get_encoder()
    if getattr(model, 'pooler', None) is not None:
        model.pooler = None
    keep_all_layers(model)
    return model


def keep_all_layers(model: nn.Module) -> None:
    """Switches off the skipping of layers at random (M2M100's ``layerdrop``), which leaves parameters without a
    gradient."""
    if getattr(model, 'layerdrop', 0):
        model.layerdrop = 0.0  # type: ignore[assignment]  # a plain number, not a module


def recompute_layers(model: Any) -> None:
    """Recomputes each layer in the backward pass."""
    # older versions know it by the second name alone
    enable = getattr(model, 'activation_checkpointing_enable', None) or model.gradient_checkpointing_enable
    enable(dict(use_reentrant=False))


def most_tokens(config: Any) -> int:
    """How many tokens a model of transformers takes; RoBERTa's family counts positions from behind the padding's id.

    Models with relative positions take any number: then it is their config's ``n_positions``, or 512.
    """
    most = getattr(config, 'max_position_embeddings', None) or getattr(config, 'n_positions', None) or 512
    return most - config.pad_token_id - 1 if 'roberta' in config.model_type else most


def run_encoder(encoder: nn.Module, word_embeddings: Tensor, input_ids: Tensor, pad: int) -> tuple[Any, Tensor]:
    """Runs it on word embeddings (E, L, D_t), before positions, without attending to padding.

    Returns:
        what transformers gives, and the attention mask (E, L), 1 at tokens that are no padding.
    """
    mask = (input_ids != pad).long()
    return encoder(inputs_embeds=word_embeddings, attention_mask=mask), mask


def mean_of_tokens(hidden: Tensor, mask: Tensor) -> Tensor:
    """The mean of a sentence's tokens: (E, L, D), (E, L) -> (E, D)."""
    weights = mask.to(hidden.dtype)[..., None]
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=torch.finfo(hidden.dtype).tiny)
