# ETRIS with CLIP's ResNet-50: a bridge of 64 channels between the towers, levels gated by the sentence, CRIS's decoder
# and projector with a narrower feed-forward network. Masks lie as CRIS, whose data and loss it has, puts them.
_base_ = './cris_r50.py'
model = dict(
    bridge=dict(type='StageBridge', channels=64, num_heads=4, scales=(0.5, 1, 2), exchange='transformer'),
    neck=dict(_delete_=True, type='SentenceGatedNeck', in_channels=(512, 1024, 1024), text_channels=1024),
    decode_head=dict(feedforward_channels=512),
)
