"""The benchmark's command lines, run as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_tools.running import CONFIG, ROOT, environment, run_tool

BENCHMARK = 'tools/analysis_tools/benchmark.py'


@pytest.mark.slow
def test_the_script_for_gpus_runs_in_small_anywhere(tmp_path: Path) -> None:
    done = run_tool('tools/analysis_tools/benchmark_gpu.sh', '--smoke', tmp_path)
    content = json.loads((tmp_path / 'vit-tiny/benchmark.json').read_text())
    titles = [comparison['title'] for comparison in content['comparisons']]
    assert (
        len(titles) == 3
        and titles[0].startswith('training step')
        and titles[2] == 'evaluation of 3 images, 21 expressions'
    )
    assert all(title in done.stdout for title in titles)
    assert 'benchmark.py' in content['machine']['command'] and '--amp' in content['machine']['command']
    assert content['comparisons'][0]['measurements']['main + both']['dtype'] == 'bfloat16'


@pytest.mark.slow
def test_data_sizes_and_plots(tmp_path: Path) -> None:
    sizes = ['--image-sizes', 32, 64, '--batch-size', 1, '--repeats', 1, '--expressions', 1, '--threads', 1]
    plot = (
        ['--plot']
        if subprocess.run([sys.executable, '-c', 'import matplotlib'], capture_output=True).returncode == 0
        else []
    )
    done = run_tool(BENCHMARK, CONFIG, '--only', 'data', *sizes, *plot, '--out', tmp_path)
    content = json.loads((tmp_path / 'benchmark.json').read_text())
    assert [comparison['facts']['visual_tokens'] for comparison in content['comparisons']] == [4, 16]
    assert set(content['data']) == {'training', 'evaluation'} and len(content['data']['training']['pipeline']) >= 20
    report = (tmp_path / 'benchmark.txt').read_text()
    assert 'images/s/core' in report and set(report.splitlines()) <= set(done.stdout.splitlines())
    assert (tmp_path / 'tokens.png').exists() == bool(plot)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--plot'], '--plot needs --out'),
        (['--repeats', '0'], 'at least 1'),
        (['--only', 'everything'], "invalid choice: 'everything'"),
    ],
)
def test_a_wrong_call_is_answered_in_one_sentence(arguments: list[str], message: str) -> None:
    done = run_tool(BENCHMARK, CONFIG, *arguments, check=False)
    assert done.returncode != 0 and message in done.stderr and 'Traceback' not in done.stderr


def test_the_script_for_gpus_asks_for_one() -> None:
    command = ['bash', str(ROOT / 'tools/analysis_tools/benchmark_gpu.sh')]
    done = subprocess.run(command, env={**environment(), 'CUDA_VISIBLE_DEVICES': ''}, capture_output=True, text=True)
    assert done.returncode != 0 and '--smoke' in done.stderr


@pytest.mark.slow
def test_memory_and_flops_are_computed_without_running_the_step() -> None:
    done = run_tool('tools/analysis_tools/trace_training.py', CONFIG, '--batch-sizes', 16, '--amp')
    cells = [[cell.strip() for cell in line.split('|')[1:-1]] for line in done.stdout.splitlines()]
    off, on = [row for row in cells if len(row) == 5 and row[1] in ('on', 'off')]
    assert off[:2] == ['16', 'off'] and on[:2] == ['16', 'on'] and off[2] == on[2]
    assert float(on[2]) < float(on[3]) < float(off[3])
    assert float(on[4]) > float(off[4]) > 1  # recomputing costs
