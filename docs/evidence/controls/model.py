# The branches' model and recipe with the quick start's towers, so that a run takes two to five minutes of one core:
# 128x128, patches of 16, 900 steps of 4 pictures.
_base_ = '../branches/model.py'

vision = dict(image_size=128, patch_size=16)
model = dict(
    backbone=dict(architecture=dict(vision_cfg=vision), image_size=(128, 128)),
    text_encoder=dict(architecture=dict(vision_cfg=vision)),
)
del vision
for loader in (_base_.train_dataloader, _base_.test_dataloader):
    loader.dataset.pipeline[3].size = (128, 128)
del loader
train_dataloader = dict(batch_size=4)
optim_wrapper = dict(optimizer=dict(lr=6e-4))
auto_scale_lr = dict(base_batch_size=4)
train_cfg = dict(max_iters=900)
default_hooks = dict(checkpoint=dict(interval=300))
