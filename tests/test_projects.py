"""What a wheel holds, and that it is enough: nothing of the checkout is on the path here."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ('cmmasksd', 'configs', 'demo', 'tools', 'requirements')
PIP = (sys.executable, '-m', 'pip', '-q', '--disable-pip-version-check')
pytestmark = pytest.mark.slow


def run(*command: str | Path, folder: Path, **environment: str) -> str:
    """What a command prints, both streams; the environment's Python is ``python``, on one thread."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
    inherited = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    own = {**inherited, 'PATH': path, 'OMP_NUM_THREADS': '1', **environment}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=own,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f'{command}\n{done.stdout[-3000:]}'
    return done.stdout


@pytest.fixture(scope='module')
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what packages are made of: a build leaves folders behind."""
    source = tmp_path_factory.mktemp('source')
    for name in FOLDERS:
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns('__pycache__'))
    for path in ROOT.iterdir():
        if path.is_file() and path.suffix in ('.py', '.toml', '.in', '.md', '.yml', '.cff', ''):
            shutil.copy(path, source)
    return source


@pytest.fixture(scope='module')
def site(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel, of the sdist, installed in it."""
    pytest.importorskip('wheel', reason='needs wheel: pip install -r requirements/tests.txt')
    built, site = tmp_path_factory.mktemp('built'), tmp_path_factory.mktemp('site')
    run(sys.executable, 'setup.py', '-q', 'sdist', '--dist-dir', built, folder=source)
    (sdist,) = built.glob('*.tar.gz')
    run(*PIP, 'wheel', '--no-deps', '--no-build-isolation', '--wheel-dir', built, sdist, folder=built)
    (wheel,) = built.glob('*.whl')
    run(*PIP, 'install', '--no-deps', '--target', site, wheel, folder=built)
    return site


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The example, copied to a folder of its own."""
    shutil.copytree(ROOT / 'projects/example', tmp_path / 'mine', ignore=shutil.ignore_patterns('__pycache__'))
    return tmp_path / 'mine'


def test_the_wheel_holds_configs_tools_and_index(site: Path) -> None:
    home = site / 'cmmasksd/.mim'
    for folder, kinds in (('configs', ('.py', '.yml', '.md')), ('tools', ('.py', '.sh'))):
        expected = {path.relative_to(ROOT) for path in (ROOT / folder).rglob('*') if path.suffix in kinds}
        found = {path.relative_to(home) for path in (home / folder).rglob('*') if path.suffix in kinds}
        assert {path.name for path in expected - found} <= {'quickstart.sh', 'run_tests.sh', 'build_docs.sh'}
        assert not found - expected
        assert len(found) > 20
    assert (home / 'model-index.yml').read_bytes() == (ROOT / 'model-index.yml').read_bytes()
    assert not [path for path in home.rglob('*') if path.is_symlink()]


def test_a_build_leaves_no_link_or_copy_in_the_package(source: Path, site: Path) -> None:
    def listing(root: Path) -> set[Path]:
        return {path.relative_to(root) for path in (root / 'cmmasksd').rglob('*') if '__pycache__' not in path.parts}

    assert listing(source) == listing(ROOT)
    assert len(listing(source)) > 100


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf'```{language}\n(.*?)```', document.read_text(), re.DOTALL)


def test_the_example_runs_as_its_readme_says(project: Path, site: Path) -> None:
    (shell,) = blocks(project / 'README.md', 'bash')
    script = '\n'.join(line for line in shell.splitlines() if not line.startswith('pip install'))
    for long, short in {
        'PYTHONPATH=$PWD': f'PYTHONPATH={site}:$PWD',
        'refshapes data/refshapes': 'refshapes data/refshapes --num-images 60 --num-workers 1',
        'train.py) configs/conv-mixer_refshapes.py': 'train.py) configs/conv-mixer_refshapes.py --cfg-options '
        'train_cfg.max_epochs=1 param_scheduler.0.end=2',
        'epoch_2.pth': 'epoch_1.pth --out metrics.json',
    }.items():
        assert long in script
        script = script.replace(long, short)
    where = 'import cmmasksd; print(cmmasksd.__file__)'
    printed = run('bash', '-euc', f"{script}\npython -c '{where}'", folder=project)
    assert printed.splitlines()[-1] == str(site / 'cmmasksd/__init__.py')
    (losses,) = re.findall(r'loss_seg_bce: (\S+)  loss_seg_softdice: (\S+)  loss_lmvsd: (\S+)', printed)
    assert all(0 < float(loss) < 10 for loss in losses)
    assert json.loads((project / 'metrics.json').read_text())['val/num_expressions'] > 0

    question, _ = blocks(project / 'README.md', 'python')
    picture = next((project / 'data/refshapes/images/train2014').iterdir())
    question = question.replace('data/refshapes/images/...', str(picture)).replace('epoch_2', 'epoch_1')
    run('python', '-c', question, folder=project, PYTHONPATH=f'{site}:{project}')
    assert (project / 'panel.png').stat().st_size > 1000


def test_mmsegs_own_tool_trains_a_config_of_the_wheel(project: Path, site: Path) -> None:
    (base,) = re.findall(r'_base_ = .*', blocks(project / 'README.md', 'python')[1])
    config = project / 'configs/conv-mixer_refshapes.py'
    text, changed = re.subn(r'_base_ = .*', base, config.read_text())
    assert changed == 1
    config.write_text(f'{text}train_cfg = dict(max_epochs=1)\n')
    here = dict(folder=project, PYTHONPATH=f'{site}:{project}')
    make = ('-m', 'cmmasksd.datasets.refshapes', 'data/refshapes', '--num-images', '60', '--num-workers', '1')
    run('python', *make, **here)
    import mmseg

    printed = run('python', Path(mmseg.__file__).parent / '.mim/tools/train.py', config, **here)
    assert re.search(r'Epoch\(val\) \[1\]\[\d+/\d+\] +mIoU: \d', printed)
    assert (project / 'work_dirs/conv-mixer_refshapes/epoch_1.pth').is_file()


def test_a_shipped_config_is_trained_by_name_in_a_folder_of_its_own(site: Path, tmp_path: Path) -> None:
    """What ``mim train cmmasksd vit-tiny_refshapes.py`` runs: the .mim folder's own train.py."""
    make = ('-m', 'cmmasksd.datasets.refshapes', 'data/refshapes', '--num-images', '60', '--num-workers', '1')
    run('python', *make, folder=tmp_path, PYTHONPATH=str(site))
    train = ('bash', site / 'cmmasksd/.mim/tools/dist_train.sh', 'vit-tiny_refshapes', '1')
    run(*train, '--cfg-options', 'train_cfg.max_epochs=1', folder=tmp_path, PYTHONPATH=str(site))
    assert (tmp_path / 'work_dirs/vit-tiny_refshapes/epoch_1.pth').is_file()
