"""A table of pictures and sentences becomes a file of masks; killed and started again, it goes on where it was."""

from __future__ import annotations

import fcntl
import glob
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

from cmmasksd.apis.bulk.answering import THREADS, Answer, Failure, Request, answer
from cmmasksd.apis.bulk.journal import Journal, Rows, cut_torn_line, find_rows, merge
from cmmasksd.apis.bulk.processes import Processes
from cmmasksd.apis.bulk.tables import read_requests
from cmmasksd.apis.inferencer import ReferringInferencer
from cmmasksd.apis.requests import map_ahead
from cmmasksd.strict_json import to_json

SECONDS_BETWEEN_REPORTS = 10


@dataclass(frozen=True)
class Report:
    """What became of a table.

    Attributes:
        results: the file of answers, in the table's order.
        errors: the file of rows that have none; it is there if there are such rows.
        answered: rows in ``results``.
        failed: rows in ``errors``.
        pictures: rows that this process worked on, in ``seconds``.
    """

    results: Path
    errors: Path
    answered: int
    failed: int
    pictures: int
    seconds: float


def segment_table(
    open_model: Callable[[], ReferringInferencer],
    table: str | Path,
    out_dir: str | Path,
    images: str | Path | None = None,
    settings: dict[str, Any] | None = None,
    batch_size: int = 1,
    threads: int = THREADS,
    threshold: float | None = None,
    report: Callable[[str], None] | None = None,
) -> Report:
    """Answers all rows of a table, each once, in ``<out_dir>/<table's name>.jsonl``: ``row`` and what
    :meth:`~cmmasksd.apis.results.ReferringResult.to_dict` gives. Rows that cannot be answered are named in
    ``<table's name>.errors.jsonl`` (``row``, ``image``, ``reason``); those are tried again when that file is deleted.

    Started by torchrun, each process answers its own rows in a part file; the parts are joined at the end.

    Args:
        open_model: makes the inferencer; called if any row is left.
        table: see :func:`~cmmasksd.apis.bulk.tables.read_requests`.
        out_dir: made where it is not there; of several machines, one that they share.
        images: folder that pictures are relative to; None: the table's.
        settings: what else the answers depend on, such as the weights: a run with others does not go on in the same
            files.
        batch_size: pictures that are encoded together.
        threads: that read pictures while the model works.
        threshold: of the masks; None: the model's.
        report: called with lines of text every ten seconds, for instance ``print``.

    Raises:
        ValueError: a table that cannot be read, files of another run, or one that is running.
        OSError: the folder cannot be written.
    """
    requests = read_requests(table, images)
    requests = chain([*_first(requests)], requests)  # a table that cannot be read is told now
    with Processes() as processes:
        files = _Files(Path(out_dir), Path(table).stem, processes.rank, processes.count)
        if processes.rank == 0:
            files.begin(Path(table), {**(settings or {}), 'table_sha256': digest(Path(table)), 'threshold': threshold})
        processes.wait()
        done = files.done()
        processes.wait()  # nobody writes before all have read
        begun, number = time.monotonic(), 0
        left = _own_part(requests, done, processes.rank, processes.count)
        if first := _first(left):
            answers = answer(open_model(), chain(first, left), batch_size, threads, threshold)
            records = map_ahead(_to_record, answers, 2 * batch_size, threads)  # RLEs take time too
            number = files.write(records, report if processes.rank == 0 else None)
        seconds = time.monotonic() - begun
        processes.wait()
        answered, failed = files.finish() if processes.rank == 0 else (0, 0)
    return Report(files.results, files.errors, answered, failed, number, seconds)


class _Files:
    """The files of a run: results, errors, and those of its processes."""

    def __init__(self, folder: Path, stem: str, rank: int, processes: int) -> None:
        self.folder, self.stem = folder, stem
        self.results, self.errors = folder / f'{stem}.jsonl', folder / f'{stem}.errors.jsonl'
        part = f'.part-{rank}' if processes > 1 else ''
        self._own = folder / f'{stem}{part}.jsonl', folder / f'{stem}.errors{part}.jsonl'
        self._lock: IO[str] | None = None

    def begin(self, table: Path, settings: dict[str, Any]) -> None:
        """Takes the files for this run, and mends what a kill has left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._spare(table)
        self._lock = (self.folder / f'{self.stem}.settings.json').open('a+')
        self._take(self._lock)
        self._compare(self._lock, settings)
        for path in (*self._all(self.results), *self._all(self.errors)):
            cut_torn_line(path)

    def done(self) -> Rows:
        """The rows that need no more work."""
        rows = Rows()
        for path in (*self._all(self.results), *self._all(self.errors)):
            for row in find_rows(path)[0]:
                rows.add(row)
        return rows

    def write(self, records: Iterator[dict[str, Any]], report: Callable[[str], None] | None) -> int:
        """Writes records as they come, those with a reason to the errors; gives their number."""
        results, errors = (Journal(path) for path in self._own)
        begun = told = time.monotonic()
        number = failed = 0
        try:
            for number, record in enumerate(records, start=1):
                is_bad = 'reason' in record
                failed += is_bad
                (errors if is_bad else results).append(record)
                if report and (now := time.monotonic()) - told > SECONDS_BETWEEN_REPORTS:
                    told = now
                    report(
                        f'{number} rows by this process, {failed} of them bad; {number / (now - begun):.1f} a second'
                    )
        finally:
            results.close()
            errors.close()
        return number

    def finish(self) -> tuple[int, int]:
        """Joins the files of all processes; gives the numbers of answers and of errors."""
        merge([self.results, *self._parts(self.results)], self.results)
        merge([self.errors, *self._parts(self.errors)], self.errors)
        answered, failed = (len(find_rows(path)[0]) for path in (self.results, self.errors))
        if not failed:
            self.errors.unlink()
        if self._lock:
            self._lock.close()
        return answered, failed

    def _all(self, path: Path) -> list[Path]:
        return [each for each in (path, *self._parts(path)) if each.is_file()]

    def _parts(self, path: Path) -> list[Path]:
        return sorted(path.parent.glob(f'{glob.escape(path.stem)}.part-[0-9]*.jsonl'))

    def _spare(self, table: Path) -> None:
        for path in (*self._all(self.results), *self._all(self.errors)):
            if path.samefile(table):
                raise ValueError(f'{path} is the table itself, which the answers would replace: choose another folder.')

    def _take(self, lock: IO[str]) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f'Another run is writing {self.results}: wait for its end, or choose another folder.'
            ) from None

    def _compare(self, lock: IO[str], settings: dict[str, Any]) -> None:
        lock.seek(0)
        text = lock.read()
        is_whole = text.endswith('}\n')  # a kill may have torn it
        before = json.loads(text) if is_whole and self._all(self.results) + self._all(self.errors) else settings
        changed = [name for name in {**before, **settings} if before.get(name) != settings.get(name)]
        if changed:
            raise ValueError(
                f'{self.results} was begun with another {changed[0]} ({before.get(changed[0])}, now '
                f'{settings.get(changed[0])}): choose another folder, or delete the {self.stem}.* files in '
                f'{self.folder} to begin anew.'
            )
        lock.truncate(0)
        lock.write(to_json(settings, indent=2) + '\n')
        lock.flush()


def _to_record(each: Answer | Failure) -> dict[str, Any]:
    if isinstance(each, Failure):
        return dict(row=each.row, image=each.image, reason=each.reason)
    request, result = each
    return dict(row=request.row, **result.to_dict())


def _own_part(
    requests: Iterator[Request | Failure], done: Rows, rank: int, processes: int
) -> Iterator[Request | Failure]:
    """Of the rows that are left, every ``processes``-th."""
    left = (request for request in requests if request.row not in done)
    return (request for number, request in enumerate(left) if number % processes == rank)


def _first(items: Iterator[Any]) -> list[Any]:
    """The first item, taken off, or none."""
    return [item for _, item in zip(range(1), items)]


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while part := file.read(2**20):
            digest.update(part)
    return digest.hexdigest()
