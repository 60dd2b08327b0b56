"""The backend's command line; whatever takes long to import waits until the arguments are read."""

from __future__ import annotations

import argparse
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cmmasksd.annotation.labelling import SHIPPED
from cmmasksd.arguments import add_precision, threshold

if TYPE_CHECKING:
    from cmmasksd.annotation.backend import Backend

HERE, PORT = '127.0.0.1', 9090
NEEDED = ('httpx', 'starlette', 'uvicorn')
ENVIRONMENT = """environment:
  LABEL_STUDIO_URL       as --label-studio
  LABEL_STUDIO_API_KEY   a token of Label Studio's, to read uploaded files and files of its storages
  BASIC_AUTH_USER, BASIC_AUTH_PASS   what Label Studio must know to be answered

docs/annotation.md tells each step.
"""


def port(text: str) -> int:
    """An argument that is a port: 1 to 65535."""
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f'{text!r} is no port; give a number from 1 to 65535')
    return int(text)


def folder(text: str) -> Path:
    """An argument that is a folder."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f'{text} is no folder')
    return Path(text)


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="A backend for Label Studio: sentences, a task's own or typed ones, become brush masks.",
        epilog=ENVIRONMENT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--weights', metavar='W', help='checkpoint, published folder, or name on the Hugging Face hub')
    parser.add_argument('--config', help="path or name of a shipped one (default: the copy in the checkpoint's folder)")
    parser.add_argument('--device', help='such as cpu or cuda:0 (default: an accelerator if there is one)')
    add_precision(parser, default='auto')
    parser.add_argument(
        '--threshold', type=threshold, metavar='P', help="pixels above it are the object's (default: the model's)"
    )
    parser.add_argument(
        '--images',
        type=folder,
        action='append',
        default=[],
        metavar='DIR',
        help="folder of Label Studio's local storage, its document root; several times for several",
    )
    parser.add_argument('--label-studio', metavar='URL', help='where Label Studio runs, such as http://localhost:8080')
    parser.add_argument(
        '--allow-host',
        action='append',
        default=[],
        metavar='HOST',
        help='host, or host:port, that pictures may be fetched from; several times for several',
    )
    parser.add_argument('--host', default=HERE, help='address to listen at (default: %(default)s)')
    parser.add_argument('--port', type=port, default=PORT, help='(default: %(default)s)')
    parser.add_argument('--labelling', choices=SHIPPED, help='print a labelling config and do nothing else')
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the command line, loads a model and answers Label Studio until it is stopped."""
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.labelling:
        print(SHIPPED[args.labelling], end='')
        return
    if not args.weights:
        parser.error('give the model: --weights CHECKPOINT')
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        parser.error(f"{missing[0]} is not installed: pip install 'cmmasksd[annotation]'")
    user, password = (os.environ.get(f'BASIC_AUTH_{name}') for name in ('USER', 'PASS'))
    if bool(user) != bool(password):
        parser.error('set both BASIC_AUTH_USER and BASIC_AUTH_PASS, or neither')
    from cmmasksd.annotation.server import listen, make_app, serve

    try:
        listener = listen(args.host, args.port)
    except OSError:
        parser.error(
            f"{args.host}:{args.port} is in use, or no address of this machine's: give another --port or --host"
        )
    try:
        print(f'Loading {args.weights} ...', flush=True)
        backend = open_backend(args)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f'Label Studio finds {backend.version} at http://{args.host}:{args.port} ; Ctrl+C ends it.', flush=True)
    if args.host not in (HERE, 'localhost', '::1') and not user:
        print('Whoever reaches this machine can use it: there is no password.', flush=True)
    serve(make_app(backend, (user, password) if user and password else None), listener)


def open_backend(args: argparse.Namespace) -> Backend:
    """The model and what it may read.

    Raises:
        OSError, ValueError: no such model, or no address of Label Studio.
    """
    from cmmasksd.annotation.backend import Backend
    from cmmasksd.annotation.pictures import LabelStudio, Pictures
    from cmmasksd.apis.opening import open_inferencer

    url, token = args.label_studio or os.environ.get('LABEL_STUDIO_URL'), os.environ.get('LABEL_STUDIO_API_KEY')
    pictures = Pictures(args.images, LabelStudio(url, token) if url else None, args.allow_host)
    inferencer = open_inferencer(args.weights, args.config, args.device, args.precision)
    return Backend(inferencer, pictures, name_version(args.weights, args.threshold), args.threshold)


def name_version(weights: str, threshold: float | None) -> str:
    """What Label Studio calls the model: other weights and another threshold are another version."""
    from cmmasksd.apis.bulk import digest

    path = Path(weights).expanduser()
    file = path / 'model.safetensors' if path.is_dir() else path
    parts = [path.stem if path.is_file() else path.name]
    parts += [digest(file)[:8]] if file.is_file() else []
    parts += [f'above {threshold:g}'] if threshold is not None else []
    return ' '.join(parts)
