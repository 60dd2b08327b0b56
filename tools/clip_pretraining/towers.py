"""The two towers of a config, side by side, and how they are written as open_clip writes a CLIP."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from safetensors.torch import save_file
from torch import Tensor, nn

from cmmasksd.models.backbones import OpenCLIPVisionTransformer
from cmmasksd.models.text_encoders import OpenCLIPTextTransformer
from cmmasksd.registry import MODELS

WEIGHTS, SETTINGS = 'open_clip_model.safetensors', 'open_clip_config.json'


class Towers(nn.Module):
    """Image and text tower of a config, from random weights.

    Args:
        model: the config's ``model``.
        size: (H, W) of the pictures.

    Raises:
        ValueError: the towers are no open_clip pair of one architecture.
    """

    def __init__(self, model: Config, size: tuple[int, int]) -> None:
        super().__init__()
        if model.backbone.get('architecture') is None or model.backbone.architecture != model.text_encoder.get(
            'architecture'
        ):
            raise ValueError(
                'backbone and text_encoder have no architecture in common: give a config whose towers are '
                'OpenCLIPVisionTransformer and OpenCLIPTextTransformer of one architecture'
            )
        self.image: OpenCLIPVisionTransformer = MODELS.build({**model.backbone, 'image_size': size, 'pretrained': None})
        self.text: OpenCLIPTextTransformer = MODELS.build({**model.text_encoder, 'pretrained': None})
        self.preprocess = MODELS.build(model.get('data_preprocessor') or dict(type='ReferringDataPreprocessor'))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, images: Tensor, input_ids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images (B, 3, H, W) uint8, ids (B, L) -> pooled, mean of patches, and sentences, (B, C) each, of length 1."""
        pixels = (images.float() - self.preprocess.mean) / self.preprocess.std
        visual = self.image.encode_image(self.image.embed_image(pixels))
        sentence = self.text(input_ids).sentence
        features = (visual.pooled, visual.patches.mean(dim=1), sentence)
        pooled, patches, words = (nn.functional.normalize(each, dim=1) for each in features)
        return pooled, patches, words

    def save(self, folder: Path) -> Path:
        """Writes weights and config as open_clip's models on the hub have them; returns the file of weights.

        That file is what ``pretrained`` of both towers takes, and ``open_clip.create_model('local-dir:FOLDER')`` reads
        the folder.
        """
        folder.mkdir(parents=True, exist_ok=True)
        state = {
            **self.image.state_dict(),
            **{name.removeprefix('text.'): value for name, value in self.text.state_dict().items()},
            'logit_scale': self.logit_scale.detach(),
        }
        save_file({name: value.contiguous() for name, value in state.items()}, folder / WEIGHTS)
        (folder / SETTINGS).write_text(json.dumps(self._settings(), indent=2) + '\n')
        return folder / WEIGHTS

    def _settings(self) -> dict[str, Any]:
        config = self.image.config
        vision = dict(config['vision_cfg'], image_size=self.image.image_size[0])
        mean, std = ((each.flatten() / 255).tolist() for each in (self.preprocess.mean, self.preprocess.std))
        return dict(
            model_cfg={**config, 'vision_cfg': vision, 'text_cfg': dict(config['text_cfg'])},
            preprocess_cfg=dict(mean=mean, std=std),
        )
