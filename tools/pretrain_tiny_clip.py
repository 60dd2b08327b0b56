"""Trains a small CLIP for a config: its image and text tower, together, on captions of its training set.

python tools/pretrain_tiny_clip.py vit-tiny_refshapes --out work_dirs/tiny_clip
python tools/train.py vit-tiny_refshapes --cfg-options \\
    model.backbone.pretrained=work_dirs/tiny_clip/open_clip_model.safetensors \\
    model.text_encoder.pretrained=work_dirs/tiny_clip/open_clip_model.safetensors

The loss is open_clip's, between captions and the pooled feature, and between captions and the mean of the patches
(--patch-weight 0 leaves it out: CLIP as OpenAI trained it, whose patches nothing draws to the words). A caption goes
with the surroundings of its object, or, the sentences of several objects joined, with the whole picture. No mask is
learnt.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmengine.config import Config

from cmmasksd.arguments import fraction, positive, writable_folder
from cmmasksd.cfg_options import CfgOptions, merge_options
from cmmasksd.shipped import open_config

GRID = 8  # patches on a side; more take longer, and positions are resized when the weights are loaded


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file, or the name of a shipped one')
    parser.add_argument('--out', required=True, type=writable_folder, help='folder for weights and their config')
    parser.add_argument('--split', default='train', help='of the training set (default: train)')
    parser.add_argument('--epochs', type=positive, default=8, help='a caption of each ref in each (default: 8)')
    parser.add_argument('--batch-size', type=positive, default=128, help='different captions a step (default: 128)')
    parser.add_argument('--lr', type=float, default=1e-3, help='highest learning rate (default: 0.001)')
    size_help = f"pixels of a side of the input (default: the config's, but no more than {GRID} patches)"
    parser.add_argument('--image-size', type=positive, metavar='PIXELS', help=size_help)
    parser.add_argument(
        '--whole', type=fraction, default=0.25, help='share of captions that are of whole pictures (default: 0.25)'
    )
    parser.add_argument('--patch-weight', type=float, default=1.0, help="weight of the patches' loss (default: 1)")
    parser.add_argument('--token-length', type=positive, default=32, help='of captions (default: 32)')
    parser.add_argument('--num-workers', type=int, default=0, help='processes that load pictures (default: 0)')
    parser.add_argument('--seed', type=int, default=0, help='(default: 0)')
    parser.add_argument('--cfg-options', nargs='+', action=CfgOptions, help='overrides, such as data roots')
    args = parser.parse_args()
    if args.lr <= 0 or args.patch_weight < 0 or args.seed < 0 or args.num_workers < 0:
        parser.error('--lr must be above 0, --patch-weight, --seed and --num-workers at least 0')
    return args


def pretrain(cfg: Config, args: argparse.Namespace) -> Path:
    import torch
    from clip_pretraining.towers import Towers
    from clip_pretraining.training import Settings, train

    from cmmasksd.datasets.captions import CaptionedPictures
    from cmmasksd.engine.leaves import leaf_configs

    torch.manual_seed(args.seed)
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    towers = Towers(cfg.model, (args.image_size or input_size(cfg),) * 2).to(device)
    dataset = next(leaf_configs(cfg.train_dataloader.dataset))
    chosen = {key: dataset[key] for key in ('data_root', 'dataset', 'split_by', 'sentence_field') if key in dataset}
    tokens = next(step for step in dataset.pipeline if step.type.endswith('TokenizeExpressions'))
    settings = Settings(
        epochs=args.epochs,
        batch_size=args.batch_size,
        lr=args.lr,
        whole=args.whole,
        patch_weight=args.patch_weight,
        token_length=args.token_length,
        tokenizer=tokens.get('tokenizer'),
        seed=args.seed,
        num_workers=args.num_workers,
    )
    for line in train(towers, CaptionedPictures(**chosen, split=args.split), settings, device):
        print(line, flush=True)
    return towers.save(Path(args.out))


def input_size(cfg: Config) -> int:
    """Side of the input, of few patches."""
    from cmmasksd.models.open_clip_tower import get_architecture

    size = cfg.model.backbone.image_size
    patch = get_architecture(cfg.model.backbone.architecture)['vision_cfg'].get('patch_size', 16)
    return min(min(size) if isinstance(size, (list, tuple)) else size, GRID * patch)


def main() -> None:
    args = parse_args()
    try:
        cfg = open_config(args.config)
        merge_options(cfg, args.cfg_options)
        file = pretrain(cfg, args)
    except (FileNotFoundError, ValueError) as error:
        raise SystemExit(f'Error: {error}') from None
    print(f'Next: --cfg-options model.backbone.pretrained={file} model.text_encoder.pretrained={file}')


if __name__ == '__main__':
    main()
