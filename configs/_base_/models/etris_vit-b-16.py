# ETRIS with CLIP's ViT-B/16: all levels lie on one grid, and what passes the bridge is multiplied.
_base_ = './etris_r101.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='OpenCLIPVisionTransformer',
        architecture='ViT-B-16-quickgelu',
        image_size=(416, 416),  # the pipelines' LetterboxResize has the same
        pretrained='openai',
    ),
    text_encoder=dict(architecture='ViT-B-16-quickgelu'),
    bridge=dict(num_heads=8, scales=(1, 1, 1), exchange='product', normalise=True),
    neck=dict(in_channels=(768, 768, 512), scales=(1, 1, 1)),
)
