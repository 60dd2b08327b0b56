# LAVT-One: the same function as LAVT, trained by Dice loss on 8 GPUs.
_base_ = './lavt_swin-b_refcocog.py'
model = dict(decode_head=dict(loss_decode=dict(_delete_=True, type='DiceLoss')))
train_dataloader = dict(batch_size=4)
