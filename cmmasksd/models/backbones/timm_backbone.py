"""timm's backbones by name."""

from __future__ import annotations

from typing import Any

import timm
from mmengine.model import BaseModule
from torch import Tensor

from cmmasksd.checkpoints import load_checkpoint_file
from cmmasksd.registry import MODELS


@MODELS.register_module()
class TimmBackbone(BaseModule):
    """A model of timm that gives its feature maps (``features_only``), channels first, shallow to deep.

    Args:
        name: timm's name, such as ``resnet50.a1_in1k``.
        pretrained: False, True (timm's own weights, fetched by :meth:`init_weights`), or a file of weights under timm's
            names.
        options: of ``timm.create_model``, such as ``out_indices`` or ``img_size``.

    Raises:
        ValueError: timm has no model of that name, or it gives no feature maps.
    """

    def __init__(self, name: str, pretrained: bool | str = False, **options: Any) -> None:
        super().__init__()
        if not timm.is_model(name):
            raise ValueError(
                f"timm has no model '{name}'; timm.list_models('*part of a name*') finds those that it has."
            )
        self.name, self.pretrained, self.options = name, pretrained, options
        try:
            self.model = timm.create_model(name, features_only=True, **options)
        except (RuntimeError, AssertionError) as error:
            raise ValueError(
                f"timm's model '{name}' cannot be built with {options} for its feature maps: {error}"
            ) from error
        self.channels_last = str(getattr(self.model, 'output_fmt', '')).endswith('NHWC')

    def init_weights(self) -> None:
        """Loads the weights named by ``pretrained``; timm itself adapts them, to another size too."""
        if not self.pretrained:
            return
        overlay: dict[str, Any] = {}
        if isinstance(self.pretrained, str):
            content = load_checkpoint_file(self.pretrained)
            overlay = dict(pretrained_cfg_overlay=dict(state_dict=content.get('state_dict', content)))
        twin = timm.create_model(self.name, pretrained=True, features_only=True, **overlay, **self.options)
        self.model.load_state_dict(twin.state_dict())

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Normalised images (B, 3, H, W) -> maps (B, C_l, h_l, w_l)."""
        maps = self.model(images)
        return tuple(each.permute(0, 3, 1, 2) if self.channels_last else each for each in maps)
