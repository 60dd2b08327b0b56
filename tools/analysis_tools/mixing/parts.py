"""Parts that are tried in place of ours: image encoders, text encoders, decode heads, losses; all of them small."""

from __future__ import annotations

from typing import Any

SIZE, TOKENS = 96, 9  # the input's side: a multiple of all strides and patches below
BATCH_NORM = dict(type='BN', requires_grad=True)
HRNET = {
    f'stage{number}': dict(
        num_modules=1,
        num_branches=number,
        block='BOTTLENECK' if number == 1 else 'BASIC',
        num_blocks=(1,) * number,
        num_channels=tuple(8 * 2**place for place in range(number)),
    )
    for number in (1, 2, 3, 4)
}
PLAIN = dict(img_size=SIZE, patch_size=16, embed_dims=32, num_layers=6, num_heads=4, out_indices=(1, 3, 5))
ARCHITECTURE = dict(
    embed_dim=8,
    quick_gelu=True,
    vision_cfg=dict(image_size=SIZE, patch_size=16, layers=3, width=16, head_width=8),
    text_cfg=dict(context_length=77, vocab_size=49408, layers=2, width=24, heads=3),
)

TIMM = dict(image_size=SIZE, timm_model_pretrained=False, timm_proj='linear')

Config = dict[str, Any]

ENCODERS: dict[str, Config] = {
    'OpenCLIPVisionTransformer': dict(type='OpenCLIPVisionTransformer', architecture=ARCHITECTURE, image_size=SIZE),
    **{
        f'OpenCLIPVisionTransformer, {name}': dict(
            type='OpenCLIPVisionTransformer', architecture=dict(ARCHITECTURE, vision_cfg=vision), image_size=SIZE
        )
        for name, vision in (
            ('averaged (CLIPA)', dict(ARCHITECTURE['vision_cfg'], no_ln_pre=True, pool_type='avg')),
            ("timm's, [class]", dict(TIMM, timm_model_name='vit_tiny_patch16_224', timm_pool='token')),
            ("timm's, attention-pooled (PE)", dict(TIMM, timm_model_name='vit_pe_core_tiny_patch16_384', timm_pool='')),
        )
    },
    **{
        config['type'] if 'name' not in config else f'timm {config["name"]}': dict(
            type='ImageBackboneAdapter', backbone=config, image_size=SIZE, joint_channels=8
        )
        for config in (
            dict(type='mmseg.ResNet', depth=18),
            dict(type='mmseg.ResNetV1c', depth=18, norm_cfg=BATCH_NORM),
            dict(type='mmseg.ResNeSt', depth=50, stem_channels=64, radix=2, reduction_factor=4, avg_down_stride=True),
            dict(type='mmseg.HRNet', extra=HRNET),
            dict(type='mmseg.SwinTransformer', embed_dims=24, depths=(2,) * 4, num_heads=(1, 2, 4, 8), window_size=7),
            dict(type='mmseg.MixVisionTransformer', embed_dims=8, num_layers=[1] * 4, num_heads=[1, 2, 4, 8]),
            dict(type='mmseg.MSCAN', embed_dims=[8, 16, 32, 64], depths=[1] * 4, norm_cfg=BATCH_NORM),
            dict(type='mmseg.MobileNetV2', out_indices=(2, 4, 6)),
            dict(type='mmseg.PCPVT'),
            dict(type='mmseg.VisionTransformer', **PLAIN),
            dict(type='mmseg.BEiT', **PLAIN),
            dict(type='mmseg.TIMMBackbone', model_name='resnet18', features_only=True, pretrained=False),
            dict(type='TimmBackbone', name='resnet18'),
            dict(type='TimmBackbone', name='convnext_atto'),
            dict(type='TimmBackbone', name='efficientnet_b0'),
            dict(type='TimmBackbone', name='swin_tiny_patch4_window7_224', img_size=SIZE),
            dict(type='TimmBackbone', name='vit_tiny_patch16_224', img_size=SIZE),
        )
    },
}

HEADS: dict[str, Config] = {
    'VisionLanguageDecodeHead': dict(
        type='VisionLanguageDecodeHead',
        channels=16,
        word_channels=24,
        text_channels=8,
        num_layers=1,
        num_heads=2,
        feedforward_channels=32,
    ),
    **{
        config['type']: dict(type='DecodeHeadAdapter', decode_head=config, channels=16)
        for config in (
            dict(type='mmseg.FCNHead', norm_cfg=BATCH_NORM),
            dict(type='mmseg.ASPPHead', dilations=(1, 2), norm_cfg=BATCH_NORM),
            dict(type='mmseg.PSPHead', pool_scales=(1, 2), norm_cfg=BATCH_NORM),
            dict(type='mmseg.UPerHead', in_channels=[16], in_index=[0], norm_cfg=BATCH_NORM),
            dict(type='mmseg.SegformerHead', in_channels=[16], in_index=[0], norm_cfg=BATCH_NORM),
            dict(type='mmseg.PointHead', in_channels=[16], in_index=[0]),
        )
    },
}

LOSSES: dict[str, Any] = {
    'torch.BCEWithLogitsLoss': dict(type='torch.BCEWithLogitsLoss'),
    'mmseg.CrossEntropyLoss(use_sigmoid=True)': dict(type='mmseg.CrossEntropyLoss', use_sigmoid=True),
    'mmseg.DiceLoss': dict(type='mmseg.DiceLoss'),
    'mmseg.FocalLoss': dict(type='mmseg.FocalLoss'),
    'mmseg.LovaszLoss': dict(type='mmseg.LovaszLoss', loss_type='binary', reduction='none'),
    'mmseg.TverskyLoss': dict(type='mmseg.TverskyLoss'),
    'BCE and Dice': [dict(type='torch.BCEWithLogitsLoss'), dict(type='mmseg.DiceLoss')],
}


WIDTHS = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=48, vocab_size=600)
ROBERTA = dict(WIDTHS, pad_token_id=1, bos_token_id=0, eos_token_id=2)


def clip_text(**text_cfg: Any) -> Config:
    """A text tower of open_clip's own kind."""
    text = dict(context_length=TOKENS, vocab_size=600, layers=2, width=24, heads=3, **text_cfg)
    return dict(type='OpenCLIPTextTransformer', architecture=dict(ARCHITECTURE, text_cfg=text))


def language_model(**config: Any) -> Config:
    """A model of transformers."""
    return dict(type='HuggingFaceTextEncoder', name_or_path=config, joint_channels=8)


# Each with the ids of a sentence of three words in its own tokens, and its padding.
TEXT_ENCODERS: dict[str, tuple[Config, list[int], int]] = {
    'open_clip CLIP (also of EVA02)': (
        dict(type='OpenCLIPTextTransformer', architecture=ARCHITECTURE),
        [49406, 320, 736, 6631, 49407],
        0,
    ),
    'open_clip CoCa': (clip_text(embed_cls=True), [597, 320, 421, 522, 599], 0),
    'open_clip SigLIP': (
        clip_text(hf_tokenizer_name='timm/ViT-B-16-SigLIP', no_causal_mask=True, proj_bias=True, pool_type='last'),
        [320, 421, 522, 1],
        1,
    ),
    'open_clip CLIPA': (
        clip_text(hf_tokenizer_name='bert-base-uncased', no_causal_mask=True, pool_type='last'),
        [101, 320, 421, 522, 0],
        0,
    ),
    'open_clip MobileCLIP': (clip_text(no_causal_mask=True), [597, 320, 421, 522, 599], 0),
    'transformers BERT': (language_model(model_type='bert', **WIDTHS), [101, 320, 421, 522, 102], 0),
    'transformers RoBERTa': (language_model(model_type='roberta', **ROBERTA), [0, 320, 421, 522, 2], 1),
    'transformers XLM-RoBERTa': (language_model(model_type='xlm-roberta', **ROBERTA), [0, 320, 421, 522, 2], 1),
    'transformers ELECTRA': (
        language_model(model_type='electra', embedding_size=16, **WIDTHS),
        [101, 320, 421, 522, 102],
        0,
    ),
    'transformers DistilBERT': (
        language_model(model_type='distilbert', dim=24, n_layers=2, n_heads=3, hidden_dim=48, vocab_size=600),
        [101, 320, 421, 522, 102],
        0,
    ),
    'transformers T5': (
        language_model(model_type='t5', d_model=24, d_kv=8, d_ff=48, num_layers=2, num_heads=3, vocab_size=600),
        [320, 421, 522, 1],
        0,
    ),
    'transformers GPT-2': (
        language_model(model_type='gpt2', n_embd=24, n_layer=2, n_head=3, vocab_size=600),
        [320, 421, 522, 1],
        0,
    ),
}
OURS = ENCODERS['OpenCLIPVisionTransformer'], HEADS['VisionLanguageDecodeHead'], next(iter(TEXT_ENCODERS.values()))
