# ETRIS with a small ResNet, all of it trained, for there is no CLIP to freeze: the controls' data and steps, in
# bfloat16.
_base_ = '../choices/model.py'

architecture = dict(
    _delete_=True,
    embed_dim=96,
    quick_gelu=True,
    vision_cfg=dict(image_size=128, layers=[1, 1, 1, 1], width=16),
    text_cfg=dict(context_length=77, vocab_size=49408, layers=3, width=96, heads=3),
)
model = dict(
    backbone=dict(_delete_=True, type='OpenCLIPResNet', architecture=architecture, image_size=(128, 128)),
    text_encoder=dict(architecture=architecture),
    bridge=dict(type='StageBridge', channels=32, num_heads=4),
    neck=dict(_delete_=True, type='SentenceGatedNeck', in_channels=(128, 256, 96), text_channels=96, out_channels=64),
)
del architecture
