# LAVT on RefCOCOg (umd), the paper's G-Ref; 20 tokens as on the others.
_base_ = './lavt_swin-b_refcoco.py'
for loader in (_base_.train_dataloader, _base_.val_dataloader, _base_.test_dataloader):
    loader.dataset.update(dataset='refcocog', split_by='umd')
del loader
test_cfg = dict(splits=['val', 'test'])
