# LAVT with Swin-T.
_base_ = './lavt_swin-s.py'
model = dict(backbone=dict(architecture='tiny', pretrained='pretrain/swin_tiny_patch4_window7_224.pth'))
