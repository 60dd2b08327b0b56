"""Precision, everywhere people run models."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from cmmasksd.apis import ReferringInferencer, init_model
from cmmasksd.apis.bulk.predictor import ReferringPredictor
from cmmasksd.apis.mm_inferencer import MMReferringInferencer
from cmmasksd.cli.doors import main
from tests.published_models import make_config, save_checkpoint

PICTURE = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)


@pytest.fixture(scope='module')
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cfg, path = make_config(), tmp_path_factory.mktemp('run') / 'epoch_1.pth'
    save_checkpoint(cfg, path)
    cfg.dump(str(path.with_name('config.py')))
    return path


def test_it_is_the_models_own_unless_it_is_asked_for(weights: Path) -> None:
    cfg = make_config()
    assert ReferringInferencer(cfg, weights, 'cpu').model.precision == 'float32'
    cfg.model.precision = 'bfloat16'
    assert ReferringInferencer(cfg, weights, 'cpu').model.precision == 'bfloat16'
    assert ReferringInferencer(cfg, weights, 'cpu', precision='float32').model.precision == 'float32'


@pytest.mark.parametrize('precision', ['bfloat16', 'float16'])
def test_half_the_bits_answer_nearly_the_same(weights: Path, precision: str) -> None:
    exact = ReferringInferencer(make_config(), weights, 'cpu')(PICTURE, 'left zebra')[0].probabilities
    found = ReferringInferencer(make_config(), weights, 'cpu', precision)(PICTURE, 'left zebra')[0].probabilities
    difference = np.abs(found - exact).max()
    assert 0 < difference < 0.03


def test_every_door_takes_it(weights: Path) -> None:
    opened = [
        init_model(make_config(), weights, 'cpu', precision='bfloat16'),
        init_model(make_config(), weights, 'cpu', {'model.threshold': 0.5}, precision='bfloat16'),
        MMReferringInferencer(make_config(), weights, 'cpu', precision='bfloat16').model,
        ReferringPredictor(weights, make_config(), device='cpu', precision='bfloat16')._inferencer.model,
    ]
    assert [model.precision for model in opened] == ['bfloat16'] * len(opened)
    with pytest.raises(ValueError, match='precision'):
        init_model(make_config(), weights, 'cpu', precision='half')


def test_the_command_takes_it(weights: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / 'a.png'), PICTURE)
    rows = [dict(image='a.png', sentences=['left zebra'])] * 2
    (tmp_path / 'table.jsonl').write_text('\n'.join(map(json.dumps, rows)))
    given = ['--weights', weights, '--config', weights.with_name('config.py'), '--device', 'cpu', '--cache', '1']
    scores = {}
    for precision in ('float32', 'bfloat16'):
        out = tmp_path / precision
        command = ['segment', '--table', tmp_path / 'table.jsonl', *given, '--precision', precision, '--out-dir', out]
        main([str(each) for each in command])
        answers = [json.loads(line)['objects'][0]['score'] for line in (out / 'table.jsonl').read_text().splitlines()]
        assert len(answers) == 2 and answers[0] == answers[1]
        scores[precision] = answers[0]
    assert scores['float32'] == pytest.approx(scores['bfloat16'], abs=0.03)
