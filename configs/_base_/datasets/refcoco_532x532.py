# RefCOCO (unc). Input 532x532, 17 tokens.
_base_ = './refcoco_576x576.py'
train_pipeline = [
    dict(type='LoadReferringImage'),
    dict(type='SelectSentences', mode='random'),
    dict(type='LoadReferringMasks'),
    dict(type='LetterboxResize', size=(532, 532)),
    dict(type='TokenizeExpressions', token_length=17),
    dict(type='PackReferringInputs'),
]
test_pipeline = [
    dict(type='LoadReferringImage'),
    dict(type='SelectSentences', mode='all'),
    dict(type='LoadReferringMasks'),
    dict(type='LetterboxResize', size=(532, 532), resize_masks=False),
    dict(type='TokenizeExpressions', token_length=17),
    dict(type='PackReferringInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
