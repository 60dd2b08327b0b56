"""The page's command line; whatever takes long to import waits until the arguments are read."""

from __future__ import annotations

import argparse
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

from cmmasksd.arguments import add_precision
from cmmasksd.web.newest import find_newest

HERE = '127.0.0.1'


def port(text: str) -> int:
    """An argument that is a port: 1 to 65535."""
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f'{text!r} is no port; give a number from 1 to 65535')
    return int(text)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description='Serve a web page: choose a picture, write sentences, get the mask of each object meant. Nothing '
        'leaves this machine.'
    )
    parser.add_argument(
        '--weights',
        metavar='W',
        help='checkpoint, published folder, or name on the Hugging Face hub (default: the newest best checkpoint in '
        'work_dirs)',
    )
    parser.add_argument(
        '--config', help='config file, or the name of a shipped one (default: the copy that lies beside the weights)'
    )
    parser.add_argument('--device', help='such as cpu or cuda:0 (default: an accelerator if there is one)')
    add_precision(parser, default='auto')
    parser.add_argument(
        '--host', default=HERE, help='address to listen at; 0.0.0.0: let other machines in too (default: %(default)s)'
    )
    parser.add_argument('--port', type=port, help='port to listen at (default: the first free one from 7860 on)')
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the command line, loads a model and serves the page until it is stopped."""
    parser = make_parser()
    args = parser.parse_args(argv)
    if importlib.util.find_spec('gradio') is None:
        parser.error("the page needs Gradio: pip install 'cmmasksd[web]'")
    try:
        weights = args.weights or find_newest()
        print(f'Loading {weights} ...', flush=True)
        from cmmasksd.apis.opening import open_inferencer

        inferencer = open_inferencer(weights, args.config, args.device, args.precision)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    prepare_environment(args.host)
    from cmmasksd.web.serving import serve

    try:
        serve(inferencer, '/'.join(Path(weights).absolute().parts[-2:]), args.host, args.port)
    except OSError:
        where = f'{args.host}:{args.port or 7860}'
        parser.error(f"{where} is in use, or no address of this machine's: give another --port or --host")


def prepare_environment(host: str) -> None:
    """Has Gradio, when it is imported, keep to itself: no statistics, and no proxy between it and its own address."""
    os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'
    for name in ('no_proxy', 'NO_PROXY'):
        os.environ[name] = ','.join(filter(None, [os.environ.get(name), HERE, 'localhost', host]))
