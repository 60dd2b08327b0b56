"""Lines on disk, after whatever a kill has left of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cmmasksd.apis.bulk.journal import Journal, Rows, cut_torn_line, find_rows, merge


def write(path: Path, *rows: int, who: str = '') -> Path:
    journal = Journal(path)
    for row in rows:
        journal.append(dict(row=row, who=who))
    journal.close()
    return path


def test_a_torn_line_is_cut_off_at_any_byte(tmp_path: Path) -> None:
    whole = write(tmp_path / 'a.jsonl', 1, 2, 3).read_bytes()
    line = len(whole) // 3
    for size in range(len(whole) + 1):
        (tmp_path / 'a.jsonl').write_bytes(whole[:size])
        cut_torn_line(tmp_path / 'a.jsonl')
        assert (tmp_path / 'a.jsonl').read_bytes() == whole[: size // line * line]


def test_a_torn_line_longer_than_what_is_read_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / 'a.jsonl', 1)
    kept = path.read_bytes()
    path.write_bytes(kept + b'{"row": 2' + b'x' * 2**18)
    cut_torn_line(path)
    assert path.read_bytes() == kept


def test_parts_are_joined_in_order_and_no_row_comes_twice(tmp_path: Path) -> None:
    target = write(tmp_path / 'a.jsonl', 2, 7, who='target')
    parts = [write(tmp_path / '0', 5, 1), write(tmp_path / '1', 2, 6, who='again'), tmp_path / 'none']
    merge([target, *parts], target)
    assert list(find_rows(target)[0]) == [1, 2, 5, 6, 7]
    assert '"row": 2, "who": "target"' in target.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.jsonl']


def test_files_that_are_in_order_are_left_alone(tmp_path: Path) -> None:
    target = write(tmp_path / 'a.jsonl', 1, 2)
    inode = target.stat().st_ino
    merge([target], target)
    assert target.stat().st_ino == inode


@pytest.mark.parametrize('line', ['{}', '[]', 'x', '{"row": "1"}', '{"row": -1}', '{"row": 1'])
def test_files_of_somebody_else_are_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / 'a.jsonl').write_text(f'{{"row": 1}}\n{line}\n')
    with pytest.raises(ValueError, match=r'a\.jsonl, line 2 is no answer'):
        find_rows(tmp_path / 'a.jsonl')


@pytest.mark.parametrize('content', ['{"image": "a.jpg"}', '{"row": 1}\n{"image": "a.jpg"}', 'a\n{"row": 1', 'x', '\n'])
def test_nothing_is_cut_off_files_of_somebody_else(tmp_path: Path, content: str) -> None:
    (tmp_path / 'a.jsonl').write_text(content)
    with pytest.raises(ValueError, match=r'a\.jsonl is there and was not written here: move it away'):
        cut_torn_line(tmp_path / 'a.jsonl')
    assert (tmp_path / 'a.jsonl').read_text() == content


def test_a_full_disk_is_told_with_the_file() -> None:
    with pytest.raises(OSError, match=r'No space left on device; make room and start again: .*/dev/full'):
        Journal(Path('/dev/full')).append(dict(row=1))


def test_rows() -> None:
    rows = Rows()
    assert 5 not in rows and rows.add(5) and not rows.add(5) and rows.add(100_000)
    assert 5 in rows and 4 not in rows and 10**9 not in rows and len(rows) == 2
