# LAVT as its test.py scores it: pictures and masks are stretched to 480x480 first, so that masks are compared there,
# and an IoU of exactly X counts as above X. Its published numbers are such.
_base_ = './lavt_swin-b_refcoco.py'
for loader in (_base_.val_dataloader, _base_.test_dataloader):
    loader.dataset.pipeline.insert(3, dict(type='StretchPicture', size=(480, 480)))
del loader
_base_.val_evaluator.inclusive = _base_.test_evaluator.inclusive = True
