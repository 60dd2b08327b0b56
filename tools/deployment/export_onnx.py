"""Exports a model to ONNX: python tools/deployment/export_onnx.py WEIGHTS FOLDER [--precision int8]"""

from __future__ import annotations

import argparse
from pathlib import Path


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description='Export a model to a folder of ONNX graphs, tokenizer and a runtime.py that needs numpy, '
        "onnxruntime and tokenizers alone. Needs pip install 'cmmasksd[onnx]'."
    )
    parser.add_argument('weights', help='checkpoint of a run, or a published model: its folder or name on the hub')
    parser.add_argument('folder', type=Path, help='folder to make')
    parser.add_argument('--config', help='config or name of a shipped one (default: that of the run, or published)')
    parser.add_argument(
        '--precision', choices=['float32', 'float16', 'int8'], default='float32', help='(default: %(default)s)'
    )
    parser.add_argument('--opset', type=int, choices=range(18, 23), default=18, help='(default: %(default)s)')
    args = parser.parse_args()
    if args.folder.exists():
        parser.error(f'{args.folder} is there already: name a new folder, or delete it')
    return args


def main() -> None:
    args = parse_args()
    try:
        from cmmasksd.deployment.exporting import export_onnx
    except ImportError as error:
        raise SystemExit(f"Error: {error.name} is not installed: pip install 'cmmasksd[onnx]'") from None
    from cmmasksd.apis.opening import open_inferencer

    try:
        inferencer = open_inferencer(args.weights, args.config, 'cpu')
        folder = export_onnx(inferencer, args.folder, args.precision, args.opset)
    except (ValueError, OSError, RuntimeError) as error:
        raise SystemExit(f'Error: {error}') from None
    sizes = ', '.join(f'{path.name} {path.stat().st_size / 1e6:.1f} MB' for path in sorted(folder.glob('*.onnx')))
    print(f'{folder}: {sizes}')
    print(f"Try it, without torch: cd {folder} && python runtime.py PICTURE 'left zebra'")


if __name__ == '__main__':
    main()
