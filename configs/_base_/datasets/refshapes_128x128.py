# RefShapes, the synthetic set of the quick start, in REFER's own format: python -m cmmasksd.datasets.refshapes
# data/refshapes
dataset_type = 'RefCOCODataset'
dataset = dict(type=dataset_type, data_root='data/refshapes', dataset='refshapes', split_by='unc')
train_pipeline = [
    dict(type='LoadReferringImage'),
    dict(type='SelectSentences', mode='random'),
    dict(type='LoadReferringMasks'),
    dict(type='LetterboxResize', size=(128, 128)),
    dict(type='TokenizeExpressions', token_length=17),
    dict(type='PackReferringInputs'),
]
test_pipeline = [
    dict(type='LoadReferringImage'),
    dict(type='SelectSentences', mode='all'),
    dict(type='LoadReferringMasks'),
    dict(type='LetterboxResize', size=(128, 128), resize_masks=False),
    dict(type='TokenizeExpressions', token_length=17),
    dict(type='PackReferringInputs'),
]
train_dataloader = dict(
    batch_size=16,
    num_workers=0,  # these pictures are small: on two cores a worker takes more from the model than it saves
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(**dataset, split='train', pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(**dataset, split='val', test_mode=True, pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='ReferringIoUMetric', derangement=True)
test_evaluator = val_evaluator
test_cfg = dict(type='SplitTestLoop', splits=['val', 'testA', 'testB'])
