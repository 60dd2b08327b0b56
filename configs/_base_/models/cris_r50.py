# CRIS with CLIP's ResNet-50: levels of 512, 1024 and C 1024 channels, words D_t 512. Masks lie as CRIS puts them.
_base_ = './cm_masksd_vit-b-16.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='OpenCLIPResNet',
        architecture='RN50-quickgelu',
        image_size=(416, 416),  # the pipelines' LetterboxResize has the same
        pretrained='openai',
    ),
    text_encoder=dict(architecture='RN50-quickgelu'),
    neck=dict(in_channels=(512, 1024, 1024), text_channels=1024, scale_levels=False),
    decode_head=dict(text_channels=1024),
    distillation=[],
    mask_alignment='cris',
)
