# The quick start's model on RefShapes' benchmark, docs/refshapes.md: python -m cmmasksd.datasets.refshapes
# data/refshapes --benchmark. Finer patches, of which 20 x 20 fill a picture, and 32 tokens. Loc, which of all objects a
# mask lies on, stands beside mIoU.
_base_ = './vit-tiny_refshapes.py'

architecture = dict(vision_cfg=dict(image_size=160, patch_size=8))
model = dict(
    backbone=dict(architecture=architecture, image_size=(160, 160)), text_encoder=dict(architecture=architecture)
)
del architecture
for loader in (_base_.train_dataloader, _base_.val_dataloader, _base_.test_dataloader):
    loader.dataset.dataset = 'refshapes-benchmark'
    loader.dataset.pipeline[3].size = (160, 160)
    loader.dataset.pipeline[4].token_length = 32
for loader in (_base_.val_dataloader, _base_.test_dataloader):
    loader.dataset.all_objects = True
del loader
_base_.val_evaluator.localisation = _base_.test_evaluator.localisation = True
_base_.test_cfg.splits = ['val', 'testA', 'testB', 'testC', 'testD']
