# CM-MaskSD on EVA02-CLIP-L/14 (D 1024, joint width C 768, words D_t 768) at 532x532; the paper's recipe otherwise. It
# reads CLIP's byte pairs. Nobody has trained it yet.
_base_ = [
    '../../_base_/default_runtime.py',
    '../../_base_/schedules/adam_100e.py',
    '../../_base_/datasets/refcoco.py',
    '../../_base_/models/cm_masksd_vit-l-14.py',
]
model = dict(
    backbone=dict(architecture='EVA02-L-14-336', pretrained='merged2b_s6b_b61k'),
    text_encoder=dict(architecture='EVA02-L-14-336', pretrained='merged2b_s6b_b61k'),
)
for loader in (_base_.train_dataloader, _base_.val_dataloader, _base_.test_dataloader):
    loader.dataset.pipeline[3].size = _base_.model.backbone.image_size  # 532x532
del loader
