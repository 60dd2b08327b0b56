# RefCOCOg (umd), the paper's G-Ref. Input 576x576, 22 tokens.
_base_ = './refcoco_576x576.py'
train_pipeline = [
    dict(type='LoadReferringImage'),
    dict(type='SelectSentences', mode='random'),
    dict(type='LoadReferringMasks'),
    dict(type='LetterboxResize', size=(576, 576)),
    dict(type='TokenizeExpressions', token_length=22),
    dict(type='PackReferringInputs'),
]
test_pipeline = [
    dict(type='LoadReferringImage'),
    dict(type='SelectSentences', mode='all'),
    dict(type='LoadReferringMasks'),
    dict(type='LetterboxResize', size=(576, 576), resize_masks=False),
    dict(type='TokenizeExpressions', token_length=22),
    dict(type='PackReferringInputs'),
]
dataset = dict(dataset='refcocog', split_by='umd')
train_dataloader = dict(dataset=dict(**dataset, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(**dataset, pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(**dataset, pipeline=test_pipeline))
test_cfg = dict(splits=['val', 'test'])
