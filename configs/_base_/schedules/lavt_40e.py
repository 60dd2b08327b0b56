# LAVT's train.py: AdamW, batch 32, 40 epochs, learning rate 5e-5 that falls with the power 0.9, no warm-up. Norms and
# position biases of the image encoder do not decay. Of BERT, layers 0 to 9 learn; its embeddings and last two do not.
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='ReferringOptimWrapperConstructor',
    optimizer=dict(type='AdamW', lr=5e-5, weight_decay=0.01, fused=True),
    paramwise_cfg=dict(
        custom_keys={
            'norm': dict(decay_mult=0.0),  # BERT's are called LayerNorm, and the neck's have no names
            'relative_position_bias_table': dict(decay_mult=0.0),
            'encoder.embeddings': dict(lr_mult=0.0),
            'encoder.layer.10.': dict(lr_mult=0.0),
            'encoder.layer.11.': dict(lr_mult=0.0),
        }
    ),
)
param_scheduler = [dict(type='PolyLR', power=0.9, eta_min=0.0, begin=0, end=40, convert_to_iter_based=True)]
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=40, val_interval=1)
val_cfg = dict(type='ValLoop')
auto_scale_lr = dict(base_batch_size=32, enable=False)
