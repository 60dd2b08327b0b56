# RefCOCOg (umd), the paper's G-Ref. Input 576x576, 22 tokens.
_base_ = './refcoco.py'
for loader in (_base_.train_dataloader, _base_.val_dataloader, _base_.test_dataloader):
    loader.dataset.update(dataset='refcocog', split_by='umd')
    loader.dataset.pipeline[4].token_length = 22
del loader
test_cfg = dict(splits=['val', 'test'])
