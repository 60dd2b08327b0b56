"""Configs are found by name, by mmengine's ``cmmasksd::...`` too."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.infer import BaseInferencer

from cmmasksd.apis.running import prepare_config
from cmmasksd.registry import DATA_SAMPLERS, FUNCTIONS, MODELS
from cmmasksd.shipped import HOME, find_config, list_models, open_config
from tests.shipped_configs import CONFIGS

ROOT = Path(__file__).resolve().parents[1]
LEAF = 'configs/cm_masksd/vit-b_refcoco.py'
FORMS = {
    'plain': "'cmmasksd::cm_masksd/vit-tiny_refshapes.py'",
    'whoever reads it': "__import__('cmmasksd.registry') and 'cmmasksd::cm_masksd/vit-tiny_refshapes.py'",
    'path': "__import__('cmmasksd.shipped').shipped.find_config('vit-tiny_refshapes')",
}


def test_every_shipped_config_has_a_name_of_its_own() -> None:
    assert len(CONFIGS) > 30
    assert list_models() == sorted(Path(name).stem for name in CONFIGS)
    for name in CONFIGS:
        assert Path(find_config(Path(name).stem)).samefile(ROOT / 'configs' / name)


def test_models_are_listed_by_a_part_of_the_name_or_a_pattern() -> None:
    expected = [f'{peer}vit-l_{data}' for peer in ('', 'detris_') for data in ('refcoco', 'refcoco+', 'refcocog')]
    assert list_models('vit-l_refcoco_') == ['vit-l_refcoco_fsdp']
    assert list_models('vit-l_') == sorted([*expected, 'vit-l_refcoco_fsdp'])
    assert list_models('vit-l_refcoco?') == [name for name in list_models('vit-l_') if not name.endswith('refcoco')]
    assert list_models('no such') == []


@pytest.mark.parametrize(
    'name',
    ['vit-b_refcoco', 'vit-b_refcoco.py', 'cm_masksd/vit-b_refcoco', LEAF, 'cmmasksd::cm_masksd/vit-b_refcoco.py'],
)
def test_a_shipped_config_is_found_from_any_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Path(find_config(name)).samefile(ROOT / LEAF)


def test_a_file_goes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('HOME', str(tmp_path))
    Path('vit-b_refcoco').write_text('')
    assert find_config('vit-b_refcoco') == 'vit-b_refcoco'
    assert find_config(tmp_path / 'vit-b_refcoco') == find_config('~/vit-b_refcoco') == str(tmp_path / 'vit-b_refcoco')


@pytest.mark.parametrize('name', ['vit-b_refcco', 'mine/vit-b_refcoco.py', '/configs/vit-b_refcoco.py', 'configs'])
def test_a_name_that_is_none_is_answered_with_those_near_it(name: str) -> None:
    with pytest.raises(FileNotFoundError, match=f'^{name}: no such file.* a name such as .*vit-b_refcoco'):
        find_config(name)


@pytest.mark.parametrize('name', ['', 'nothing like it', 'refcoco', '_base_/datasets/refcoco.py'])
def test_bases_and_nonsense_are_no_models(name: str) -> None:
    with pytest.raises(FileNotFoundError, match=r'no shipped config has that name.*list_models\(\) gives all'):
        find_config(name)


def test_what_is_no_path_is_refused() -> None:
    with pytest.raises(TypeError, match='must be a path, a name such as vit-b_refcoco, or a Config; got 3'):
        find_config(3)  # type: ignore[arg-type]


@pytest.mark.parametrize('form', FORMS)
def test_a_config_elsewhere_is_based_on_a_shipped_one(form: str, tmp_path: Path) -> None:
    (tmp_path / 'mine.py').write_text(f'_base_ = {FORMS[form]}\nmodel = dict(threshold=0.4)\n')
    cfg = open_config(tmp_path / 'mine.py')
    assert cfg.model.threshold == 0.4
    assert cfg.model.pop('_scope_', None) == (None if form == 'path' else 'cmmasksd')
    shipped = open_config('vit-tiny_refshapes').model
    assert {**cfg.model, 'threshold': None} == {**shipped, 'threshold': None}


def test_a_borrowed_base_builds_in_another_project(tmp_path: Path) -> None:
    (tmp_path / 'mine.py').write_text(f"_base_ = {FORMS['plain']}\ndefault_scope = 'mmengine'\n")
    model = MODELS.build(Config.fromfile(tmp_path / 'mine.py').model)
    assert type(model).__name__ == 'ReferringSegmentor'


def test_checks_and_loaders_take_the_scope_that_mmengine_writes(tmp_path: Path) -> None:
    (tmp_path / 'mine.py').write_text(f'_base_ = {FORMS["plain"]}\n')
    cfg = open_config(tmp_path / 'mine.py')
    assert cfg.train_cfg._scope_ == 'cmmasksd'
    prepare_config(cfg)
    options = dict(cfg.train_dataloader.collate_fn)
    collate = FUNCTIONS.get(options.pop('type'))
    assert options == dict(_scope_='cmmasksd')
    assert collate([dict(text='red')], **options) == dict(text=['red'])


@pytest.mark.parametrize('form', ['whoever reads it', 'path'])
def test_a_reader_that_does_not_know_us_is_told_by_the_base(form: str, tmp_path: Path) -> None:
    (tmp_path / 'mine.py').write_text(f'_base_ = {FORMS[form]}\n')
    site = tmp_path / 'site'  # the package without its metadata, which lies elsewhere in an editable install
    site.mkdir()
    (site / 'cmmasksd').symlink_to(ROOT / 'cmmasksd')
    code = "from mmengine.config import Config; print(Config.fromfile('mine.py').model.decode_head.type)"
    environment = {**os.environ, 'PYTHONPATH': str(site)}
    command = [sys.executable, '-c', code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == 'VisionLanguageDecodeHead'


def test_mmengine_lists_our_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert 'vit-b_refcoco' in BaseInferencer.list_models('cmmasksd')


def test_registries_that_hold_nothing_of_ours_say_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """mmengine warns of a package in its table whose registry has no location."""
    assert DATA_SAMPLERS.get('InfiniteSampler') is not None
    assert not caplog.records


def test_the_module_prints_where_a_file_lies(tmp_path: Path) -> None:
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}

    def ask(name: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, '-m', 'cmmasksd.shipped', name]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    assert ask('tools/train.py').stdout == f'{HOME / "tools/train.py"}\n'
    assert Path(ask('vit-l_refcoco+').stdout.strip()).samefile(ROOT / 'configs/cm_masksd/vit-l_refcoco+.py')
    lost = ask('tools/trian.py')
    assert lost.returncode == 2
    assert lost.stderr.splitlines()[-1].startswith('python -m cmmasksd.shipped: error: tools/trian.py: no such file')
