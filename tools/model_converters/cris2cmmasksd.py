"""Gives CRIS's released weights our names: python tools/model_converters/cris2cmmasksd.py SRC DST

The result is a checkpoint of configs/cris/cris_r50_refcoco.py and its like (``cris_r101_*`` for ResNet-101):

python tools/test.py configs/cris/cris_r50_refcoco.py DST

With --head-only: neck, decoder and projector alone, for CrossModalFPN(scale_levels=False) and VisionLanguageDecodeHead
on other towers.
"""

from __future__ import annotations

from collections.abc import Mapping

from renaming import convert_file, parser_of, rename
from torch import Tensor

NAMES = {
    r'backbone\.visual': 'backbone.visual',
    r'backbone': 'text_encoder.text',
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


def convert(state_dict: Mapping[str, Tensor], head_only: bool = False) -> dict[str, Tensor]:
    """Renames CRIS's state dict, with or without the ``module.`` prefix of a distributed run.

    Args:
        state_dict: CRIS's.
        head_only: leave the two towers of CLIP out.

    Raises:
        ValueError: a name that CRIS does not have.
    """
    converted = {}
    for name, tensor in state_dict.items():
        name = name.removeprefix('module.')
        if name == 'backbone.logit_scale':  # of CLIP's contrastive training; nothing here reads it
            continue
        if head_only and name.startswith('backbone.'):
            continue
        target = rename(name, NAMES, 'CRIS')
        # a 1x1 convolution is a linear layer
        converted[target] = tensor[:, :, 0, 0] if target.endswith('mix.weight') else tensor
    return converted


def main() -> None:
    parser = parser_of(__doc__, "CRIS's checkpoint (best_model.pth)")
    parser.add_argument('--head-only', action='store_true', help='leave out the two towers of CLIP')
    args = parser.parse_args()
    convert_file(args, lambda content: convert(content.get('state_dict', content), args.head_only))


if __name__ == '__main__':
    main()
