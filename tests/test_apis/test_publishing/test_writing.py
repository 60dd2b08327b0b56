"""From a checkpoint to a folder, and back: bit by bit, with nothing of training and of this machine."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from safetensors import safe_open

from cmmasksd.apis import ReferringInferencer, init_model
from cmmasksd.apis.publishing import use_published, write_published
from cmmasksd.checkpoints import CheckpointError
from cmmasksd.published import PublishedError, read_published
from cmmasksd.registry import MODELS
from tests.published_models import architecture, make_config, save_checkpoint, write_config

ASKED = ['left zebra', 'the tree']


def publish(cfg: Config, tmp_path: Path, **options: Any) -> Path:
    save_checkpoint(cfg, tmp_path / 'epoch_1.pth')
    return write_published(tmp_path / 'epoch_1.pth', tmp_path / 'model', cfg, **options)


def answers(inferencer: ReferringInferencer) -> np.ndarray:
    picture = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    return inferencer(picture, ASKED)[0].probabilities


def test_the_round_trip_is_exact(tmp_path: Path) -> None:
    cfg = make_config()
    trained = save_checkpoint(cfg, tmp_path / 'epoch_1.pth')
    folder = write_published(tmp_path / 'epoch_1.pth', tmp_path / 'model', cfg)
    inferencer = ReferringInferencer.from_pretrained(folder, device='cpu')
    own, state = inferencer.model.state_dict(), trained.state_dict()
    assert own.keys() == {name for name in state if not name.startswith('distillation.')} < state.keys()
    assert all(own[name].equal(state[name]) and own[name].dtype == state[name].dtype for name in own)
    before = ReferringInferencer(cfg, tmp_path / 'epoch_1.pth', device='cpu')
    assert inferencer.model.threshold == before.model.threshold == 0.25
    assert np.array_equal(answers(inferencer), answers(before))
    assert np.array_equal(answers(ReferringInferencer(str(folder), device='cpu')), answers(before))
    assert np.array_equal(answers(ReferringInferencer.from_model(init_model(folder, device='cpu'))), answers(before))
    with pytest.raises(ValueError, match=r'taken as it is: leave out model.threshold'):
        init_model(folder, device='cpu', cfg_options={'model.threshold': 0.5})


def test_a_folder_holds_three_plain_files(tmp_path: Path) -> None:
    folder = publish(make_config(), tmp_path)
    assert {path.name for path in folder.iterdir()} == {'README.md', 'config.json', 'model.safetensors'}
    assert len({stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}) == 1
    with safe_open(folder / 'model.safetensors', 'pt') as file:
        assert file.metadata()['format'] == 'pt' and 'cmmasksd' in file.metadata()
    text = (folder / 'config.json').read_text()
    assert list(json.loads(text)) == ['format_version', 'cmmasksd_version', 'threshold', 'model', 'pipeline']
    for absent in ('secret', 'distillation', 'loss_decode', 'LMVSD', str(tmp_path)):
        assert absent not in text + (folder / 'README.md').read_text()
    assert not list(tmp_path.glob('.model*'))


def test_clip_is_neither_fetched_nor_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = make_config()
    save_checkpoint(cfg, tmp_path / 'epoch_1.pth')
    cfg.model.backbone.pretrained = cfg.model.text_encoder.pretrained = 'openai'
    monkeypatch.setattr('open_clip.pretrained.download_pretrained', None)
    folder = write_published(tmp_path / 'epoch_1.pth', tmp_path / 'model', cfg)
    assert 'openai' not in (folder / 'config.json').read_text()
    assert ReferringInferencer.from_pretrained(folder, device='cpu').model.backbone.pretrained is None


def test_an_architecture_of_a_folder_is_written_out(tmp_path: Path) -> None:
    (tmp_path / 'clip').mkdir()
    (tmp_path / 'clip/open_clip_config.json').write_text(json.dumps(dict(model_cfg=architecture())))
    cfg = make_config()
    cfg.model.backbone.architecture = cfg.model.text_encoder.architecture = f'local-dir:{tmp_path}/clip'
    content = json.loads((publish(cfg, tmp_path) / 'config.json').read_text())
    assert content['model']['backbone']['architecture'] == architecture()


def test_a_published_model_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    folder = publish(make_config(), tmp_path)
    (folder / 'tokenizer').mkdir()
    assert publish(make_config(), tmp_path) == folder and not (folder / 'tokenizer').exists()
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine/thesis.tex').write_text('years')
    (tmp_path / 'file').write_text('years')
    for taken in ('mine', 'file'):
        with pytest.raises(PublishedError, match=f'{taken} is there already and no published model'):
            write_published(tmp_path / 'epoch_1.pth', tmp_path / taken, make_config())
    (tmp_path / 'empty').mkdir()
    assert write_published(tmp_path / 'epoch_1.pth', tmp_path / 'empty', make_config()).name == 'empty'


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            {'model.neck': dict(type='mmseg.FPN')},
            "model.neck.type is 'mmseg.FPN', .* give others the config and --form",
        ),
        ({'model.neck.type': 'StrangersNeck'}, "model.neck.type is 'StrangersNeck'"),
        ({'model.neck.extra': 1}, 'model.neck.extra is unknown to CrossModalFPN'),
        ({'model.neck.out_channels': (8, 16, 64)}, 'epoch_1.pth does not hold .* give --config, the one that it was'),
        ({'model.neck.in_channels': 'wide'}, 'model cannot be built of its config.json'),
        ({'model.neck.out_channels': {1, 2}}, 'model holds what JSON cannot'),
        ({'model.threshold': float('nan')}, 'model holds what JSON cannot'),
        ({'model': None}, 'has no model: give the config'),
        ({'test_dataloader': None}, 'has no test_dataloader.dataset.pipeline'),
    ],
)
def test_what_cannot_travel_is_not_published(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    if 'StrangersNeck' not in MODELS.module_dict:
        MODELS.register_module(name='StrangersNeck', module=type('StrangersNeck', (torch.nn.Module,), {}))
    cfg = make_config()
    save_checkpoint(cfg, tmp_path / 'epoch_1.pth')
    cfg.merge_from_dict({name: value for name, value in options.items() if '.' in name})
    cfg._cfg_dict.update({name: value for name, value in options.items() if '.' not in name})
    with pytest.raises(PublishedError, match=message):
        write_published(tmp_path / 'epoch_1.pth', tmp_path / 'model', cfg)
    assert {path.name for path in tmp_path.iterdir()} == {'epoch_1.pth'}


def test_the_run_says_its_config(tmp_path: Path) -> None:
    cfg = make_config()
    run = tmp_path / '20260101_000000/vis_data'
    run.mkdir(parents=True)
    save_checkpoint(cfg, tmp_path / 'epoch_1.pth', experiment_name='mine_20260101_000000')
    with pytest.raises(PublishedError, match='holds no config: give --config, the one that epoch_1.pth was trained'):
        write_published(tmp_path / 'epoch_1.pth', tmp_path / 'model')
    write_config(cfg, tmp_path / 'a.py')
    assert write_published(tmp_path / 'epoch_1.pth', tmp_path / 'model')
    write_config(cfg, tmp_path / 'b.py')
    with pytest.raises(PublishedError, match=r'holds 2 configs \(a.py, b.py\): give --config'):
        write_published(tmp_path / 'epoch_1.pth', tmp_path / 'model')
    cfg.model.threshold = 0.75
    write_config(cfg, run / 'config.py')
    folder = write_published(tmp_path / 'epoch_1.pth', tmp_path / 'model')
    assert read_published(folder).config.model.threshold == 0.75


def test_only_a_checkpoint_is_published(tmp_path: Path) -> None:
    torch.save({'decode_head.weight': torch.zeros(1)}, tmp_path / 'plain.pth')
    with pytest.raises(PublishedError, match='plain.pth has no state_dict'):
        write_published(tmp_path / 'plain.pth', tmp_path / 'model', make_config())
    with pytest.raises(CheckpointError, match='absent.pth does not exist'):
        write_published(tmp_path / 'absent.pth', tmp_path / 'model', make_config())


def test_a_published_model_is_tested_on_the_data_of_a_config(tmp_path: Path) -> None:
    folder = publish(make_config(token_length=11), tmp_path)
    cfg = make_config()
    cfg.model.threshold = 0.9
    use_published(cfg, folder)
    assert cfg.model.threshold == 0.25 and cfg.load_from == os.path.join(folder, 'model.safetensors')
    dataset = cfg.test_dataloader.dataset
    assert dataset.dataset == 'mine' and dataset.pipeline[4].token_length == 11
