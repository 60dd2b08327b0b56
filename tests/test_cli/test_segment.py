"""cmmasksd segment: pictures named in every way, and what goes wrong."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cmmasksd.cli import main
from cmmasksd.cli.segment import find_pictures
from tests.untrained import SENTENCES, make_pictures, make_table, read_lines

SAY = ['--say', SENTENCES[0], '--say', SENTENCES[1]]


def segment(*arguments: object) -> int:
    """Runs the command; gives its exit status."""
    try:
        main(['segment', *map(str, arguments)])
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / 'in').mkdir()
    make_pictures(tmp_path / 'in', 2)
    return tmp_path / 'in'


def test_a_folder(checkpoint: Path, pictures: Path, capsys: pytest.CaptureFixture) -> None:
    out = pictures.parent / 'out'
    assert (
        segment(pictures, *SAY, '--weights', checkpoint, '--out-dir', out, '--device', 'cpu', '--threshold', 0.1) == 0
    )
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 3 and told[0].startswith(f"{pictures}/p0.png: 'left zebra' ") and told[0].endswith('p0.json')
    assert told[2] == f'2 pictures segmented into {out}.'
    report = json.loads((out / 'p1.json').read_text())
    assert report['image'] == f'{pictures}/p1.png' and report['threshold'] == 0.1
    mask = np.array(Image.open(out / 'p1_2.png'))
    assert mask.shape == (20, 30) and (mask > 0).sum() == report['objects'][1]['area']
    assert (out / 'p1_panel.png').is_file()


def test_one_bad_picture_does_not_stop_the_others(
    checkpoint: Path, pictures: Path, capsys: pytest.CaptureFixture
) -> None:
    (pictures / 'p00.png').write_bytes((pictures / 'p0.png').read_bytes()[:100])
    out, none = pictures.parent / 'out', pictures / 'none.png'
    assert segment(none, pictures, *SAY, '--weights', checkpoint, '--out-dir', out, '--batch-size', 3) == 1
    told = capsys.readouterr()
    assert f'{none}: failed: there is no such picture' in told.err and 'p00.png: failed: ' in told.err
    assert f'2 pictures segmented into {out}, 2 of 4 failed.' in told.out
    assert sorted(path.name for path in out.glob('*.json')) == ['p0.json', 'p1.json']


def test_pictures_of_one_name_do_not_overwrite_one_another(checkpoint: Path, pictures: Path) -> None:
    out, other = pictures.parent / 'out', pictures.parent / 'other'
    other.mkdir()
    make_pictures(other, 1)
    Image.open(other / 'p0.png').save(other / 'p0-2.jpg')
    assert segment(pictures, other, '--say', 'a', '--weights', checkpoint, '--out-dir', out) == 0
    named = {json.loads(path.read_text())['image']: path.stem for path in out.glob('*.json')}
    assert named == {
        f'{pictures}/p0.png': 'p0',
        f'{pictures}/p1.png': 'p1',
        f'{other}/p0-2.jpg': 'p0-2',
        f'{other}/p0.png': 'p0-3',
    }


def test_patterns(pictures: Path) -> None:
    first, second = f'{pictures}/p0.png', f'{pictures}/p1.png'
    assert list(find_pictures([second, f'{pictures}/p[01].*', str(pictures)])) == [second, first]
    (pictures / 'a[1].png').write_bytes(b'')
    assert list(find_pictures([f'{pictures}/a[1].png'])) == [f'{pictures}/a[1].png']


def test_a_table(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    table, out = make_table(tmp_path, 3), tmp_path / 'out'
    table.write_text(table.read_text() + '{}\n')
    assert segment('--table', table, '--weights', checkpoint, '--out-dir', out, '--device', 'cpu') == 1
    told = capsys.readouterr()
    assert told.out.startswith(f'{out}/table.jsonl: 3 rows; ') and 'table.errors.jsonl: 1 bad row' in told.err
    assert [line['row'] for line in read_lines(out / 'table.jsonl')] == [1, 2, 3]
    assert [line['row'] for line in read_lines(out / 'table.errors.jsonl')] == [4]


def test_a_table_is_not_gone_on_with_by_weights_trained_anew(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    weights = Path(shutil.copytree(checkpoint.parent, tmp_path / 'run'), checkpoint.name)
    call = ('--table', make_table(tmp_path, 2), '--weights', weights, '--out-dir', tmp_path / 'out', '--device', 'cpu')
    assert segment(*call) == 0 and segment(*call) == 0
    assert 'all was there already' in capsys.readouterr().out
    weights.write_bytes(checkpoint.read_bytes() + b' ')
    assert segment(*call) == 2
    assert 'was begun with another weights_sha256' in capsys.readouterr().err


def test_a_table_without_rows(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / 'table.csv').write_text('image,sentence\n')
    assert segment('--table', tmp_path / 'table.csv', '--weights', 'w.pth', '--out-dir', tmp_path / 'out') == 0
    assert capsys.readouterr().out == f'{tmp_path}/table.csv has no rows.\n'


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--weights', 'w'], 'name pictures, or a --table of them'),
        (['a.png', '--table', 't.csv', '--weights', 'w'], 'name pictures, or a --table of them, not both'),
        (['a.png', '--weights', 'w'], "tell what is meant: --say 'the left zebra'"),
        (['a.png', '--say', ' ', '--weights', 'w'], '--say is empty'),
        (['--table', 't.csv', '--say', 'a', '--weights', 'w'], 'a table brings its own sentences'),
        (['a.png', '--say', 'a'], 'the following arguments are required: --weights'),
        (['a.png', '--say', 'a', '--weights', 'w', '--threshold', '1'], "'1' is no number of at least 0 and below 1"),
        (['a.png', '--say', 'a', '--weights', 'w', '--threshold', 'nan'], "'nan' is no number of at least 0"),
        (['a.png', '--say', 'a', '--weights', 'w', '--batch-size', '0'], "'0' is no whole number of at least 1"),
        (['a.png', '--say', 'a', '--weights', 'w', '--out-dir', '/proc/x'], '/proc/x cannot be made'),
        (['a.png', '--say', 'a', '--weights', 'none.pth'], 'none.pth: no such file; give the checkpoint'),
        (['*.none', '--say', 'a', '--weights', 'w'], '*.none: no file fits this pattern'),
        (['--table', 'none.csv', '--weights', 'w'], 'there is no table none.csv'),
    ],
)
def test_wrong_calls(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert segment(*arguments) == 2
    assert message in ' '.join(capsys.readouterr().err.split())


def test_weights_without_a_config(checkpoint: Path, pictures: Path, capsys: pytest.CaptureFixture) -> None:
    lonely = pictures.parent / 'lonely.pth'
    lonely.symlink_to(checkpoint)
    out = pictures.parent / 'out'
    assert segment(pictures, *SAY, '--weights', lonely, '--out-dir', out) == 2
    assert 'holds no config, which a training leaves beside its checkpoints' in capsys.readouterr().err
    assert segment(pictures, *SAY, '--weights', lonely, '--out-dir', out, '--config', 'vit-tiny_refshapes') == 0


def test_pictures_are_not_overwritten(checkpoint: Path, pictures: Path, capsys: pytest.CaptureFixture) -> None:
    assert segment(pictures, *SAY, '--weights', checkpoint, '--out-dir', pictures) == 2
    assert 'choose another --out-dir' in capsys.readouterr().err


@pytest.fixture(autouse=True)
def own_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, 'argv', sys.argv)
