"""What is installed, what is promised about it, and the scripts that do it."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

import cmmasksd
from cmmasksd.shipped import find_config, list_models, open_config

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted((ROOT / 'tools').glob('*.sh')) + [ROOT / '.ci/run']
FLAVOURS = ('onedl', 'openmmlab')


@pytest.fixture(scope='module')
def setup_arguments() -> dict:
    """What setup.py hands to setuptools."""
    setuptools = pytest.importorskip('setuptools')
    seen: dict = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, 'setup', lambda **arguments: seen.update(arguments))
        runpy.run_path(str(ROOT / 'setup.py'))
    return seen


def requirements(lines: list[str]) -> dict[str, Requirement]:
    """Requirement lines by their normalised name."""
    return {re.sub(r'[-_.]+', '-', (parsed := Requirement(line)).name).lower(): parsed for line in lines}


def lines_of(name: str) -> list[str]:
    text = (ROOT / f'requirements/{name}.txt').read_text()
    return [line for line in text.splitlines() if line and not line.startswith('#')]


def test_installing_the_package_brings_no_flavour(setup_arguments: dict) -> None:
    names = requirements(setup_arguments['install_requires'])
    assert {'torch', 'open-clip-torch', 'pycocotools', 'numpy'} <= set(names)
    assert not [name for name in names if name.startswith(('mm', 'onedl'))]


def test_each_flavour_is_an_extra_of_its_own(setup_arguments: dict) -> None:
    extras = {name: set(requirements(lines)) for name, lines in setup_arguments['extras_require'].items()}
    assert {'onedl-mmengine', 'onedl-mmcv', 'onedl-mmsegmentation'} <= extras['onedl']
    assert {'mmengine', 'mmcv-lite', 'mmsegmentation'} <= extras['openmmlab']
    assert not extras['onedl'] & extras['openmmlab']
    assert {'tests', 'dev', 'tensorboard', 'wandb'} <= set(extras)
    others = set().union(*(names for extra, names in extras.items() if extra not in FLAVOURS))
    assert not [name for name in others if name.startswith(('mm', 'onedl'))]


@pytest.mark.parametrize('module', ['cv2', 'mmcv', 'mmengine', 'mmseg'])
def test_exactly_one_distribution_provides(module: str) -> None:
    assert len(set(packages_distributions()[module])) == 1


def test_one_version_everywhere(setup_arguments: dict) -> None:
    version = cmmasksd.__version__
    assert setup_arguments['version'] == version
    assert f'\nversion: {version}\n' in (ROOT / 'CITATION.cff').read_text()
    assert re.search(r'^## (\S+)', (ROOT / 'CHANGELOG.md').read_text(), re.MULTILINE).group(1) == version


def test_packages_are_found(setup_arguments: dict) -> None:
    assert {'cmmasksd', 'cmmasksd.datasets', 'cmmasksd.models.backbones'} <= set(setup_arguments['packages'])
    assert not [name for name in setup_arguments['packages'] if not name.startswith('cmmasksd')]


def test_what_is_shipped_lies_where_mmengine_looks(setup_arguments: dict) -> None:
    home = ROOT / 'cmmasksd/.mim'
    for name in ('configs', 'demo', 'tools', 'model-index.yml'):
        assert (home / name).is_symlink() and (home / name).samefile(ROOT / name)
    patterns = setup_arguments['package_data']['cmmasksd']
    assert all(pattern.startswith('.mim/') and any(ROOT.glob(pattern.removeprefix('.mim/'))) for pattern in patterns)
    left_out = setup_arguments['exclude_package_data']['cmmasksd']
    assert len(left_out) == 3 and all((ROOT / 'cmmasksd' / script).is_file() for script in left_out)


def test_the_model_index_holds_every_config_but_ablations_and_recipes() -> None:
    metafiles = yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']
    assert sorted(metafiles) == sorted(str(path.relative_to(ROOT)) for path in ROOT.glob('configs/*/metafile.yml'))
    found = [model for file in metafiles for model in yaml.safe_load((ROOT / file).read_text())['Models']]
    models = {model['Name']: model for model in found}
    leaves = {name for name in list_models() if not re.search('ablations|recipes', find_config(name))}
    assert set(models) == leaves and len(models) == len(found) >= 16
    for name, model in models.items():
        cfg = open_config(name)
        assert (ROOT / model['Config']).samefile(find_config(name))
        pipeline = cfg.test_dataloader.dataset.pipeline
        (size,) = (step['size'] for step in pipeline if step['type'].endswith('LetterboxResize'))
        assert model['Metadata']['Input Size'] == list(size)
        assert model['Metadata']['Batch Size'] == cfg.auto_scale_lr.base_batch_size
        assert model['Metadata']['Epochs'] == cfg.train_cfg.max_epochs


@pytest.mark.parametrize('python', ['3.10', '3.11', '3.12'])
def test_constraints_meet_the_requirements(python: str) -> None:
    known = [
        line
        for line in lines_of('constraints')
        if (marker := Requirement(line).marker) is None or marker.evaluate({'python_version': python})
    ]
    constraints = requirements(known)
    assert len(constraints) == len(known), 'a package is constrained twice'
    asked = [line for name in ('runtime', 'mminstall', 'openmmlab', 'tests') for line in lines_of(name)]
    met = 0
    for name, requirement in requirements(asked).items():
        for pin in constraints[name].specifier if name in constraints else ():
            if pin.operator == '==':
                assert requirement.specifier.contains(pin.version), f'{requirement} against {constraints[name]}'
                met += 1
    assert met >= 10


def test_scripts_parse() -> None:
    assert len(SCRIPTS) == 9
    for script in SCRIPTS:
        subprocess.run(['bash', '-n', str(script)], check=True)


def test_scripts_know_no_machine() -> None:
    for script in SCRIPTS:
        text = script.read_text()
        assert len(text.splitlines()) > 5
        assert not re.search(r'/(work|tmp|home|root|opt|mnt|Users|usr/local)/|index-url|find-links', text), script.name


@pytest.mark.parametrize(
    ('command', 'message'),
    [
        (['tools/run_tests.sh', '--flavour', 'nonsense'], "not 'nonsense'"),
        (['tools/run_tests.sh', '--flavour'], "not ''"),
        (['tools/dist_train.sh', 'config.py'], 'usage: bash tools/dist_train.sh CONFIG GPUS'),
        (['tools/dist_test.sh', 'config.py', 'weights.pth'], 'usage: bash tools/dist_test.sh CONFIG CHECKPOINT GPUS'),
        (['tools/slurm_train.sh', 'gpu'], 'usage: bash tools/slurm_train.sh PARTITION JOB CONFIG'),
        (
            ['tools/slurm_test.sh', 'gpu', 'job', 'config.py'],
            'usage: bash tools/slurm_test.sh PARTITION JOB CONFIG CHECKPOINT',
        ),
    ],
)
def test_a_wrong_call_is_answered_in_one_sentence(command: list[str], message: str) -> None:
    done = subprocess.run(['bash', *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def run_with_recorder(folder: Path, program: str, command: list[str], **environment: str) -> list[str]:
    """Runs a script with ``program`` replaced by one that prints its arguments; gives them back."""
    recorder = folder / program
    # A Python that is asked with -c is the real one, so that the script's own questions are answered.
    recorder.write_text(
        f'#!/bin/sh\nif [ "$1" = -c ]; then exec "{sys.executable}" "$@"; fi\necho "$OMP_NUM_THREADS"\nprintf "%s\\n" '
        '"$@"\n'
    )
    recorder.chmod(0o755)
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in {'PORT', 'NNODES', 'OMP_NUM_THREADS', 'GPUS', 'GPUS_PER_NODE'}
    }
    path = os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ['PATH']])
    done = subprocess.run(
        ['bash', *command],
        cwd=folder,
        env={**inherited, 'PATH': path, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_dist_train_on_one_machine(tmp_path: Path) -> None:
    script = str(ROOT / 'tools/dist_train.sh')
    threads, *arguments = run_with_recorder(tmp_path, 'python', [script, 'a config.py', '2', '--cfg-options', 'seed=1'])
    assert int(threads) >= 1
    assert arguments[:2] == ['-m', 'torch.distributed.run']
    options = dict(zip(arguments[2:12:2], arguments[3:12:2], strict=True))
    assert options['--nproc_per_node'] == '2'
    assert options['--nnodes'] == '1'
    assert 0 < int(options['--master_port']) < 65536
    assert arguments[12:] == [
        str(ROOT / 'tools/train.py'),
        'a config.py',
        '--launcher',
        'pytorch',
        '--cfg-options',
        'seed=1',
    ]


def test_dist_test_over_several_machines(tmp_path: Path) -> None:
    nodes = {'NNODES': '2', 'NODE_RANK': '1', 'MASTER_ADDR': 'first', 'OMP_NUM_THREADS': '3'}
    threads, *arguments = run_with_recorder(
        tmp_path, 'python', [str(ROOT / 'tools/dist_test.sh'), 'config.py', 'w.pth', '8'], **nodes
    )
    assert threads == '3'
    options = dict(zip(arguments[2:12:2], arguments[3:12:2], strict=True))
    expected = {
        '--nnodes': '2',
        '--node_rank': '1',
        '--nproc_per_node': '8',
        '--master_addr': 'first',
        '--master_port': '29500',
    }
    assert options == expected
    assert arguments[12:] == [str(ROOT / 'tools/test.py'), 'config.py', 'w.pth', '--launcher', 'pytorch']


@pytest.mark.parametrize(
    ('script', 'positional'),
    [('train', ['config.py']), ('test', ['config.py', 'w.pth'])],
)
def test_slurm(tmp_path: Path, script: str, positional: list[str]) -> None:
    command = [str(ROOT / f'tools/slurm_{script}.sh'), 'gpu', 'job', *positional, '--work-dir', 'out']
    _, *arguments = run_with_recorder(tmp_path, 'srun', command, GPUS='16', CPUS_PER_TASK='4', SRUN_ARGS='--qos high')
    text = ' '.join(arguments)
    for part in (
        '--partition gpu',
        '--job-name job',
        '--gres gpu:8',
        '--ntasks 16',
        '--ntasks-per-node 8',
        '--cpus-per-task 4',
        '--qos high',
    ):
        assert part in text
    assert text.endswith(f'tools/{script}.py {" ".join(positional)} --launcher slurm --work-dir out')


def bare_machine(folder: Path) -> dict[str, str]:
    """A copy of the launch scripts in ``folder`` and an environment whose Python knows no mmengine."""
    (folder / 'tools').mkdir()
    for script in ('environment.sh', 'dist_train.sh'):
        shutil.copy(ROOT / 'tools' / script, folder / 'tools')
    (folder / 'bin').mkdir()
    python = folder / 'bin/python'
    python.write_text('#!/bin/sh\nexit 1\n')
    python.chmod(0o755)
    inherited = {name: value for name, value in os.environ.items() if name != 'CMMASKSD_VENV'}
    return {**inherited, 'PATH': os.pathsep.join([str(python.parent), os.environ['PATH']])}


def test_a_bare_machine_is_told_what_to_do(tmp_path: Path) -> None:
    command = ['bash', str(tmp_path / 'tools/dist_train.sh'), 'config.py', '2']
    done = subprocess.run(command, env=bare_machine(tmp_path), capture_output=True, text=True)
    assert done.returncode != 0
    assert 'bash tools/quickstart.sh' in done.stderr


def test_jobs_find_the_environment_of_the_quick_start(tmp_path: Path) -> None:
    environment = bare_machine(tmp_path)
    python = tmp_path / '.venv/onedl/bin/python'
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$@" "$PYTHONPATH"\n')
    python.chmod(0o755)
    command = ['bash', str(tmp_path / 'tools/dist_train.sh'), 'config.py', '2']
    done = subprocess.run(command, env={**environment, 'PORT': '29501'}, capture_output=True, text=True, check=True)
    assert done.stdout.startswith('-m torch.distributed.run')
    assert f'{tmp_path}/tools/train.py config.py --launcher pytorch' in done.stdout
    assert str(tmp_path) in done.stdout.split()[-1]
