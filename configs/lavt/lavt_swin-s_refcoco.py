_base_ = [
    '../_base_/default_runtime.py',
    '../_base_/schedules/lavt_40e.py',
    '../_base_/datasets/refcoco.py',
    '../_base_/models/lavt_swin-s.py',
]
for loader in (_base_.train_dataloader, _base_.val_dataloader, _base_.test_dataloader):
    loader.dataset.sentence_field = 'raw'
    loader.dataset.pipeline[3].update(size=(480, 480), keep_ratio=False, resampling='pillow')
    loader.dataset.pipeline[4].update(token_length=20, tokenizer='bert-base-uncased')
del loader
train_dataloader = dict(batch_size=8)  # 4 GPUs
