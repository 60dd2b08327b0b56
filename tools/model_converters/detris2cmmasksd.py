"""Gives DETRIS's released weights our names: python tools/model_converters/detris2cmmasksd.py SRC DST

The result is a checkpoint of configs/detris/detris_vit-b_refcoco.py or detris_vit-l_refcoco.py:

python tools/test.py configs/detris/detris_vit-b_refcoco.py DST
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from etris2cmmasksd import HEAD, NECK, convert_neck_and_head
from renaming import convert_file, parser_of, rename
from torch import Tensor

from cmmasksd.models.backbones.dinov2_weights import rename_dinov2

ADAPTER = {  # of both encoders
    r'D_fc1': 'narrow',
    r'D_fc2': 'widen',
    r'dense_branch([123])\.conv': r'dense.branch\1.0',
    r'dense_branch([123])\.bn': r'dense.branch\1.1',
    r'dense_branch([123])\.([01])\.conv': r'dense.branch\1.\2.0',
    r'dense_branch([123])\.([01])\.bn': r'dense.branch\1.\2.1',
    r'cross\.image_proj': 'image_projection',
    r'cross\.text_proj': 'text_projection',
    r'cross\.multihead_attn': 'attention',
    r'cross\.back_proj': 'answer',
}
IN_BLOCK = re.compile(r'(dinov2\.blocks|txt_backbone\.transformer\.resblocks)\.(\d+)\.adapter\.(.+)')
NAMES = {r'txt_backbone': 'text_encoder.text'} | NECK | HEAD


def convert(checkpoint: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames DETRIS's state dict, or that of its checkpoint, with or without the ``module.`` prefix of a distributed
    run.

    Raises:
        ValueError: a name that DETRIS does not have.
    """
    content = checkpoint.get('state_dict', checkpoint)
    converted: dict[str, Tensor] = {}
    trunk: dict[str, Tensor] = {}
    for name, tensor in content.items():
        name = name.removeprefix('module.')
        if name == 'txt_backbone.logit_scale':  # of CLIP's contrastive training; nothing here reads it
            continue
        if adapter := IN_BLOCK.fullmatch(name):
            side = 'backbone' if adapter[1].startswith('dinov2') else 'text_encoder'
            converted[f'{side}.adapters.{adapter[2]}.{rename(adapter[3], ADAPTER, "DETRIS")}'] = tensor
        elif name.startswith('dinov2.'):
            trunk[name.removeprefix('dinov2.')] = tensor
        else:
            converted |= convert_neck_and_head(name, tensor, NAMES, 'DETRIS')
    return converted | {f'backbone.trunk.{name}': tensor for name, tensor in rename_dinov2(trunk).items()}


def main() -> None:
    convert_file(parser_of(__doc__, "DETRIS's checkpoint (best_model.pth)").parse_args(), convert)


if __name__ == '__main__':
    main()
