"""``cmmasksd segment``: masks of pictures, or of a table of pictures and sentences."""

from __future__ import annotations

import argparse
import glob
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from cmmasksd.arguments import add_precision, positive, threshold, writable_folder

if TYPE_CHECKING:
    from cmmasksd.apis import ReferringInferencer, ReferringResult
    from cmmasksd.apis.bulk import Request

EXAMPLES = """examples:
  cmmasksd segment zebras.jpg --say 'left zebra' --say 'the tree' --weights work_dirs/mine/best_mIoU_epoch_9.pth
  cmmasksd segment holidays/ 'old/*.png' --say 'the dog' --weights best.pth --config vit-b_refcoco --out-dir dogs
  cmmasksd segment --table table.jsonl --weights best.pth --batch-size 8      # columns image and sentences
  torchrun --nproc_per_node 4 -m cmmasksd segment --table table.parquet --weights best.pth
"""


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='cmmasksd segment',
        description='Find what sentences refer to. Of each picture: STEM.json (COCO RLEs, scores, boxes), '
        'STEM_panel.png, and a mask of 0 and 255 a sentence (STEM_1.png ...). Of a table: one JSON line a row, and a '
        'file that names the rows that are bad; started again, it goes on where it was.',
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('pictures', nargs='*', metavar='PICTURES', help='files, folders, or patterns such as "a/*.jpg"')
    parser.add_argument('--say', action='append', metavar='SENTENCE', help='what is meant; several times for several')
    table_help = '.jsonl, .csv, .tsv or .parquet with the columns image and sentences: one, or a list (JSON in CSV)'
    parser.add_argument('--table', metavar='FILE', help=table_help)
    parser.add_argument(
        '--images', metavar='DIR', help="folder that a table's pictures are relative to, if not its own"
    )
    parser.add_argument(
        '--weights', required=True, metavar='W', help='checkpoint, published folder, or name on the Hugging Face hub'
    )
    parser.add_argument('--config', help="path or name of a shipped one (default: the copy in the checkpoint's folder)")
    parser.add_argument(
        '--out-dir', type=writable_folder, default='segmented', metavar='D', help='where to (default: %(default)s)'
    )
    parser.add_argument(
        '--threshold', type=threshold, metavar='P', help="pixels above it are the object's (default: the model's)"
    )
    parser.add_argument('--device', help='such as cpu or cuda:0 (default: an accelerator if there is one)')
    add_precision(parser)
    cache_help = 'of a table: megabytes of features kept for pictures that come again; 0: none (default: %(default)s)'
    parser.add_argument('--cache', type=float, default=512, metavar='MB', help=cache_help)
    parser.add_argument(
        '--batch-size', type=positive, default=1, metavar='N', help='pictures at a time (default: %(default)s)'
    )
    parser.add_argument(
        '--threads', type=positive, default=2, metavar='N', help='that read pictures meanwhile (default: %(default)s)'
    )
    return parser


def read_arguments(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Reads the command line, and refuses what does not go together."""
    args = parser.parse_args()
    if bool(args.table) == bool(args.pictures):
        parser.error('name pictures, or a --table of them' + (', not both' if args.table else ''))
    if args.table and args.say:
        parser.error('a table brings its own sentences: leave out --say, or name pictures instead of --table')
    if args.pictures and not args.say:
        parser.error("tell what is meant: --say 'the left zebra'")
    if args.images and not args.table:
        parser.error('--images belongs to --table')
    if not 0 <= args.cache < float('inf'):
        parser.error('--cache is a number of megabytes, at least 0')
    if any(not sentence.strip() for sentence in args.say or ()):
        parser.error('--say is empty: write what tells the object from the others')
    return args


def main() -> None:
    """Segments, and ends the process with status 1 if something could not be segmented, 2 after a wrong call.

    Processes of torchrun end with 0 where rows are bad: it would take anything else for a crash.
    """
    parser = make_parser()
    args = read_arguments(parser)
    try:
        failed = _segment_table(args) if args.table else _segment_pictures(args)
    except (OSError, ValueError, ImportError) as error:
        parser.error(str(error))
    if failed and 'TORCHELASTIC_RUN_ID' not in os.environ:
        raise SystemExit(1)


def _segment_table(args: argparse.Namespace) -> int:
    from cmmasksd.apis.bulk import segment_table

    def tell(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    report = segment_table(
        lambda: _open(args),
        args.table,
        args.out_dir,
        args.images,
        settings=_settings(args),
        batch_size=args.batch_size,
        threads=args.threads,
        threshold=args.threshold,
        report=tell,
    )
    if int(os.environ.get('RANK', '0')) > 0:
        return 0
    if not report.answered + report.failed:
        print(f'{args.table} has no rows.')
        return 0
    rate = f'; {report.pictures / report.seconds:.2f} rows a second' if report.pictures else '; all was there already'
    print(f'{report.results}: {_count(report.answered, "row")}{rate}')
    if report.failed:
        bad = _count(report.failed, 'bad row')
        tell(f'{report.errors}: {bad}; mend what is wrong and delete this file to have them tried again')
    return report.failed


def _settings(args: argparse.Namespace) -> dict[str, str | None]:
    """What answers depend on; a training writes other weights under the same name."""
    from cmmasksd.apis.bulk import digest

    path = Path(args.weights).expanduser()
    path = path / 'model.safetensors' if path.is_dir() else path
    sha256 = digest(path) if path.is_file() else None
    return dict(weights=args.weights, config=args.config, weights_sha256=sha256, precision=args.precision)


def _segment_pictures(args: argparse.Namespace) -> int:
    from cmmasksd.apis.bulk import Failure, answer
    from cmmasksd.apis.pictures import distinct_stems

    pictures = list(find_pictures(args.pictures))
    _keep_pictures(pictures, args.out_dir)
    stems = distinct_stems(pictures)
    answers = answer(_open(args), _requests(pictures, args.say), args.batch_size, args.threads, args.threshold)
    failed = 0
    for each in answers:
        if isinstance(each, Failure):
            failed += 1
            reason = each.reason.removeprefix(f'{each.image}: ')
            print(f'{each.image}: failed: {reason}', file=sys.stderr, flush=True)
        else:
            request, result = each
            report, *_ = result.save(args.out_dir, stems[request.row])
            print(f'{request.image}: {_describe(result)} -> {report}', flush=True)
    told = f', {failed} of {len(pictures)} failed' if failed else ''
    print(f'{_count(len(pictures) - failed, "picture")} segmented into {args.out_dir}{told}.')
    return failed


def find_pictures(named: list[str]) -> Iterator[str]:
    """The pictures of files, folders and patterns, in the order they are named in, each once.

    Raises:
        ValueError: a folder without pictures, or a pattern that nothing fits.
    """
    from cmmasksd.apis.pictures import list_pictures

    seen = set()
    for name in named:
        if Path(name).is_dir():
            found = [str(path) for path in list_pictures(name)]
        elif not Path(name).exists() and glob.has_magic(name):
            found = sorted(path for path in glob.glob(name, recursive=True) if Path(path).is_file())
            if not found:
                raise ValueError(f'{name}: no file fits this pattern.')
        else:
            found = [name]  # one that is not there is told in its turn
        yield from (path for path in found if path not in seen)
        seen.update(found)


def _keep_pictures(pictures: list[str], out_dir: str) -> None:
    """A picture ``a_1.png`` would be overwritten by the first mask of ``a.png``."""
    beside = [picture for picture in pictures if Path(picture).parent.resolve() == Path(out_dir).resolve()]
    if beside:
        raise ValueError(f'{out_dir} holds pictures to be segmented, such as {beside[0]}: choose another --out-dir.')


def _requests(pictures: list[str], sentences: list[str]) -> Iterator[Request]:
    from cmmasksd.apis.bulk import Request

    return (Request(row, picture, picture, sentences) for row, picture in enumerate(pictures))


def _count(number: int, what: str) -> str:
    return f'{number} {what}' + 's' * (number != 1)


def _describe(result: ReferringResult) -> str:
    """Of each sentence its score and the share of the picture that its mask covers."""
    return '; '.join(
        f'{sentence!r} {score:.2f}, {mask.mean():.1%} of the picture' if mask.any() else f'{sentence!r} not found'
        for sentence, score, mask in zip(result.expressions, result.scores, result.masks)
    )


def _open(args: argparse.Namespace) -> ReferringInferencer:
    import torch

    from cmmasksd.apis.opening import open_inferencer

    device = args.device
    if device is None and torch.cuda.is_available() and 'LOCAL_RANK' in os.environ:
        device = f'cuda:{int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count()}'
    cache_bytes = round(args.cache * 1e6) if args.table else 0  # named pictures come once
    return open_inferencer(args.weights, args.config, device, args.precision, cache_bytes)
