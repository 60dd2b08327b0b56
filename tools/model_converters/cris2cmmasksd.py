"""Gives CRIS's released weights of neck, decoder and projector our names: python
tools/model_converters/cris2cmmasksd.py SRC DST

The result loads into CrossModalFPN(scale_levels=False) and VisionLanguageDecodeHead as ``neck.*`` and
``decode_head.*``; CRIS's backbone is a CLIP ResNet, which is left out.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping

import torch
from torch import Tensor

NAMES = {
    r'neck\.txt_proj': 'neck.text_projection',
    r'neck\.f1_v_proj': 'neck.project5',
    r'neck\.norm_layer': 'neck.norm5',
    r'neck\.f2_v_proj': 'neck.project4',
    r'neck\.f2_cat': 'neck.merge4',
    r'neck\.f3_v_proj': 'neck.project3',
    r'neck\.f3_cat': 'neck.merge3',
    r'neck\.f4_proj([345])': r'neck.query\1',
    r'neck\.aggr': 'neck.aggregate',
    r'neck\.coordconv\.0\.conv1': 'neck.coordinates',
    r'neck\.coordconv\.1': 'neck.output',
    r'decoder\.norm': 'decode_head.norm',
    r'decoder\.layers\.(\d+)\.self_attn_norm': r'decode_head.layers.\1.self_attention_norm',
    r'decoder\.layers\.(\d+)\.cross_attn_norm': r'decode_head.layers.\1.cross_attention_norm',
    r'decoder\.layers\.(\d+)\.self_attn': r'decode_head.layers.\1.self_attention',
    r'decoder\.layers\.(\d+)\.multihead_attn': r'decode_head.layers.\1.cross_attention',
    r'decoder\.layers\.(\d+)\.ffn': r'decode_head.layers.\1.feedforward',
    r'decoder\.layers\.(\d+)\.norm([123])': r'decode_head.layers.\1.norm\2',
    r'proj\.vis\.4': 'decode_head.projector.mix',
    r'proj\.vis\.1': 'decode_head.projector.upsample.0',
    r'proj\.vis\.3': 'decode_head.projector.upsample.1',
    r'proj\.txt': 'decode_head.projector.kernel',
}


def convert(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames CRIS's state dict, with or without the ``module.`` prefix of a distributed run.

    Raises:
        ValueError: a name that CRIS's neck, decoder and projector do not have.
    """
    converted = {}
    for name, tensor in state_dict.items():
        name = name.removeprefix('module.')
        if name.startswith('backbone.'):
            continue
        target = _rename(name)
        # a 1x1 convolution is a linear layer
        converted[target] = tensor[:, :, 0, 0] if target.endswith('mix.weight') else tensor
    return converted


def _rename(name: str) -> str:
    for pattern, target in NAMES.items():
        if re.match(pattern + r'\.', name):
            return re.sub('^' + pattern, target, name)
    raise ValueError(f"'{name}' is no parameter of CRIS's neck, decoder or projector.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', help="CRIS's checkpoint (best_model.pth)")
    parser.add_argument('destination', help='where to write the converted state dict')
    args = parser.parse_args()
    from cmmasksd.checkpoints import load_checkpoint_file

    checkpoint = load_checkpoint_file(args.source)
    converted = convert(checkpoint.get('state_dict', checkpoint))
    torch.save({'state_dict': converted}, args.destination)
    print(f'{len(converted)} tensors written to {args.destination}.')


if __name__ == '__main__':
    main()
