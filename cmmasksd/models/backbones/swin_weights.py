"""Published weights of the Swin Transformer, under LanguageAwareSwin's names."""

from __future__ import annotations

import re

from mmengine.logging import print_log
from torch import nn

from cmmasksd.checkpoints import load_checkpoint_file
from cmmasksd.checkpoints.state_dicts import compare

# names of Microsoft's code, which LAVT has too, and ours; merging stands before the next stage here
NAMES = {
    r'patch_embed\.proj\.': 'patch_embed.',
    r'patch_embed\.norm\.': 'patch_norm.',
    r'(layers\.\d+\.blocks\.\d+\.mlp\.)fc1\.': r'\g<1>0.',
    r'(layers\.\d+\.blocks\.\d+\.mlp\.)fc2\.': r'\g<1>3.',
}
MERGE = re.compile(r'layers\.(\d+)\.downsample\.')
LEFT_OUT = re.compile(r'(?:norm|head)\.|.*\.attn_mask$')  # of the classifier, and what depends on the input's size
# what reads the sentence, which Swin has not, and indices that are made with the windows
READS = re.compile(r'\.(?:fusion|gate)\.|^stages\.\d\.norm\.|relative_position_index$')


def rename_swin(name: str) -> str | None:
    """A name of Swin's published weights as LanguageAwareSwin's; None for what it has not."""
    if LEFT_OUT.match(name):
        return None
    for pattern, target in NAMES.items():
        name = re.sub('^' + pattern, target, name)
    name = MERGE.sub(lambda found: f'stages.{int(found[1]) + 1}.merge.', name)
    return re.sub(r'^layers\.', 'stages.', name)


def load_swin(backbone: nn.Module, path: str) -> None:
    """Loads weights of image classification; what reads the sentence stays as it is.

    Raises:
        ValueError: they are those of another Swin Transformer; names a tensor that does not fit.
    """
    content = load_checkpoint_file(path)
    given = content.get('state_dict', content)
    renamed = {target: tensor for name, tensor in given.items() if (target := rename_swin(name)) is not None}
    weights = {name: tensor for name, tensor in renamed.items() if not name.endswith('relative_position_index')}
    own = {name: tensor for name, tensor in backbone.state_dict().items() if not READS.search(name)}
    faults = compare({name: tensor.shape for name, tensor in own.items()}, weights)
    if faults:
        raise ValueError(
            f"pretrained='{path}' does not hold the weights of this Swin Transformer: {faults}. Give the weights of "
            'its size and windows, such as swin_base_patch4_window12_384_22k.pth for base with windows of 12.'
        )
    backbone.load_state_dict(weights, strict=False)
    print_log(f"LanguageAwareSwin: loaded the weights '{path}'.", logger='current')
