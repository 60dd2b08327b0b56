# RefCOCO+ (unc). Input 532x532, 17 tokens.
_base_ = './refcoco_532x532.py'
train_dataloader = dict(dataset=dict(dataset='refcoco+'))
val_dataloader = dict(dataset=dict(dataset='refcoco+'))
test_dataloader = dict(dataset=dict(dataset='refcoco+'))
