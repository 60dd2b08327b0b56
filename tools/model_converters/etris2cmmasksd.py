"""Gives ETRIS's released weights our names: python tools/model_converters/etris2cmmasksd.py SRC DST

The result is a checkpoint of configs/etris/etris_r50_refcoco.py and its like, by the tower that it was trained with:

python tools/test.py configs/etris/etris_r50_refcoco.py DST
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from cris2cmmasksd import NAMES as CRIS
from renaming import convert_file, parser_of, rename
from torch import Tensor

BRIDGE = {
    r'bridger\.zoom_in\.(\d)': r'bridge.crossings.\1.narrow_image',
    r'bridger\.zoom_out\.(\d)': r'bridge.crossings.\1.widen_image',
    r'bridger\.linear1\.(\d)': r'bridge.crossings.\1.narrow_text',
    r'bridger\.linear2\.(\d)': r'bridge.crossings.\1.widen_text',
    r'bridger\.fusion_v\.(\d)': r'bridge.crossings.\1.tell_image',
    r'bridger\.fusion_t\.(\d)': r'bridge.crossings.\1.tell_text',
}
NECK = {
    r'neck\.txt_proj': 'neck.text_projection',
    r'neck\.f3_proj': 'neck.levels.0',
    r'neck\.f4_proj': 'neck.levels.1',
    r'neck\.f5_proj': 'neck.levels.2',
    r'neck\.aggr': 'neck.aggregate',
    r'neck\.coordconv\.0\.conv1': 'neck.coordinates',
    r'neck\.coordconv\.1': 'neck.output',
}
HEAD = {pattern: target for pattern, target in CRIS.items() if target.startswith('decode_head')}
TOWERS = {pattern: target for pattern, target in CRIS.items() if pattern.startswith('backbone')}
NAMES = TOWERS | BRIDGE | NECK | HEAD
TRANSPOSED = r'(bridger\.(zoom_out\.[01]|zoom_in\.2)(\.0)?|neck\.f5_proj\.0)\.weight'


def convert(checkpoint: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renames ETRIS's state dict, or that of its checkpoint, with or without the ``module.`` prefix of a distributed
    run.

    Raises:
        ValueError: a name that ETRIS does not have.
    """
    content = checkpoint.get('state_dict', checkpoint)
    weights = {name.removeprefix('module.'): tensor for name, tensor in content.items()}
    products = not any('.fusion_v.0.linear1.' in name for name in weights)  # those of ViTs, without a transformer
    converted: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if name == 'backbone.logit_scale':  # of CLIP's contrastive training; nothing here reads it
            continue
        if norm := re.fullmatch(r'bridger\.ln_([vt])\.(\d)\.(\w+)', name):  # the first stage has none
            side = dict(v='image', t='text')[norm[1]]
            converted[f'bridge.crossings.{int(norm[2]) + 1}.{side}_norm.{norm[3]}'] = tensor
        elif products and name.startswith('bridger.fusion_'):
            own = name.replace('.multihead_attn.', '.attention.')
            converted[rename(own, NAMES, 'ETRIS')] = tensor
        else:
            converted |= convert_neck_and_head(name, tensor, NAMES, 'ETRIS')
    return converted


def convert_neck_and_head(name: str, tensor: Tensor, names: Mapping[str, str], method: str) -> dict[str, Tensor]:
    """A parameter under its name or names here; DETRIS has the same neck and head."""
    if gate := re.fullmatch(r'neck\.fusion([345])\.multihead_attn\.(.+)', name):
        return dict(_gate(int(gate[1]) - 3, gate[2], tensor))
    target = rename(name, names, method)
    if target.endswith('mix.weight'):  # a 1x1 convolution is a linear layer
        tensor = tensor[:, :, 0, 0]
    if re.fullmatch(TRANSPOSED, name) and tensor.shape[2:] == (1, 1):  # a 1x1 transposed convolution is a convolution
        tensor = tensor.transpose(0, 1)
    return {target: tensor}


def _gate(level: int, rest: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """An attention to one key gives its value, whatever queries and keys are: these are left out."""
    if rest.startswith('in_proj_'):
        yield f'neck.gates.{level}.0.{rest.removeprefix("in_proj_")}', tensor.chunk(3)[2]
    else:
        yield rest.replace('out_proj', f'neck.gates.{level}.1'), tensor


def main() -> None:
    convert_file(parser_of(__doc__, "ETRIS's checkpoint (best_model.pth)").parse_args(), convert)


if __name__ == '__main__':
    main()
