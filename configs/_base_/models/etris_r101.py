# ETRIS with CLIP's ResNet-101: joint width C 512.
_base_ = './etris_r50.py'
model = dict(
    backbone=dict(architecture='RN101-quickgelu'),
    text_encoder=dict(architecture='RN101-quickgelu'),
    neck=dict(in_channels=(512, 1024, 512), text_channels=512),
    decode_head=dict(text_channels=512),
)
