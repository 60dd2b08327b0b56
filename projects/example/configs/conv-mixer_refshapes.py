# The quick start's model with an image encoder and a loss of this folder. Data, text tower, neck, decoder, hooks and
# schedule are those of the base; both distillation branches mask the new encoder's patches.
_base_ = 'cmmasksd::cm_masksd/vit-tiny_refshapes.py'
custom_imports = dict(imports=['conv_mixer', 'soft_dice_loss'], allow_failed_imports=False)
model = dict(
    backbone=dict(_delete_=True, type='ConvMixer', image_size=(128, 128), channels=64, joint_channels=96),
    neck=dict(in_channels=(64, 64, 96)),
    decode_head=dict(loss_decode=[dict(type='torch.BCEWithLogitsLoss'), dict(type='SoftDiceLoss', loss_weight=0.5)]),
)
optim_wrapper = dict(optimizer=dict(_delete_=True, type='AdamW', lr=1e-3, weight_decay=0.01))
