# RefCOCO (unc) in REFER's own format: <data_root>/refcoco/{instances.json, refs(unc).p} and COCO's train2014 images.
# Input 576x576, 17 tokens.
dataset_type = 'RefCOCODataset'
dataset = dict(type=dataset_type, data_root='data/refer', dataset='refcoco', split_by='unc', sentence_field='sent')
train_pipeline = [
    dict(type='LoadReferringImage'),
    dict(type='SelectSentences', mode='random'),
    dict(type='LoadReferringMasks'),
    dict(type='LetterboxResize', size=(576, 576)),
    dict(type='TokenizeExpressions', token_length=17),
    dict(type='PackReferringInputs'),
]
test_pipeline = [
    dict(type='LoadReferringImage'),
    dict(type='SelectSentences', mode='all'),
    dict(type='LoadReferringMasks'),
    dict(type='LetterboxResize', size=(576, 576), resize_masks=False),
    dict(type='TokenizeExpressions', token_length=17),
    dict(type='PackReferringInputs'),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    collate_fn=dict(type='cmmasksd.collate_in_one_block'),
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(**dataset, split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=4,
    num_workers=4,
    persistent_workers=True,
    collate_fn=dict(type='cmmasksd.collate_in_one_block'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, split='val', test_mode=True, pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='ReferringIoUMetric')
test_evaluator = val_evaluator
test_cfg = dict(type='SplitTestLoop', splits=['val', 'testA', 'testB'])
