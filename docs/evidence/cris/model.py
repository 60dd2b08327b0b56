# CRIS with a small ResNet: the controls' data and steps, CRIS's neck on its own levels, its decoder.
_base_ = '../controls/model.py'

architecture = dict(
    _delete_=True,
    embed_dim=96,
    quick_gelu=True,
    vision_cfg=dict(image_size=128, layers=[1, 1, 1, 1], width=16),
    text_cfg=dict(context_length=77, vocab_size=49408, layers=2, width=96, heads=3),
)
model = dict(
    backbone=dict(_delete_=True, type='OpenCLIPResNet', architecture=architecture, image_size=(128, 128)),
    text_encoder=dict(architecture=architecture),
    neck=dict(in_channels=(128, 256, 96), scale_levels=False),
)
del architecture
