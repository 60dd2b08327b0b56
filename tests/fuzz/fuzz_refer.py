"""Fuzzes the reader of REFER's files: python -m tests.fuzz.fuzz_refer --inputs 20000 --seed 0

Every input, a broken refs(own).p or instances.json, goes through ``load_refer``, and what survives through
``decode_mask``. It must end in success or in one of our own errors, which names the folder: no other exception, no
warning of numpy, no crash, no hang, no memory beyond ``--memory``. Inputs that fail are saved and read again by
``--replay FOLDER ...``. An input is a function of its kind, the seed and its number alone.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from cmmasksd.datasets.refer import ReferError, ReferWarning, decode_mask, load_refer
from cmmasksd.datasets.refer.pickles import UnsafePickleError
from tests.fuzz.mutations import mutate

KINDS = ('pickle', 'json')
LONGEST_MESSAGE = 2000
Outcome = tuple[int, str]  # the input's number; 'read', 'refused', or what went wrong


def read_all(root: Path) -> None:
    """What a training or evaluation does with the annotations of a set."""
    data = load_refer(root, 'fuzz', 'own')
    for ref in data.refs:
        image = data.images[ref.image_id]
        mask = decode_mask(ref.segmentation, image.height, image.width, f'{root}, ref {ref.ref_id}')
        assert (
            mask.shape == (image.height, image.width)
            and mask.any()
            and ref.sentences
            and all(s.sent and s.raw for s in ref.sentences)
        )


def judge(root: Path, megabytes: int) -> str:
    """Reads the set: 'read', 'refused', or the fault."""
    before = _peak()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            warnings.simplefilter('ignore', ReferWarning)
            warnings.simplefilter('ignore', DeprecationWarning)  # of pycocotools under numpy 2
            read_all(root)
        verdict = 'read'
    except (ReferError, UnsafePickleError) as error:
        named = str(root) in str(error) and len(str(error)) < LONGEST_MESSAGE
        verdict = 'refused' if named else f'the error does not name the folder or is too long: {error}'
        if isinstance(error.__cause__, MemoryError):
            verdict = 'memory ran out'
    except Exception as error:
        verdict = f'{type(error).__name__}: {error}'
    grown = (_peak() - before) >> 20
    return f'{grown} MiB of memory were taken' if grown > megabytes else verdict[:LONGEST_MESSAGE]


def write_input(root: Path, files: tuple[bytes, bytes]) -> None:
    """Lays the two files out as a set without pictures."""
    (root / 'fuzz').mkdir(parents=True, exist_ok=True)
    (root / 'images' / 'train2014').mkdir(parents=True, exist_ok=True)
    for name, content in zip(('refs(own).p', 'instances.json'), files, strict=True):
        (root / 'fuzz' / name).write_bytes(content)


def run(kind: str, seed: int, count: int, seconds: float, megabytes: int) -> Iterator[Outcome]:
    """Judges inputs 0 to ``count`` in a process of their own, which is watched and, after a fault, begun anew."""
    start = 0
    with tempfile.TemporaryDirectory() as folder:
        while start < count:
            for outcome in _watch((kind, seed, start, count, Path(folder), megabytes), seconds):
                yield outcome
                start = outcome[0] + 1


def _watch(task: tuple[str, int, int, int, Path, int], seconds: float) -> Iterator[Outcome]:
    """Outcomes until the end or the first fault; a process that dies or says nothing for ``seconds`` is a fault of the
    input it is at.
    """
    # the reader is imported here already; and a test can put a faulty one in its place
    context = multiprocessing.get_context('fork')
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, *task), daemon=True)
    process.start()
    theirs.close()
    following, count = task[2], task[3]
    try:
        while following < count:
            if not ours.poll(seconds):
                yield following, f'nothing came for {seconds} s'
                return
            try:
                index, verdict = ours.recv()
            except EOFError:
                process.join()
                yield following, f'the process died (exit code {process.exitcode})'
                return
            yield index, verdict
            if verdict not in ('read', 'refused'):
                return
            following = index + 1
    finally:
        process.kill()
        process.join()


def _work(pipe: Connection, kind: str, seed: int, start: int, count: int, folder: Path, megabytes: int) -> None:
    # a second lock: an input cannot take the whole machine's memory before it is judged
    bound = _address_space() + 8 * (megabytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
    for index in range(start, count):
        write_input(folder, mutate(kind, seed, index))
        pipe.send((index, judge(folder, megabytes)))


def _peak() -> int:
    """The most memory this process has had at once so far, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _address_space() -> int:
    return int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()


def fuzz(args: argparse.Namespace) -> int:
    """Runs every kind and prints a summary; returns the number of faults."""
    faults = 0
    for kind in args.kinds:
        tally: Counter[str] = Counter()
        begun = time.monotonic()
        for index, verdict in run(kind, args.seed, args.inputs, args.seconds, args.memory):
            tally[verdict if verdict in ('read', 'refused') else 'faults'] += 1
            if verdict not in ('read', 'refused'):
                place = args.save / f'{kind}-{args.seed}-{index}'
                write_input(place, mutate(kind, args.seed, index))
                print(f'{place}: {verdict}', flush=True)
        faults += tally['faults']
        took = time.monotonic() - begun
        print(
            f'{kind}: {sum(tally.values())} inputs, {tally["read"]} read, {tally["refused"]} refused, '
            f'{tally["faults"]} faults, {took:.0f} s'
        )
    return faults


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='python -m tests.fuzz.fuzz_refer', description="Fuzz the reader of REFER's files."
    )
    parser.add_argument('--inputs', type=int, default=20_000, help='of each kind (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='default: %(default)s')
    parser.add_argument('--kinds', nargs='+', choices=KINDS, default=KINDS, help='default: all')
    parser.add_argument(
        '--seconds', type=float, default=20, help='an input that takes longer is a hang (default: %(default)s)'
    )
    parser.add_argument(
        '--memory',
        type=int,
        default=1024,
        metavar='MIB',
        help='an input that takes more is a fault (default: %(default)s)',
    )
    parser.add_argument(
        '--save',
        type=Path,
        default=Path('work_dirs/fuzz_faults'),
        help='folder for inputs that fail (default: %(default)s)',
    )
    parser.add_argument(
        '--replay', type=Path, nargs='+', metavar='FOLDER', help='judge saved inputs instead, in this process'
    )
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    if args.replay:
        verdicts = [judge(folder, args.memory) for folder in args.replay]
        print('\n'.join(f'{folder}: {verdict}' for folder, verdict in zip(args.replay, verdicts)))
        raise SystemExit(not set(verdicts) <= {'read', 'refused'})
    with suppress(KeyboardInterrupt):
        raise SystemExit(fuzz(args) > 0)


if __name__ == '__main__':
    main()
