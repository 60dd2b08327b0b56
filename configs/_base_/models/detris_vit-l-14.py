# DETRIS with DINOv2's ViT-L/14: an adapter in each fourth block.
_base_ = './detris_vit-b-14.py'
model = dict(
    backbone=dict(
        architecture='vit_large_patch14_reg4_dinov2',
        adapter_layers=(2, 6, 10, 14, 18, 22),
        out_indices=(8, 16),
        pretrained='dinov2_vitl14_reg4_pretrain.pth',
    ),
    neck=dict(in_channels=(1024, 1024, 1024)),
)
