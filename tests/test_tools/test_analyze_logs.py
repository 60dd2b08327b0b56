"""What runs logged is joined as the run went on, and drawn."""

from __future__ import annotations

import json
import math
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.test_tools.running import ROOT

sys.path.append(str(ROOT / 'tools/analysis_tools'))  # where the script finds its helpers
from run_logs.curves import running_mean
from run_logs.reading import LogError, read_log


def train(iteration: int, loss: float | None, epoch: int | None = None) -> dict:
    where = {} if epoch is None else {'epoch': epoch}
    return {**where, 'loss': loss, 'time': 0.5, 'data_time': 0.1, 'iter': iteration, 'step': iteration}


def validation(step: int, score: float) -> dict:
    return {'mIoU': score, 'time': 9.0, 'data_time': 9.0, 'step': step}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """``write(time, *records)``: one part of the run; gives the work dir."""

    def make(time: str, *records: dict, end: str = '\n') -> Path:
        file = tmp_path / time / 'vis_data/scalars.json'
        file.parent.mkdir(parents=True)
        file.write_text('\n'.join(map(json.dumps, records)) + end)
        return tmp_path

    return make


def test_parts_of_a_run_are_joined_and_a_step_that_was_trained_twice_counts_once(write) -> None:
    """Killed in its second epoch, resumed from the first one's end, which is validated once more."""
    first = [train(2, 8.0, 1), train(4, 7.0, 1), validation(1, 30.0), train(6, 6.0, 2), train(8, 5.5, 2)]
    work_dir = write('20260102_000000', validation(1, 30.5), train(6, 6.5, 2), train(8, 5.0, 2), validation(2, 40.0))
    write('20260101_000000', *first)
    log = read_log(work_dir)
    assert log.curve('loss') == ([2, 4, 6, 8], [8.0, 7.0, 6.5, 5.0])
    assert log.curve('mIoU') == ([4, 8], [30.5, 40.0])  # at the ends of epochs
    again = read_log(work_dir / '20260101_000000')
    assert again.curve('loss') == read_log(work_dir / '20260101_000000/vis_data/scalars.json').curve('loss')
    assert again.curve('loss')[1][-1] == 5.5


def test_a_run_by_iteration(write) -> None:
    log = read_log(write('a', train(2, 8.0), validation(3, 30.0), train(4, None), validation(6, 40.0)))
    assert log.curve('mIoU') == ([3, 6], [30.0, 40.0])
    places, values = log.curve('loss')
    assert places == [2, 4] and math.isnan(values[1])


def test_what_cannot_be_read_is_told(write, capsys) -> None:
    work_dir = write('a', train(2, 8.0), end='\n{"loss": 7.')
    assert read_log(work_dir).curve('loss') == ([2], [8.0])
    assert 'the last line is not whole' in capsys.readouterr().err
    with pytest.raises(LogError, match=r"has no 'los': do you mean loss\? It has data_time, iter, loss"):
        read_log(work_dir).curve('los')
    (empty := work_dir / 'b').mkdir()
    with pytest.raises(LogError, match=r'has no run in it.*Give a work dir'):
        read_log(empty)
    with pytest.raises(LogError, match='nowhere is not there'):
        read_log(work_dir / 'nowhere')
    (work_dir / 'text.json').write_text('no\n{"step": 1}\n')
    with pytest.raises(LogError, match=r'text.json, line 1: no JSON with a step'):
        read_log(work_dir / 'text.json')


def test_a_running_mean_is_not_drawn_to_its_start() -> None:
    assert running_mean([4.0, 4.0, 4.0], 0.9) == pytest.approx([4.0] * 3)
    assert running_mean([0.0, 1.0], 0.5) == pytest.approx([0.0, 2 / 3])
    assert running_mean([1.0, 2.0], 0.0) == [1.0, 2.0]
    smooth = running_mean([1.0, float('nan'), 1.0], 0.5)
    assert math.isnan(smooth[1]) and smooth[2] == 1.0


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, 'argv', ['analyze_logs.py', *map(str, arguments)])
    runpy.run_path(str(ROOT / 'tools/analysis_tools/analyze_logs.py'), run_name='__main__')


def test_curves_are_drawn_and_time_is_summed_up(write, monkeypatch, capsys, tmp_path) -> None:
    pytest.importorskip('matplotlib')
    work_dir = write('a', train(2, 8.0, 1), validation(1, 30.0), {**train(4, 7.0, 2), 'time': 0.7}, validation(2, 31.0))
    out = tmp_path / 'made/curves.png'
    call(monkeypatch, 'plot_curve', work_dir, '--keys', 'loss', 'mIoU', '--smooth', 0.5, '--title', 'T', '--out', out)
    assert out.stat().st_size > 5000 and f'wrote {out}' in capsys.readouterr().out
    call(monkeypatch, 'cal_train_time', work_dir)
    said = capsys.readouterr().out
    assert 'an iteration: 0.6000 s' in said and 'data: 16.7%' in said
    assert 'slowest epoch: 2, 0.7000 s' in said and 'fastest epoch: 1, 0.5000 s' in said


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--legend', 'a', 'b', '--out', 'x.png'], 'has 2 names, and there are 1 logs'),
        (['--smooth', '1'], "'1' is no number from 0 to below 1"),
        (['--keys', 'miou', '--out', 'x.png'], "has no 'miou': do you mean mIoU?"),
        (['--out', 'x.foo'], 'an ending that matplotlib does not write'),
        (['--style', 'nice', '--out', 'x.png'], "no style 'nice': choose one of"),
        ([], 'matplotlib can open no window here: give --out'),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments, message, write, monkeypatch, capsys) -> None:
    pytest.importorskip('matplotlib')
    monkeypatch.setenv('MPLBACKEND', 'agg')
    with pytest.raises(SystemExit) as caught:
        call(monkeypatch, 'plot_curve', write('a', train(2, 8.0), validation(2, 3.0)), *arguments)
    assert message in f'{caught.value} {" ".join(capsys.readouterr().err.split())}'


def test_without_matplotlib_the_mend_is_named(write, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, 'matplotlib', None)
    with pytest.raises(SystemExit, match=r"pip install 'cmmasksd\[matplotlib\]'"):
        call(monkeypatch, 'plot_curve', write('a', train(2, 8.0)), '--out', 'x.png')
