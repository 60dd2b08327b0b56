"""Gives LAVT's released weights our names: python tools/model_converters/lavt2cmmasksd.py SRC DST

Weights of LAVT and of LAVT-One, which has BERT inside, become a checkpoint of configs/lavt/lavt_swin-b_refcoco.py and
its like:

python tools/test.py configs/lavt/lavt_swin-b_refcoco.py DST
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from renaming import convert_file, parser_of
from torch import Tensor

from cmmasksd.models.backbones.swin_weights import rename_swin

READS = {  # of LAVT's PWAM and gates; a convolution of kernel 1 is a linear layer
    r'stages\.(\d)\.fusion\.vis_project\.0\.': r'stages.\1.fusion.image.0.',
    r'stages\.(\d)\.fusion\.project_mm\.0\.': r'stages.\1.fusion.output.0.',
    r'stages\.(\d)\.fusion\.image_lang_att\.f_(query|key|value)\.0\.': r'stages.\1.fusion.\2.',
    r'stages\.(\d)\.fusion\.image_lang_att\.W\.0\.': r'stages.\1.fusion.answer.',
    r'stages\.(\d)\.res_gate\.': r'stages.\1.gate.',
}
CLASSIFIER = re.compile(r'classifier\.(conv|bn)([12])_([1234])\.(.+)')


def convert(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Renames LAVT's checkpoint.

    Args:
        checkpoint: with LAVT's state dict as ``model`` or ``state_dict``, or itself one; BERT's as ``bert_model``
            beside it, or, of LAVT-One, inside as ``text_encoder``.

    Raises:
        ValueError: a name that LAVT does not have, or no BERT.
    """
    model = dict(checkpoint.get('state_dict') or checkpoint.get('model') or checkpoint)
    if 'bert_model' in checkpoint:
        model |= {f'text_encoder.{name}': tensor for name, tensor in checkpoint['bert_model'].items()}
    converted = {}
    for name, tensor in model.items():
        target = _rename(name.removeprefix('module.'))
        if target is not None:
            converted[target] = _reshape(target, tensor)
    if not any(name.startswith('text_encoder.') for name in converted):
        raise ValueError("there is no BERT in it, neither beside the model ('bert_model') nor inside ('text_encoder').")
    return converted


def _rename(name: str) -> str | None:
    part, _, rest = name.partition('.')
    if part == 'text_encoder':
        # the pooler is not used, and positions are counted anew
        left_out = rest.startswith('pooler.') or rest.endswith('position_ids')
        return None if left_out else f'text_encoder.encoder.{rest}'
    if part == 'backbone':
        if norm := re.fullmatch(r'norm(\d)\.(.+)', rest):
            return f'backbone.stages.{norm[1]}.norm.{norm[2]}'
        target = None if rest.startswith('layers.3.res_gate.') else rename_swin(rest)  # which nothing reads, there too
        for pattern, ours in READS.items():
            target = re.sub('^' + pattern, ours, target or '')
        return f'backbone.{target}' if target else None
    if name in ('classifier.conv1_1.weight', 'classifier.conv1_1.bias'):
        return name.replace('classifier.conv1_1', 'decode_head.classes')
    if found := CLASSIFIER.fullmatch(name):
        kind, place, level, parameter = found.groups()
        return f'neck.merges.{4 - int(level)}.{int(place) - 1}.{int(kind == "bn")}.{parameter}'
    raise ValueError(f"'{name}' is no parameter of LAVT.")


def _reshape(target: str, tensor: Tensor) -> Tensor:
    if target.endswith('relative_position_index'):
        return tensor.flatten()
    return tensor[:, :, 0] if '.fusion.' in target and tensor.dim() == 3 else tensor


def main() -> None:
    convert_file(parser_of(__doc__, "LAVT's checkpoint, such as refcoco.pth").parse_args(), convert)


if __name__ == '__main__':
    main()
