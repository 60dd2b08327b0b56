# CM-MaskSD with CLIP ViT-L/14: D 1024, joint width C 768, words D_t 768, which the decoder's keys and values keep.
_base_ = './cm_masksd_vit-b-16.py'
architecture = 'ViT-L-14-quickgelu'
model = dict(
    backbone=dict(architecture=architecture, image_size=(532, 532)),
    text_encoder=dict(architecture=architecture),
    neck=dict(in_channels=(1024, 1024, 768), text_channels=768),
    decode_head=dict(word_channels=768, text_channels=768),
)
