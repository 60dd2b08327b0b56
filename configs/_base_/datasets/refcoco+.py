# RefCOCO+ (unc). Input 576x576, 17 tokens.
_base_ = './refcoco.py'
for loader in (_base_.train_dataloader, _base_.val_dataloader, _base_.test_dataloader):
    loader.dataset.dataset = 'refcoco+'
del loader
