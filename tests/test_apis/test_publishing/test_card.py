"""The card says what was measured of these weights, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from cmmasksd.apis.publishing import write_published
from cmmasksd.published import PublishedError
from tests.published_models import make_config, save_checkpoint

RUN = '20260101_000000'


def publish(tmp_path: Path, results: Path | None = None, license: str | None = None, **meta: Any) -> tuple[dict, str]:
    cfg = make_config()
    save_checkpoint(cfg, tmp_path / 'epoch_2.pth', experiment_name=f'mine_{RUN}', **meta)
    folder = write_published(tmp_path / 'epoch_2.pth', tmp_path / 'model', cfg, results, license)
    _, header, body = (folder / 'README.md').read_text().split('---\n', 2)
    assert ModelCard.load(folder / 'README.md').data.library_name == 'cmmasksd'
    return yaml.safe_load(header), body


def log(tmp_path: Path, run: str, *lines: dict[str, Any]) -> None:
    folder = tmp_path / run / 'vis_data'
    folder.mkdir(parents=True)
    (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)) + '\n{"mIoU": 99, "st')


def test_without_measurements_there_are_no_numbers(tmp_path: Path) -> None:
    header, body = publish(tmp_path, epoch=2, iter=12, train_loop='EpochBasedTrainLoop')
    assert 'model-index' not in header and header['license'] == 'unknown'
    assert 'None were measured' in body and '| mIoU' not in body
    assert 'Trained on mine.' in body and 'from_pretrained' in body and 'Intended use' in body


@pytest.mark.parametrize(('loop', 'value'), [('EpochBasedTrainLoop', 42.5), ('IterBasedTrainLoop', 63.25)])
def test_the_validation_of_its_own_step_is_told(tmp_path: Path, loop: str, value: float) -> None:
    log(tmp_path, '20250101_000000', dict(mIoU=98.0, step=2), dict(mIoU=97.0, step=12))  # another run
    lines = [dict(loss=1.0, step=2), dict(mIoU=11.0, step=1), dict(mIoU=42.5, oIoU=None, num_expressions=26, step=2)]
    log(tmp_path, RUN, *lines, dict(mIoU=63.25, step=12), dict(mIoU=77.0, step=3))
    header, body = publish(tmp_path, license='apache-2.0', epoch=2, iter=12, train_loop=loop)
    (result,) = header['model-index'][0]['results']
    assert result['dataset'] == dict(type='mine', name='mine', split='val')
    assert result['metrics'] == [dict(type='mIoU', value=value)]
    assert f'| val | {value:.2f} |' in body and 'oIoU' not in body and header['license'] == 'apache-2.0'


def test_the_validation_of_another_epoch_is_not_told(tmp_path: Path) -> None:
    log(tmp_path, RUN, dict(mIoU=42.5, step=1), dict(mIoU=43.5, step=3))
    header, _ = publish(tmp_path, epoch=2, iter=12, train_loop='EpochBasedTrainLoop')
    assert 'model-index' not in header


def test_a_test_is_told_by_split(tmp_path: Path) -> None:
    results = {'val/mIoU': 50.126, 'val/num_expressions': 26, 'testA/mIoU': 60.0, 'testA/Pr@0.5': 70.0,
               'testB/mIoU': None, 'testB/num_expressions': 3}  # fmt: skip
    (tmp_path / 'test.json').write_text(json.dumps(results))
    header, body = publish(tmp_path, tmp_path / 'test.json')
    assert [each['dataset']['split'] for each in header['model-index'][0]['results']] == ['val', 'testA']
    assert '| val | 50.13 |  | 26 |' in body and '| testA | 60.00 | 70.00 |  |' in body and 'testB' not in body


@pytest.mark.parametrize('text', ['', '[1]', '{"loss": 1}', '{"val/mIoU": null}', '{"val/mIoU": "high"}'])
def test_what_is_no_result_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / 'test.json').write_text(text)
    with pytest.raises(PublishedError, match='test.json holds no .*: give what tools/test.py --out wrote'):
        publish(tmp_path, tmp_path / 'test.json')
    assert not (tmp_path / 'model').exists()
