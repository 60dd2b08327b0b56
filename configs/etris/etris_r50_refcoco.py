_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/schedules/etris_50e.py',
    '../_base_/datasets/refcoco.py',
    '../_base_/models/etris_r50.py',
]
for loader in (_base_.train_dataloader, _base_.val_dataloader, _base_.test_dataloader):
    loader.dataset.pipeline[3].size = (416, 416)
del loader
train_dataloader = dict(batch_size=4)  # 8 GPUs
