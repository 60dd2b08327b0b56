"""The paper's tables as runs: resumed, shared, told apart; beside the paper's numbers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cmmasksd.shipped import find_config
from tests import forking
from tests.test_tools.running import ROOT, environment

TOOLS = ROOT / 'tools/analysis_tools'
TABLE = 'tools/analysis_tools/run_table.py'
# stands in for train.py and test.py: three epochs of a moment each, which it counts, one at a time and never twice
STUB = """
import json, os, sys, time
from pathlib import Path
arguments = sys.argv[1:]
folder = Path(arguments[arguments.index('--work-dir') + 1])
if Path(__file__).name == 'test.py':
    seed = int(Path(arguments[1]).parent.name.removeprefix('seed_'))
    out = Path(arguments[arguments.index('--out') + 1])
    out.write_text(json.dumps({f'val/{name}': 60 + 2 * seed for name in ('Pr@0.5', 'Pr@0.7', 'Pr@0.9', 'mIoU')}))
    sys.exit()
if 'fail=1' in arguments:
    sys.exit('the loss is nan')
assert os.environ['OMP_NUM_THREADS']
for epoch in range(3):
    if not (folder / f'epoch_{epoch}.pth').exists():
        with open(folder / 'count', 'a') as count:
            count.write(f'{epoch}')
        time.sleep(float(os.environ.get('STUB_TIME', 0)))
        (folder / f'epoch_{epoch}.pth').touch()
        (folder / 'last_checkpoint').write_text(str(folder / f'epoch_{epoch}.pth'))
"""
Start = Callable[..., 'Tool']


def run_on_stubs(stubs: Path, stub_time: float, arguments: list[str]) -> None:
    """The tool with these in place of the real ones, in a process of its own."""
    os.environ.update(STUB_TIME=str(stub_time), CUDA_VISIBLE_DEVICES='')
    sys.path.insert(0, str(TOOLS))
    import tables.working

    tables.working.TOOLS = stubs
    forking.tool(TABLE, *arguments)


class Tool:
    """A run of the tool, and what it prints."""

    def __init__(self, stubs: Path, stub_time: float, arguments: list[str], log: Path) -> None:
        self.log = log
        self.process = forking.start(run_on_stubs, stubs, stub_time, arguments, log=log)

    def end(self) -> tuple[int, str]:
        (code,) = forking.finish(self.process)
        return code, self.log.read_text()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the tool on stand-ins for training and evaluation, with data that are there."""
    for name in ('train.py', 'test.py'):
        (tmp_path / name).write_text(STUB)
    (tmp_path / 'data/refshapes').mkdir(parents=True)
    (tmp_path / 'data/refcoco').mkdir()
    roots = [f'{loader}_dataloader.dataset.data_root={tmp_path}/data' for loader in ('train', 'val', 'test')]
    begun: list[Tool] = []

    def begin(*arguments: str, options: tuple[str, ...] = (), stub_time: float = 0) -> Tool:
        words = [*arguments, '--work-dir', str(tmp_path / 'out'), '--cfg-options', *roots, *options]
        begun.append(Tool(tmp_path, stub_time, words, tmp_path / f'log_{len(begun)}'))
        return begun[-1]

    yield begin
    for tool in begun:
        tool.process.kill()
        tool.process.join()


def end(tool: Tool) -> str:
    code, printed = tool.end()
    assert code == 0, printed
    return printed


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 250
    while not path.exists():
        assert time.monotonic() < deadline, f'{path} did not come'
        time.sleep(0.02)


def test_means_and_spreads_beside_the_paper_s(start: Start, tmp_path: Path) -> None:
    arguments = [
        'table3',
        '--data',
        'refshapes',
        '--rows',
        'lmvsd',
        'lmvsd_ratio-0.1',
        '--seeds',
        '0',
        '1',
        '--jobs',
        '3',
    ]
    printed = end(start(*arguments))
    result = json.loads((tmp_path / 'out/refshapes/table3_best.json').read_text())
    assert [part['name'] for part in result['parts']] == ['3a', '3b', '3c']
    assert [row['config'] for row in result['parts'][1]['rows']] == ['lmvsd_ratio-0.1', 'lmvsd']
    row = result['parts'][1]['rows'][0]
    assert (row['mean']['val/mIoU'], row['std']['val/mIoU']) == (61, pytest.approx(2**0.5))
    assert row['paper'] == {'val/Pr@0.5': 83.18, 'val/Pr@0.7': 73.39, 'val/Pr@0.9': 19.83, 'val/mIoU': 71.12}
    assert [run['seed'] for run in row['runs']] == [0, 1]
    assert '61.00 ± 1.41 (71.12)' in printed
    own = (tmp_path / 'out/refshapes/lmvsd_ratio-0.1/lmvsd_ratio-0.1.py').read_text()
    assert "'mask_ratio': 0.1" in own and 'vit-tiny_refshapes' in own
    # gone on with: nothing is left to do, and a row of another table is there already
    before = (tmp_path / 'out/refshapes/lmvsd/seed_0/metrics_best.json').stat().st_mtime_ns
    assert '2 of 2 runs are finished' in end(
        start('table2', '--data', 'refshapes', '--rows', 'lmvsd', '--seeds', '0', '1')
    )
    assert (tmp_path / 'out/refshapes/lmvsd/seed_0/metrics_best.json').stat().st_mtime_ns == before


@pytest.mark.parametrize('kind', [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_killed_it_goes_on(kind: signal.Signals, start: Start, tmp_path: Path) -> None:
    rows = ['table2', '--rows', 'baseline', 'lmvsd']
    tool = start(*rows, stub_time=2)
    folder = tmp_path / 'out/refcoco/baseline/seed_0'
    wait_for(folder / 'epoch_0.pth')
    os.kill(tool.process.pid, kind)
    code, printed = tool.end()
    assert code
    if kind != signal.SIGKILL:  # its processes are ended with it, and it says what is there
        assert 'the same command goes on' in printed and 'Table 2' in printed
        assert not (folder / 'epoch_2.pth').exists()
    printed = end(start(*rows))
    if kind == signal.SIGKILL:
        assert 'another process works in' in printed  # the training, which outlived the tool
    for row in ('baseline', 'lmvsd'):
        count = (tmp_path / f'out/refcoco/{row}/seed_0/count').read_text()
        assert sorted(set(count)) == ['0', '1', '2'] and len(count) <= 4  # the epoch at hand is made again


def test_two_tables_at_a_time_share_their_rows(start: Start, tmp_path: Path) -> None:
    arguments = ['--rows', 'lmvsd', '--seeds', '0', '1']
    both = [start(table, *arguments, stub_time=0.3) for table in ('table2', 'table5')]
    for tool in both:
        assert '± 1.41' in end(tool)
    for seed in (0, 1):
        assert (tmp_path / f'out/refcoco/lmvsd/seed_{seed}/count').read_text() == '012'


def test_one_failure_does_not_stop_the_others(start: Start, tmp_path: Path) -> None:
    assert end(start('table2', '--rows', 'lmvsd'))
    (tmp_path / 'train.py').write_text("import sys; sys.exit('the loss is nan')")
    code, printed = start('table2', '--rows', 'lmvsd', 'baseline', 'vmlsd').end()
    assert code == 1
    for row in ('baseline', 'vmlsd'):
        assert f'{row}, seed 0: the training failed: the loss is nan (see ' in printed
    assert '60.00 (71.45)' in printed


@pytest.mark.parametrize(
    ('arguments', 'options', 'message'),
    [
        (['table1', '--data', 'refshapes'], (), 'it has no rows on RefShapes'),
        (['table2', '--rows', 'lmvsd_ratio-0.1'], (), 'table2 has no row lmvsd_ratio-0.1; its rows: baseline, lmvsd'),
        (['table2', '--launcher', 'pytorch'], (), '--launcher pytorch and --processes N go together'),
        (['table2', '--seeds', '1', '1'], (), '--seeds are different numbers'),
        (['table2'], ('randomness.seed=3',), 'randomness.seed is set for each run: give --seeds'),
        (['table2'], ('train_cfgg.max_epochs=3',), "do you mean 'train_cfg'"),
        (
            ['table2'],
            ('val_dataloader.dataset.data_root=nowhere',),
            'there is no nowhere/refcoco; see docs',
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(
    arguments: list[str], options: tuple[str, ...], message: str, start: Start, tmp_path: Path
) -> None:
    code, printed = start(*arguments, options=options).end()
    assert code
    assert message in ' '.join(printed.split())
    assert not list((tmp_path / 'out').rglob('run.json'))


def test_runs_of_other_settings_are_not_mixed(start: Start) -> None:
    end(start('table2', '--rows', 'lmvsd'))
    code, printed = start('table2', '--rows', 'lmvsd', options=('train_cfg.max_epochs=3',)).end()
    assert code == 1
    assert 'holds a run of other settings (options ' in printed and 'choose another --work-dir' in printed


def test_gpus_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.syspath_prepend(str(TOOLS))
    from tables.devices import share_out

    def devices(jobs: int | None, processes: int) -> list[str]:
        return [each['CUDA_VISIBLE_DEVICES'] for each in share_out(jobs, processes)]

    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 4)
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    assert devices(None, 1) == ['0', '1', '2', '3']
    assert devices(None, 2) == ['0,1', '2,3']
    assert devices(2, 1) == ['0', '1']
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '4,5,6,7')
    assert devices(6, 1) == ['4', '5', '6', '7', '4', '5']
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    (first, second) = share_out(2, 1)
    assert first['OMP_NUM_THREADS'] == second['OMP_NUM_THREADS'] == str(max(1, (os.cpu_count() or 1) // 2))


@pytest.mark.slow
def test_two_rows_are_trained_killed_and_gone_on_with(refshapes_root: Path, tmp_path: Path) -> None:
    names = ('train', 'val', 'test')
    options = [f'{name}_dataloader.dataset.data_root={refshapes_root}' for name in names]
    options += [f'{name}_dataloader.dataset.indices={16 if name == "train" else 1}' for name in names]
    rows = ['--data', 'refshapes', '--rows', 'baseline', 'lmvsd', '--jobs', '2', '--work-dir', str(tmp_path)]
    command = [sys.executable, TABLE, 'table2', *rows, '--cfg-options', *options, 'train_cfg.max_epochs=2']
    run = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True)
    wait_for(tmp_path / 'refshapes/lmvsd/seed_0/last_checkpoint')
    run.kill()
    run.communicate()
    done = subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    rows_found = json.loads((tmp_path / 'refshapes/table2_best.json').read_text())['parts'][0]['rows']
    assert [row['config'] for row in rows_found] == ['baseline', 'lmvsd']
    for row in rows_found:
        assert 0 <= row['mean']['val/mIoU'] <= 100 and {'testA/mIoU', 'testB/mIoU'} <= set(row['mean'])
        assert Path(find_config(row['config'])).is_file()
