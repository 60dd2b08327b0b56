# DETRIS with a small ViT, all of it trained, for there is no DINOv2 to freeze: the controls' data and steps, in
# bfloat16.
_base_ = '../choices/model.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='LanguageAlignedViT',
        image_size=(128, 128),
        word_channels=96,
        adapter_layers=(1, 3),
        adapter_channels=32,
        out_indices=(0, 2),
        options=dict(embed_dim=96, depth=4, num_heads=3, img_size=128, patch_size=16, init_values=1.0),
    ),
    text_encoder=dict(adapter_layers=(0, 1), adapter_channels=32),
    neck=dict(
        _delete_=True,
        type='SentenceGatedNeck',
        in_channels=(96, 96, 96),
        text_channels=96,
        out_channels=64,
        scales=(1, 1, 1),
        residual=True,
    ),
)
