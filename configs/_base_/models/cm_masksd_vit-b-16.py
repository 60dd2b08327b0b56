# CM-MaskSD with CLIP ViT-B/16: D 768, joint width C 512, words D_t 512. Neck and decoder are CRIS's.
model = dict(
    type='ReferringSegmentor',
    data_preprocessor=dict(type='ReferringDataPreprocessor'),
    backbone=dict(
        type='OpenCLIPVisionTransformer',
        architecture='ViT-B-16-quickgelu',
        image_size=(576, 576),  # the pipelines' LetterboxResize has the same
        pretrained='openai',
    ),
    text_encoder=dict(type='OpenCLIPTextTransformer', architecture='ViT-B-16-quickgelu', pretrained='openai'),
    neck=dict(type='CrossModalFPN', in_channels=(768, 768, 512), text_channels=512, out_channels=(256, 512, 1024)),
    decode_head=dict(
        type='VisionLanguageDecodeHead',
        channels=512,
        word_channels=512,
        text_channels=512,
        num_layers=3,
        num_heads=8,
        feedforward_channels=2048,
        dropout=0.1,
    ),
    distillation=[
        dict(type='LMVSD', top_k=0.5, mask_ratio=0.25, loss_weight=0.75, shared=True),
        dict(type='VMLSD', top_k=0.5, mask_ratio=0.1, loss_weight=0.1, shared=True),
    ],
    threshold=0.35,
    expressions_per_chunk=16,
)
