# The quick start: CM-MaskSD on a small ResNet of CLIP's kind, trained from nothing on RefShapes' benchmark in minutes
# on two CPU cores. Pictures are enlarged to 192x192, as a ResNet's finest level has an eighth of that; both branches at
# the paper's setting, once there is something to distil. Masks are cut at half, not at the paper's 0.35, at which they
# came out too large.
_base_ = './vit-tiny_refshapes-benchmark.py'

architecture = dict(
    embed_dim=96,
    quick_gelu=True,
    vision_cfg=dict(image_size=192, layers=[1, 1, 1, 1], width=24),
    text_cfg=dict(context_length=77, vocab_size=49408, layers=2, width=96, heads=3),
)
model = dict(
    backbone=dict(_delete_=True, type='OpenCLIPResNet', architecture=architecture, image_size=(192, 192)),
    text_encoder=dict(_delete_=True, type='OpenCLIPTextTransformer', architecture=architecture),
    neck=dict(in_channels=(192, 384, 96), scale_levels=False),
    threshold=0.5,
)
del architecture
for loader in (_base_.train_dataloader, _base_.val_dataloader, _base_.test_dataloader):
    loader.dataset.pipeline[3].size = (192, 192)
del loader
train_cfg = dict(max_epochs=3)
custom_hooks = [hook for hook in _base_.custom_hooks if hook['type'] != 'LateDistillationHook']
custom_hooks += [dict(type='LateDistillationHook', begin=0.9)]
