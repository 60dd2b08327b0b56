# CM-MaskSD on SigLIP 2 So400m/16 (all widths 1152) at 512x512, its own size; the paper's recipe otherwise. Its text
# tower attends to all of its 64 tokens, its pictures are normalised to [-1, 1], and its tokenizer lies on the Hugging
# Face hub: without a network set pipeline[4].tokenizer to a folder of its files. Nobody has trained it yet.
_base_ = [
    '../../_base_/default_runtime.py',
    '../../_base_/schedules/adam_100e.py',
    '../../_base_/datasets/refcoco.py',
    '../../_base_/models/cm_masksd_vit-b-16.py',
]
architecture = 'ViT-SO400M-16-SigLIP2-512'
model = dict(
    data_preprocessor=dict(mean=(127.5, 127.5, 127.5), std=(127.5, 127.5, 127.5)),
    backbone=dict(architecture=architecture, image_size=(512, 512), pretrained='webli'),
    text_encoder=dict(architecture=architecture, pretrained='webli'),
    neck=dict(in_channels=(1152, 1152, 1152), text_channels=1152),
    decode_head=dict(word_channels=1152, text_channels=1152),
)
for loader in (_base_.train_dataloader, _base_.val_dataloader, _base_.test_dataloader):
    loader.dataset.pipeline[3].size = (512, 512)
    loader.dataset.pipeline[4].update(token_length=64, tokenizer=architecture)
del loader, architecture
