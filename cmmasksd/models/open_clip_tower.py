"""What the image and the text tower share: open_clip's architecture tables and the strict loading of CLIP weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import open_clip
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor

from cmmasksd.checkpoints.clip_weights import load_clip_state_dict
from cmmasksd.checkpoints.state_dicts import POSITIONS, brief, compare

Architecture = str | dict[str, Any]


def get_architecture(architecture: Architecture) -> dict[str, Any]:
    """open_clip's model config: ``embed_dim``, ``quick_gelu``, ``vision_cfg`` and ``text_cfg``.

    Args:
        architecture: an open_clip name (``ViT-B-16-quickgelu``), or such a config itself.

    Raises:
        ValueError: open_clip has no model of that name.
    """
    if isinstance(architecture, Mapping):
        return dict(architecture)
    config = open_clip.get_model_config(architecture)
    if config is None:
        raise ValueError(
            f"open_clip has no architecture '{architecture}'; see open_clip.list_models() (OpenAI's weights need a "
            "'-quickgelu' name)."
        )
    return config


class OpenCLIPTower(BaseModule):
    """Base of the two towers of a CLIP model.

    Building a tower reads and downloads nothing. :meth:`init_weights` loads CLIP, strictly: every parameter of the
    tower, no more, no less.

    Args:
        architecture: see :func:`get_architecture`.
        pretrained: None (stay random), an open_clip tag (``openai``), or a local file: OpenAI's original archive, a
            state dict or safetensors.
    """

    def __init__(self, architecture: Architecture, pretrained: str | None = None) -> None:
        super().__init__()
        self.architecture = architecture
        self.config = get_architecture(architecture)
        self.pretrained = pretrained

    @property
    def name(self) -> str:
        """The architecture, for messages."""
        return f"'{self.architecture}'" if isinstance(self.architecture, str) else "the config's architecture"

    def init_weights(self) -> None:
        """Loads the CLIP weights named by ``pretrained``.

        Raises:
            ValueError: a tag for an architecture that has no name, weights that were trained with another activation
                (QuickGELU or not), or that do not fit the tower.
        """
        super().init_weights()
        if self.pretrained is None:
            return
        name = self.architecture if isinstance(self.architecture, str) else None
        clip = load_clip_state_dict(self.pretrained, name, bool(self.config.get('quick_gelu', False)))
        weights = self.select_weights(clip)
        own = {name: tensor.shape for name, tensor in self.state_dict().items()}
        faults = compare(own, weights, resizable=POSITIONS)
        try:
            if not faults:
                self.load_state_dict(weights, strict=True)
        except RuntimeError as error:  # position embeddings of a grid that cannot be resized
            faults = str(error).splitlines()[-1].strip()
        if faults:
            raise ValueError(
                f"The weights '{self.pretrained}' do not fit {type(self).__name__} {name or 'of the config'} "
                f'({brief(faults, 240)}); give weights of this architecture, or the architecture of these weights.'
            )
        print_log(f"{type(self).__name__}: loaded CLIP weights '{self.pretrained}'.", logger='current')

    def select_weights(self, clip: dict[str, Tensor]) -> dict[str, Tensor]:
        """Picks this tower's weights out of a whole CLIP state dict (OpenAI's names) and gives them this module's
        names.
        """
        raise NotImplementedError
