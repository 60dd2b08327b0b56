# RefShapes, the synthetic set of the quick start, in REFER's own format: python -m cmmasksd.datasets.refshapes
# data/refshapes. Input 128x128, 17 tokens.
_base_ = './refcoco.py'
for loader in (_base_.train_dataloader, _base_.val_dataloader, _base_.test_dataloader):
    # These pictures are small: on two cores a worker takes more from the model than it saves.
    loader.update(batch_size=16, num_workers=0, persistent_workers=False)
    loader.dataset.update(data_root='data/refshapes', dataset='refshapes')
    loader.dataset.pipeline[3].size = (128, 128)
del loader
_base_.val_evaluator.derangement = _base_.test_evaluator.derangement = True
