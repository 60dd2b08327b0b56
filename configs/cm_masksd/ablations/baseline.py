# Tables 2 to 5: ViT-B/16 at 480x480 on RefCOCO, without distillation.
_base_ = [
    '../../_base_/default_runtime.py',
    '../../_base_/schedules/adam_100e.py',
    '../../_base_/datasets/refcoco.py',
    '../../_base_/models/cm_masksd_vit-b-16.py',
]
for loader in (_base_.train_dataloader, _base_.val_dataloader, _base_.test_dataloader):
    loader.dataset.pipeline[3].size = (480, 480)
del loader
model = dict(backbone=dict(image_size=(480, 480)), distillation=[])
test_cfg = dict(splits=['val'], paper=dict(val={'Pr@0.5': 82.73, 'Pr@0.7': 70.82, 'Pr@0.9': 17.99, 'mIoU': 70.45}))
