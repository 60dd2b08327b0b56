"""Publishes a training checkpoint: python tools/misc/publish_model.py SRC DST --format pth|safetensors

``pth`` strips it to what inference needs and names it by its hash; ``safetensors`` writes a folder with weights, config
and model card, which needs nothing else and runs no code.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def publish(source: str, destination: str) -> Path:
    """Keeps the weights of the main branch (distillation branches vanish at inference); returns ``DST-<8 digits of
    SHA-256>.pth``.
    """
    import hashlib

    import torch

    from cmmasksd.apis.publishing.writing import inference_weights
    from cmmasksd.checkpoints import load_checkpoint_file

    weights = inference_weights(load_checkpoint_file(source), source)
    target = Path(destination).with_suffix('')
    target.parent.mkdir(parents=True, exist_ok=True)
    unnamed = target.with_suffix('.tmp')
    torch.save({'meta': {}, 'state_dict': weights}, unnamed)
    digest = hashlib.sha256(unnamed.read_bytes()).hexdigest()[:8]
    return unnamed.rename(target.with_name(f'{target.name}-{digest}.pth'))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Publish a checkpoint, as one file or as a folder for the hub.')
    parser.add_argument('source', metavar='SRC', help='checkpoint of a training run')
    parser.add_argument(
        'destination', metavar='DST', help='pth: path of the file, to which the hash is added; safetensors: the folder'
    )
    format_help = 'safetensors: model.safetensors, config.json and README.md, for from_pretrained (default: pth)'
    parser.add_argument('--format', choices=['pth', 'safetensors'], default='pth', help=format_help)
    parser.add_argument('--config', help='of the training, by path or shipped name (default: what the run left)')
    results_help = 'what tools/test.py --out wrote of this checkpoint, for the card (beside its own validation)'
    parser.add_argument('--results', metavar='FILE', help=results_help)
    parser.add_argument('--license', metavar='ID', help='of the weights, as the hub names it, such as apache-2.0')
    parser.add_argument('--push', metavar='OWNER/MODEL', help='put the folder on the Hugging Face hub, too')
    parser.add_argument('--private', action='store_true', default=None, help='with --push: a new model is private')
    args = parser.parse_args()
    _refuse_contradictions(parser, args)
    return args


def _refuse_contradictions(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    of_a_folder = [f'--{name}' for name in ('config', 'results', 'license', 'push') if getattr(args, name) is not None]
    if args.format == 'pth' and of_a_folder:
        parser.error(f'{of_a_folder[0]} is for --format safetensors')
    if args.private and not args.push:
        parser.error('--private needs --push, the name on the hub')
    for name in ('source', 'results'):
        path = getattr(args, name)
        if path is not None and not Path(path).is_file():
            parser.error(f'{path} is no file; check the path')


def main() -> None:
    args = parse_args()
    from cmmasksd.checkpoints import CheckpointError

    try:
        if args.format == 'pth':
            print(publish(args.source, args.destination))
            return
        from cmmasksd.apis.publishing import write_published
        from cmmasksd.published import push_to_hub

        print(write_published(args.source, args.destination, args.config, args.results, args.license))
        if args.push:
            print(push_to_hub(args.destination, args.push, args.private))
    except (CheckpointError, FileNotFoundError) as error:
        raise SystemExit(f'publish_model.py: {error}') from None


if __name__ == '__main__':
    main()
