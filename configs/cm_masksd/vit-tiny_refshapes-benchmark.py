# A small model trained from nothing on RefShapes' benchmark, docs/refshapes.md. Patches of 8 pixels for edges; pictures
# with all of their sentences, so that a batch of 8 has 32; Dice beside the paper's loss, for small objects; branches
# once there is something to distil.
_base_ = './vit-tiny_refshapes.py'

architecture = dict(vision_cfg=dict(image_size=96, patch_size=8))
model = dict(
    backbone=dict(architecture=architecture, image_size=(96, 96)),
    text_encoder=dict(architecture=architecture),
    decode_head=dict(loss_decode=[dict(type='torch.BCEWithLogitsLoss'), dict(type='DiceLoss')]),
)
del architecture
for loader in (_base_.train_dataloader, _base_.val_dataloader, _base_.test_dataloader):
    loader.dataset.dataset = 'refshapes-benchmark'
    loader.dataset.pipeline[3].size = (96, 96)
    loader.dataset.pipeline[4].token_length = 32
for loader in (_base_.val_dataloader, _base_.test_dataloader):
    loader.dataset.all_objects = True  # Loc, which of all objects a mask lies on, stands beside mIoU
del loader
_base_.train_dataloader.dataset.by_image = True
_base_.train_dataloader.dataset.pipeline[1].mode = 'all'
train_dataloader = dict(batch_size=8)
_base_.val_evaluator.localisation = _base_.test_evaluator.localisation = True
_base_.test_cfg.splits = ['val', 'testA', 'testB', 'testC', 'testD']
optim_wrapper = dict(optimizer=dict(lr=8e-4))
custom_hooks = [*_base_.custom_hooks, dict(type='LateDistillationHook', begin=0.6)]
auto_scale_lr = dict(base_batch_size=8)
