# Other projects' transforms on the picture: the masks follow, a flip swaps left and right in the sentence, and a
# resumed run draws the same. mmseg's need the maintained forks, or mmcv with compiled ops.
_base_ = '../vit-b_refcoco.py'
_base_.train_dataloader.dataset.pipeline.insert(
    3,  # after picture, sentences and masks, before the letterbox
    dict(
        type='AugmentPicture',
        transforms=[
            dict(type='mmcv.RandomFlip', prob=0.5),
            dict(type='mmseg.PhotoMetricDistortion'),
        ],
    ),
)
