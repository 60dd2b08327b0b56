# RefCOCO+ (unc). Input 576x576, 17 tokens.
_base_ = './refcoco_576x576.py'
train_dataloader = dict(dataset=dict(dataset='refcoco+'))
val_dataloader = dict(dataset=dict(dataset='refcoco+'))
test_dataloader = dict(dataset=dict(dataset='refcoco+'))
