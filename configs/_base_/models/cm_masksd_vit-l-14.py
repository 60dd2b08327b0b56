# CM-MaskSD with CLIP ViT-L/14: D 1024, joint width C 768, words D_t 768, which the decoder's keys and values keep.
_base_ = './cm_masksd_vit-b-16.py'
model = dict(
    backbone=dict(architecture='ViT-L-14-quickgelu', image_size=(532, 532)),  # 38 patches of 14 pixels a side
    text_encoder=dict(architecture='ViT-L-14-quickgelu'),
    neck=dict(in_channels=(1024, 1024, 768), text_channels=768),
    decode_head=dict(word_channels=768, text_channels=768),
)
