# RefCOCO (unc) in REFER's own format: <data_root>/refcoco/{instances.json, refs(unc).p} and COCO's train2014 images.
# Input 576x576, 17 tokens. Every setting stands here once; the other data sets and sizes change what this file makes.


def loader(split, training):
    return dict(
        batch_size=4,
        num_workers=4,
        persistent_workers=True,
        pin_memory=True,  # our tools leave it out where there is no GPU
        collate_fn=dict(type='cmmasksd.collate_in_one_block'),
        drop_last=training,
        sampler=dict(type='DefaultSampler', shuffle=training),
        dataset=dict(
            type='RefCOCODataset',
            data_root='data/refer',
            dataset='refcoco',
            split_by='unc',
            sentence_field='sent',
            split=split,
            test_mode=not training,
            pipeline=[
                dict(type='LoadReferringImage'),
                dict(type='SelectSentences', mode='random' if training else 'all'),
                dict(type='LoadReferringMasks'),
                # pipeline[3]; model.backbone.image_size is the same
                dict(type='LetterboxResize', size=(576, 576), resize_masks=training),
                dict(type='TokenizeExpressions', token_length=17),  # pipeline[4]
                dict(type='PackReferringInputs'),
            ],
        ),
    )


train_dataloader = loader('train', training=True)
val_dataloader = test_dataloader = loader('val', training=False)
val_evaluator = test_evaluator = dict(type='ReferringIoUMetric')
test_cfg = dict(type='SplitTestLoop', splits=['val', 'testA', 'testB'])
