# LAVT with a small Swin and a small BERT, which reads CLIP's byte pairs: the controls' data and steps, LAVT's loss.
_base_ = '../controls/model.py'
model = dict(
    backbone=dict(
        _delete_=True,
        type='LanguageAwareSwin',
        architecture=dict(embed_dims=24, depths=(1, 1, 2, 1), num_heads=(1, 2, 4, 8), window_size=4),
        image_size=(128, 128),
        word_channels=96,
        drop_path_rate=0.0,
    ),
    text_encoder=dict(
        _delete_=True,
        type='HuggingFaceTextEncoder',
        name_or_path=dict(
            model_type='bert',
            hidden_size=96,
            num_hidden_layers=2,
            num_attention_heads=3,
            intermediate_size=384,
            vocab_size=49408,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        ),
        joint_channels=None,
    ),
    neck=dict(_delete_=True, type='TopDownNeck', in_channels=(24, 48, 96, 192), channels=32),
    decode_head=dict(
        _delete_=True,
        type='PixelClassifierHead',
        channels=32,
        loss_decode=[dict(type='ClassWeightedBCELoss', hard_target=True), dict(type='DiceLoss')],
    ),
    threshold=0.5,
)
