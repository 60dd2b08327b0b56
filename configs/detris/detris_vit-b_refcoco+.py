_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/schedules/detris_65e.py',
    '../_base_/datasets/refcoco+.py',
    '../_base_/models/detris_vit-b-14.py',
]
for loader in (_base_.train_dataloader, _base_.val_dataloader, _base_.test_dataloader):
    loader.dataset.pipeline[3].size = (448, 448)
del loader
train_dataloader = dict(batch_size=4)  # 8 GPUs
