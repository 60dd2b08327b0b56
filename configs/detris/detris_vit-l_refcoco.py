_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/schedules/detris_65e.py',
    '../_base_/datasets/refcoco.py',
    '../_base_/models/detris_vit-l-14.py',
]
for loader in (_base_.train_dataloader, _base_.val_dataloader, _base_.test_dataloader):
    loader.dataset.pipeline[3].size = (448, 448)
del loader
train_dataloader = dict(batch_size=4)  # 8 GPUs
param_scheduler = [dict(type='MultiStepLR', milestones=[35], gamma=0.1)]
train_cfg = dict(max_epochs=50)
