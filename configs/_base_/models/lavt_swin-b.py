# LAVT with Swin-B and BERT: four levels of 128 to 1024 channels, words of 768. Weights: Swin's, of ImageNet-22k, from
# https://github.com/SwinTransformer/storage/releases (v1.0.0), and BERT's, a folder or a name on the Hugging Face hub.
model = dict(
    type='ReferringSegmentor',
    data_preprocessor=dict(
        type='ReferringDataPreprocessor', mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375)
    ),
    backbone=dict(
        type='LanguageAwareSwin',
        architecture='base',
        image_size=(480, 480),  # the pipelines' LetterboxResize has the same
        pretrained='pretrain/swin_base_patch4_window12_384_22k.pth',
    ),
    text_encoder=dict(
        type='HuggingFaceTextEncoder',
        name_or_path=dict(model_type='bert'),  # bert-base-uncased
        joint_channels=None,
        pretrained='bert-base-uncased',
    ),
    neck=dict(type='TopDownNeck', in_channels=(128, 256, 512, 1024)),
    decode_head=dict(
        type='PixelClassifierHead',
        channels=512,
        loss_decode=dict(type='ClassWeightedBCELoss', background=0.9, object=1.1, hard_target=True),
    ),
    distillation=[],
    threshold=0.5,
)
