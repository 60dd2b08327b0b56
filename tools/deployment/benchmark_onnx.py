"""What exports cost and gain beside torch: mIoU on a split, and time, turn about.

python tools/deployment/export_onnx.py WEIGHTS exported
python tools/deployment/export_onnx.py WEIGHTS exported_int8 --precision int8
python tools/deployment/benchmark_onnx.py WEIGHTS exported exported_int8 --data-root data/refer --dataset refcoco \\
    --split val

Times are of a whole answer, from pixels in memory to masks at the picture's size, each as a ratio to torch's of the
same round; both take the threads that they take by default.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cmmasksd.arguments import positive
from cmmasksd.cli.evaluate import add_questions

sys.path.append(str(Path(__file__).resolve().parents[1] / 'analysis_tools'))

Answerer = Callable[[np.ndarray, list[str]], np.ndarray]  # a picture and K sentences -> masks (K, height, width)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('weights', help='what was exported: checkpoint of a run, or a published model')
    parser.add_argument('exports', nargs='+', type=Path, metavar='FOLDER', help='of tools/deployment/export_onnx.py')
    parser.add_argument('--config', help='config or name of a shipped one (default: that of the run, or published)')
    add_questions(parser)
    parser.add_argument('--images', type=positive, default=200, help='that are scored, the first ones (default: 200)')
    parser.add_argument('--repeats', type=positive, default=7, help='rounds that are timed (default: 7)')
    parser.add_argument('--expressions', type=positive, nargs='+', default=[1, 8], help='timed, of one picture')
    return parser.parse_args()


def answerers(args: argparse.Namespace) -> dict[str, Answerer]:
    """torch's way and those of the exports, by name."""
    from cmmasksd.apis.opening import open_inferencer
    from cmmasksd.deployment.runtime import Segmentor

    inferencer = open_inferencer(args.weights, args.config, 'cpu')
    found: dict[str, Answerer] = dict(torch=lambda picture, texts: inferencer(picture, texts)[0].masks)
    for folder in args.exports:
        exported = Segmentor(folder)
        found[f'{folder.name} ({exported.manifest["precision"]})'] = partial(answer_exported, exported)
    return found


def answer_exported(exported: Any, picture: np.ndarray, texts: list[str]) -> np.ndarray:
    masks, _ = exported(picture, texts)
    return masks


def pictures_of(args: argparse.Namespace) -> list[tuple[np.ndarray, list[Any]]]:
    """Pictures with their questions.

    Raises:
        ValueError: the split asks nothing.
    """
    from cmmasksd.evaluation.dense_crf import read_stored
    from cmmasksd.scoring import read_questions

    asked: dict[str, list[Any]] = {}
    for question in read_questions(args.data_root, args.dataset, args.split_by, args.split):
        if args.sentences == 'all' or question.is_first:
            asked.setdefault(question.path, []).append(question)
    if not asked:
        raise ValueError(f'{args.dataset} {args.split} asks nothing.')
    return [(read_stored(path), questions) for path, questions in list(asked.items())[: args.images]]


def score(answer: Answerer, pictures: list[tuple[np.ndarray, list[Any]]]) -> tuple[dict[str, float], list[np.ndarray]]:
    """The scores, and all masks, a picture each."""
    from cmmasksd.scoring import PROTOCOLS, Answer
    from cmmasksd.scoring import score as score_answers

    masks = [answer(picture, [each.texts[0] for each in questions]) for picture, questions in pictures]
    answers = (
        Answer(question, mask, question.mask())
        for (_, questions), own in zip(pictures, masks, strict=True)
        for question, mask in zip(questions, own, strict=True)
    )
    return score_answers(answers, PROTOCOLS['exact']), masks


def measure(args: argparse.Namespace) -> None:
    import torch
    from benchmarking.timing import Spread, time_in_turn
    from prettytable import PrettyTable

    pictures, ways = pictures_of(args), answerers(args)
    table = PrettyTable(['way', 'mIoU', 'oIoU', 'pixels that differ from torch'], align='r')
    reference: list[np.ndarray] = []
    for name, answer in ways.items():
        scores, masks = score(answer, pictures)
        reference = reference or masks
        differing = sum(int((own ^ other).sum()) for own, other in zip(masks, reference, strict=True))
        share = differing / sum(each.size for each in reference)
        table.add_row([name, f'{scores["mIoU"]:.2f}', f'{scores["oIoU"]:.2f}', f'{share:.4%}'])
    print(f'{args.dataset} {args.split}: {sum(map(len, reference))} expressions of {len(pictures)} pictures')
    print(table)
    picture, (question, *_) = pictures[0]
    for count in args.expressions:
        texts = [f'{question.texts[0]} {number}' for number in range(count)]
        works = {name: partial(answer, picture, texts) for name, answer in ways.items()}
        samples = time_in_turn(works, args.repeats, 2, torch.device('cpu'))
        for name in list(ways)[1:]:
            spread = Spread.of([own / torch_s for own, torch_s in zip(samples[name], samples['torch'], strict=True)])
            ratio = f'{spread.median:.2f} ({spread.low:.2f} to {spread.high:.2f})'
            print(f'{count} expressions of a picture, time of {name} / torch: {ratio}')


def main() -> None:
    args = parse_args()
    try:
        measure(args)
    except ImportError as error:
        raise SystemExit(f"Error: {error.name} is not installed: pip install 'cmmasksd[onnx]'") from None
    except (OSError, ValueError) as error:
        raise SystemExit(f'Error: {error}') from None


if __name__ == '__main__':
    main()
