# DETRIS with DINOv2's ViT-B/14 (four registers) and CLIP's text tower, both frozen but for their adapters. Neck,
# decoder and projector are ETRIS's, with a shortcut in the neck. Masks lie as CRIS, whose data and loss it has, puts
# them.
_base_ = './etris_vit-b-16.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='LanguageAlignedViT',
        architecture='vit_base_patch14_reg4_dinov2',
        image_size=(448, 448),  # the pipelines' LetterboxResize has the same
        adapter_layers=(1, 3, 5, 7, 9, 11),
        adapter_channels=128,
        out_indices=(4, 8),
        pretrained='dinov2_vitb14_reg4_pretrain.pth',
    ),
    text_encoder=dict(adapter_layers=(1, 3, 5, 7, 9, 11), adapter_channels=64),
    bridge=None,
    neck=dict(in_channels=(768, 768, 768), residual=True),
)
