"""A whole table: bad rows, kills, other processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from cmmasksd.apis import ReferringInferencer
from cmmasksd.apis.bulk import Report, journal, segment_table
from cmmasksd.apis.opening import open_inferencer
from tests.forking import finish, run, start_job
from tests.untrained import make_table, read_lines

ROWS = 12


def segment(checkpoint: Path, table: Path, out: Path) -> Report:
    return segment_table(lambda: open_inferencer(checkpoint, device='cpu'), table, out, batch_size=2)


def segment_and_die(checkpoint: Path, table: Path, out: Path, lines: int) -> None:
    """Kills itself in the middle of a line, after ``lines`` whole ones."""
    append, written = journal.Journal.append, 0

    def tear(self: journal.Journal, record: dict) -> None:
        nonlocal written
        append(self, record)
        written += 1
        if written > lines:
            os.truncate(self.path, self.path.stat().st_size - 40)
            os.kill(os.getpid(), signal.SIGKILL)

    journal.Journal.append = tear  # type: ignore[method-assign]  # of a process that is about to end
    segment(checkpoint, table, out)


@pytest.fixture
def inferencer(checkpoint: Path) -> ReferringInferencer:
    return open_inferencer(checkpoint, device='cpu')


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return make_table(tmp_path, ROWS)


def answer_all(inferencer: ReferringInferencer, table: Path, out: Path, **options: object) -> Report:
    return segment_table(lambda: inferencer, table, out, **options)  # type: ignore[arg-type]


def test_answers_are_those_of_the_inferencer(inferencer: ReferringInferencer, table: Path, tmp_path: Path) -> None:
    report = answer_all(inferencer, table, tmp_path / 'out', threshold=0.5)
    lines = read_lines(report.results)
    assert report.results == tmp_path / 'out/table.jsonl' and report.answered == report.pictures == ROWS
    assert [line['row'] for line in lines] == list(range(1, ROWS + 1)) and not report.errors.exists()
    (expected,) = inferencer(str(tmp_path / 'p1.png'), ['left zebra', 'the tree'])
    objects = expected.at(0.5).to_dict()['objects']
    assert lines[1]['image'] == 'p1.png' and lines[1]['size'] == [20, 30] and lines[1]['threshold'] == 0.5
    assert lines[1]['objects'] == [dict(each, score=pytest.approx(each['score'], abs=1e-5)) for each in objects]


def test_bad_rows_are_named_in_a_file_of_their_own(
    inferencer: ReferringInferencer, table: Path, tmp_path: Path
) -> None:
    Image.effect_noise((99, 99), 50).save(tmp_path / 'whole.jpg')
    (tmp_path / 'cut.jpg').write_bytes((tmp_path / 'whole.jpg').read_bytes()[:1000])
    bad = ['{"image": "none.png", "sentences": "a"}', '{"image": "cut.jpg", "sentences": "a"}', '{', '{"image": 1}']
    table.write_text('\n'.join([*bad[:2], table.read_text().rstrip(), *bad[2:]]))
    report = answer_all(inferencer, table, tmp_path / 'out', batch_size=3)
    assert (report.answered, report.failed) == (ROWS, 4)
    errors = read_lines(report.errors)
    assert [(line['row'], line['image']) for line in errors] == [(1, 'none.png'), (2, 'cut.jpg'), (15, ''), (16, '')]
    for line, reason in zip(errors, ('no such picture', 'truncated', 'not valid JSON', 'its image is 1')):
        assert reason in line['reason']
    assert answer_all(inferencer, table, tmp_path / 'out').pictures == 0
    report.errors.unlink()
    Image.effect_noise((30, 20), 50).save(tmp_path / 'none.png')
    again = answer_all(inferencer, table, tmp_path / 'out')
    assert (again.answered, again.failed, again.pictures) == (ROWS + 1, 3, 4)
    assert [line['row'] for line in read_lines(again.results)] == [1, *range(3, ROWS + 3)]


def test_a_killed_run_goes_on(checkpoint: Path, table: Path, tmp_path: Path) -> None:
    assert run(segment_and_die, checkpoint, table, tmp_path / 'out', 5) == -signal.SIGKILL
    left = (tmp_path / 'out/table.jsonl').read_bytes()
    assert left.count(b'\n') == 5 and not left.endswith(b'\n')
    report = segment(checkpoint, table, tmp_path / 'out')
    assert (report.answered, report.pictures) == (ROWS, ROWS - 5)
    assert report.results.read_bytes().startswith(left[: left.rindex(b'\n')])
    assert [line['row'] for line in read_lines(report.results)] == list(range(1, ROWS + 1))


def test_killed_processes_go_on_as_another_number(checkpoint: Path, table: Path, tmp_path: Path) -> None:
    out, arguments = tmp_path / 'out', (checkpoint, table, tmp_path / 'out')
    processes = start_job(2, tmp_path, segment_and_die, *arguments, 2)
    finish(*processes)  # one of them may only notice that the other is gone
    rows = [line for path in out.glob('table.part-*.jsonl') for line in path.read_bytes().splitlines(keepends=True)]
    whole = [line for line in rows if line.endswith(b'\n')]
    assert len(whole) >= 2
    report = segment(*arguments)
    assert (report.answered, report.pictures) == (ROWS, ROWS - len(whole))
    assert [line['row'] for line in read_lines(report.results)] == list(range(1, ROWS + 1))
    assert sorted(path.name for path in out.iterdir()) == ['table.jsonl', 'table.settings.json']


def test_two_processes_share_the_rows(checkpoint: Path, table: Path, tmp_path: Path) -> None:
    logs = finish(*start_job(2, tmp_path, segment, checkpoint, table, tmp_path / 'out'))
    assert logs == [0, 0], (tmp_path / 'output_0').read_text() + (tmp_path / 'output_1').read_text()
    assert [line['row'] for line in read_lines(tmp_path / 'out/table.jsonl')] == list(range(1, ROWS + 1))
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['table.jsonl', 'table.settings.json']


@pytest.mark.parametrize('change', ['threshold', 'weights', 'table'])
def test_answers_of_another_kind_are_not_added(
    inferencer: ReferringInferencer, table: Path, tmp_path: Path, change: str
) -> None:
    answer_all(inferencer, table, tmp_path / 'out', settings=dict(weights='a'))
    options: dict = dict(settings=dict(weights='a'))
    if change == 'table':
        table.write_text(table.read_text() * 2)
    else:
        options.update(threshold=0.5) if change == 'threshold' else options.update(settings=dict(weights='b'))
    with pytest.raises(ValueError, match=rf'table.jsonl was begun with another {change}.*choose another folder'):
        answer_all(inferencer, table, tmp_path / 'out', **options)


@pytest.mark.parametrize('name', ['table.jsonl', 'table.errors.jsonl'])
def test_a_table_is_never_written_to(inferencer: ReferringInferencer, table: Path, name: str) -> None:
    table = table.rename(table.with_name(name))
    table.write_text(table.read_text().rstrip('\n'))  # as editors leave it: the last line looks torn
    before = table.read_text()
    with pytest.raises(ValueError, match='is the table itself, which the answers would replace: choose another folder'):
        answer_all(inferencer, table, table.parent)
    assert table.read_text() == before and not list(table.parent.glob('*.settings.json'))
    (table.parent / 'link').symlink_to(table.parent)
    with pytest.raises(ValueError, match='is the table itself'):
        answer_all(inferencer, table, table.parent / 'link')


def test_only_one_run_at_a_time(inferencer: ReferringInferencer, table: Path, tmp_path: Path) -> None:
    def meanwhile() -> ReferringInferencer:
        with pytest.raises(ValueError, match='Another run is writing'):
            answer_all(inferencer, table, tmp_path / 'out')
        return inferencer

    assert segment_table(meanwhile, table, tmp_path / 'out').answered == ROWS


def test_a_table_without_rows_makes_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / 'table.csv').write_text('image,sentence\n')
    no_model: Callable = None  # type: ignore[assignment]  # which is not asked for
    report = segment_table(no_model, tmp_path / 'table.csv', tmp_path / 'out')
    assert (report.answered, report.failed) == (0, 0) and report.results.read_bytes() == b''
