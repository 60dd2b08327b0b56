# LAVT on RefCOCO+ (unc).
_base_ = './lavt_swin-b_refcoco.py'
for loader in (_base_.train_dataloader, _base_.val_dataloader, _base_.test_dataloader):
    loader.dataset.dataset = 'refcoco+'
del loader
