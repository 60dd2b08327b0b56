import os
import subprocess
import sys
import zipfile
from collections import Counter
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import numpy as np
import pytest
import torch
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import CheckpointLoader, Runner, load_checkpoint
from torch import nn
from torch.utils.data import Dataset

from cmmasksd.checkpoints import (
    CheckpointError,
    check_weights,
    load_checkpoint_file,
    load_weights,
    register_safe_loader,
)
from cmmasksd.checkpoints.clip_weights import load_clip_state_dict


class Trap:
    """Unpickled as usual, it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


# --- a real training checkpoint ---------------------------------------------------------------------------------------


class Numbers(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return dict(inputs=torch.full((3,), float(index)))


class Tiny(BaseModel):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))

    def forward(self, inputs, mode='tensor'):
        return dict(loss=self.layers(torch.stack(inputs)).square().mean() + self.layers[0].weight.abs().mean())


def make_runner(work_dir, epochs, hooks=('EMAHook',), **options):
    return Runner(
        model=Tiny(),
        work_dir=str(work_dir),
        train_dataloader=dict(batch_size=2, dataset=Numbers(), sampler=dict(type='DefaultSampler', shuffle=True)),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=0.1)),
        param_scheduler=[
            dict(type='LinearLR', begin=0, end=1),
            dict(type='CosineAnnealingLR', T_max=4),
            dict(type='PolyLR', end=4),
        ],
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        custom_hooks=[dict(type=hook) for hook in hooks],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
        randomness=dict(seed=3),
        experiment_name=f'{work_dir.name}_{epochs}_{len(options)}',
        **options,
    )


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    runner = make_runner(tmp_path_factory.mktemp('trained'), epochs=2)
    runner.train()
    return runner


def last_checkpoint(runner):
    return os.path.join(runner.work_dir, 'epoch_2.pth')


def test_a_training_checkpoint_of_mmengine_is_read_whole(trained):
    statistics = dict(HistoryBuffer._statistics_methods)
    checkpoint = load_checkpoint_file(last_checkpoint(trained))
    assert {'meta', 'state_dict', 'ema_state_dict', 'message_hub', 'optimizer', 'param_schedulers'} <= checkpoint.keys()
    losses = checkpoint['message_hub']['log_scalars']['train/loss']
    assert type(losses) is HistoryBuffer
    np.testing.assert_array_equal(losses.data[0], trained.message_hub.get_scalar('train/loss').data[0])
    assert losses.statistics('mean', 2) == losses.mean(2)
    losses.update(1.0)
    assert HistoryBuffer._statistics_methods == statistics


def test_resume_continues_the_run(trained, tmp_path):
    runner = make_runner(tmp_path, epochs=2, load_from=last_checkpoint(trained), resume=True)
    runner.train()  # all epochs are done: loads, and no more
    assert (runner.epoch, runner.iter) == (2, 4)
    for name, value in trained.model.state_dict().items():
        torch.testing.assert_close(runner.model.state_dict()[name], value, rtol=0, atol=0)
    runner = make_runner(tmp_path, epochs=3, load_from=last_checkpoint(trained), resume=True)
    runner.train()
    assert (runner.epoch, runner.iter) == (3, 6)
    resaved = load_checkpoint_file(tmp_path / 'epoch_3.pth')  # what was read can be saved and read again
    assert len(resaved['message_hub']['log_scalars']['train/loss'].data[0]) == 6


def test_load_from_and_load_checkpoint_use_the_safe_loader(trained, tmp_path):
    runner = make_runner(tmp_path, epochs=1, hooks=(), load_from=last_checkpoint(trained))
    runner.load_or_resume()
    model = Tiny()
    load_checkpoint(model, last_checkpoint(trained), map_location='cpu', strict=True)
    for name, value in load_checkpoint_file(last_checkpoint(trained))['state_dict'].items():
        torch.testing.assert_close(runner.model.state_dict()[name], value, rtol=0, atol=0)
        torch.testing.assert_close(model.state_dict()[name], value, rtol=0, atol=0)


# --- strangers' files -------------------------------------------------------------------------------------------------


def test_a_malicious_checkpoint_is_refused_everywhere_and_runs_nothing(tmp_path):
    trap, path = tmp_path / 'sprung', tmp_path / 'evil.pth'
    torch.save(dict(state_dict=Tiny().state_dict(), extra=Trap(trap)), path)
    reads = (
        lambda: load_checkpoint_file(path),
        lambda: load_clip_state_dict(path),
        lambda: load_checkpoint(Tiny(), str(path)),
        lambda: make_runner(tmp_path, epochs=1, load_from=str(path), resume=True).load_or_resume(),
        lambda: make_runner(tmp_path, epochs=2, load_from=str(path)).load_or_resume(),
    )
    for read in reads:
        with pytest.raises(
            CheckpointError, match='evil.pth was refused and nothing in it was run: it asks for (io|builtins|_io).open'
        ):
            read()
    assert not trap.exists()
    torch.load(path, weights_only=False)['extra'].close()
    assert trap.exists(), 'the trap itself does not work'


def test_no_environment_variable_switches_the_safety_off(tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    trap, path = tmp_path / 'sprung', tmp_path / 'evil.pth'
    torch.save(Trap(trap), path)
    with pytest.raises(CheckpointError, match='refused'):
        load_checkpoint_file(path)
    assert not trap.exists()


class Call:
    """Pickles as a call of ``function`` with ``arguments``."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


REACHING = {
    'getattr beyond HistoryBuffer': Call(getattr, torch.Tensor, 'numpy'),
    'getattr beyond the statistics': Call(getattr, HistoryBuffer, '__init__'),
    'array as large as one likes': Call(np._core.multiarray._reconstruct, np.ndarray, (2**40,), b'b'),
    'array of objects': np.array([1, 'a'], dtype=object),
}


@pytest.mark.parametrize('name', REACHING)
def test_allowed_names_reach_no_further_than_a_checkpoint_needs(tmp_path, name):
    torch.save(dict(state_dict={}, extra=REACHING[name]), tmp_path / 'reaching.pth')
    with pytest.raises(CheckpointError, match='reaching.pth was refused'):
        load_checkpoint_file(tmp_path / 'reaching.pth')


def test_a_checkpoint_cannot_replace_mmengines_statistics(tmp_path):
    buffer = HistoryBuffer([1.0, 3.0], [1, 1])
    before = dict(HistoryBuffer._statistics_methods)
    HistoryBuffer._statistics_methods['mean'] = 'not a method'
    torch.save(dict(buffer=buffer), tmp_path / 'statistics.pth')
    HistoryBuffer._statistics_methods.update(before)
    assert load_checkpoint_file(tmp_path / 'statistics.pth')['buffer'].statistics('mean') == 2
    assert HistoryBuffer._statistics_methods == before


NOT_WEIGHTS = {
    'empty': (b'', 'is empty'),
    'web page': (b'\n<!DOCTYPE html><html>Sign in</html>', 'is a web page'),
    'git-lfs': (b'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n', 'git lfs pull'),
    'text': (b'hello there', 'is no checkpoint'),
    'pickle that ends': (b'\x80\x02}', 'damaged or cut off'),
    'zip that ends': (b'PK\x03\x04 and then nothing', 'cut off or damaged'),
    'safetensors that ends': (b'\x40\0\0\0\0\0\0\0{"a"', 'no safetensors'),
}


@pytest.mark.parametrize('name', NOT_WEIGHTS)
@pytest.mark.parametrize('read', [load_checkpoint_file, load_clip_state_dict])
def test_files_that_are_no_weights(tmp_path, name, read):
    content, message = NOT_WEIGHTS[name]
    (tmp_path / 'model.pth').write_bytes(content)
    with pytest.raises(CheckpointError, match=f'model.pth .*{message}'):
        read(tmp_path / 'model.pth')


def test_truncated_checkpoints(trained, tmp_path):
    with open(last_checkpoint(trained), 'rb') as file:
        content = file.read()
    path = tmp_path / 'cut.pth'
    lengths = [1, 30, len(content) // 3, len(content) // 2, len(content) - 1]
    for length in lengths:
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match='cut.pth'):
            load_checkpoint_file(path)


def test_a_compressed_archive_could_unfold_to_any_size(tmp_path):
    torch.save(dict(a=torch.zeros(100_000)), tmp_path / 'plain.pth')
    with (
        zipfile.ZipFile(tmp_path / 'plain.pth') as plain,
        zipfile.ZipFile(tmp_path / 'bomb.pth', 'w', zipfile.ZIP_DEFLATED) as bomb,
    ):
        for record in plain.infolist():
            bomb.writestr(record.filename, plain.read(record))
    with pytest.raises(CheckpointError, match='bomb.pth is a zip archive, but not one that torch wrote'):
        load_checkpoint_file(tmp_path / 'bomb.pth')


def test_paths_that_are_no_files(tmp_path):
    with pytest.raises(CheckpointError, match='nowhere.pth does not exist'):
        load_checkpoint_file(tmp_path / 'nowhere.pth')
    with pytest.raises(CheckpointError, match='is a folder'):
        load_checkpoint_file(tmp_path)
    torch.save([1, 2], tmp_path / 'list.pth')
    with pytest.raises(CheckpointError, match='holds a list, but a checkpoint is a dict'):
        load_checkpoint_file(tmp_path / 'list.pth')


# --- mmengine's schemes -----------------------------------------------------------------------------------------------


def test_every_scheme_of_mmengine_is_ours_or_refused():
    loaders = Counter(loader.__module__ for loader in CheckpointLoader._schemes.values())
    assert set(loaders) == {'cmmasksd.checkpoints.reading'} and loaders.total() >= 8
    for name in (
        's3://bucket/a.pth',
        'openmmlab://res50',
        'torchvision://resnet18',
        'mmcls://x',
        'pavi://x',
        'ftp://host/a.pth',
    ):
        with pytest.raises(CheckpointError, match='local files and http'):
            CheckpointLoader.load_checkpoint(name)


def test_a_users_own_reader_is_left_alone(monkeypatch):
    monkeypatch.setattr(CheckpointLoader, '_schemes', dict(CheckpointLoader._schemes))
    CheckpointLoader.register_scheme('mine://', lambda filename, map_location: 'mine')
    register_safe_loader()
    assert CheckpointLoader.load_checkpoint('mine://a.pth') == 'mine'


FOREIGN_CONFIG = """
custom_imports = dict(imports=['cmmasksd.registry'], allow_failed_imports=False)
model = dict(type='BaseDataPreprocessor')
work_dir = {work_dir!r}
custom_hooks = [dict(type='cmmasksd.StrictLoadHook')]
load_from = {checkpoint!r}
"""


def test_another_projects_pipeline_that_uses_ours_loads_safely(tmp_path):
    """In a process of its own, as with mmseg's tools: a config that names one type of ours, and no call of ours."""
    trap, evil, config = tmp_path / 'sprung', tmp_path / 'evil.pth', tmp_path / 'config.py'
    torch.save(dict(state_dict={}, extra=Trap(trap)), evil)
    config.write_text(FOREIGN_CONFIG.format(work_dir=str(tmp_path), checkpoint=str(evil)))
    code = (
        'import sys; from mmengine.config import Config; from mmengine.runner import Runner; '
        'Runner.from_cfg(Config.fromfile(sys.argv[1])).load_or_resume()'
    )
    done = subprocess.run([sys.executable, '-c', code, str(config)], capture_output=True, text=True)
    assert (
        done.returncode != 0
        and 'CheckpointError' in done.stderr
        and 'evil.pth was refused and nothing in it was run' in done.stderr
    )
    assert not trap.exists()


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A web server that hands out the files of ``tmp_path / 'served'`` and counts the requests; torch.hub's folder is
    put aside.
    """
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    (tmp_path / 'served').mkdir()
    requests = Counter()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            requests[self.path] += 1
            path = tmp_path / 'served' / self.path.strip('/')
            content = path.read_bytes() if path.is_file() else b''
            self.send_response(200 if content else 404)
            self.send_header('Content-Length', str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    web = HTTPServer(('127.0.0.1', 0), Handler)
    Thread(target=web.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{web.server_port}', requests
    web.shutdown()
    web.server_close()


def test_web_addresses_are_downloaded_once_and_read_safely(tmp_path, server):
    address, requests = server
    trap = tmp_path / 'sprung'
    torch.save(dict(state_dict=dict(a=torch.arange(3))), tmp_path / 'served' / 'good.pth')
    torch.save(dict(a=Trap(trap)), tmp_path / 'served' / 'evil.pth')
    for _ in range(2):
        checkpoint = CheckpointLoader.load_checkpoint(f'{address}/good.pth', map_location='cpu')
        assert checkpoint['state_dict']['a'].tolist() == [0, 1, 2]
    assert requests['/good.pth'] == 1
    with pytest.raises(CheckpointError, match='evil.pth was refused'):
        CheckpointLoader.load_checkpoint(f'{address}/evil.pth')
    assert not trap.exists()
    with pytest.raises(CheckpointError, match='nothing.pth could not be downloaded'):
        CheckpointLoader.load_checkpoint(f'{address}/nothing.pth')
    with pytest.raises(CheckpointError, match='names no file'):
        CheckpointLoader.load_checkpoint(f'{address}/')


# --- our own weights, wrapped -----------------------------------------------------------------------------------------

WRAPPED = {
    'model': lambda weights: dict(model=weights, epoch=3),
    'model_state_dict': lambda weights: dict(model_state_dict=weights, optimizer_state_dict={}),
    'state_dict_ema': lambda weights: dict(state_dict_ema=weights),
    'an entry in an entry': lambda weights: dict(model=dict(state_dict=weights), epoch=3),
    'torch.compile': lambda weights: {f'_orig_mod.{name}': value for name, value in weights.items()},
    'torch.compile of a part': lambda weights: {
        name.replace('layers.', 'layers._orig_mod.'): value for name, value in weights.items()
    },
    'both wrappers': lambda weights: dict(
        state_dict={f'module._orig_mod.{name}': value for name, value in weights.items()}
    ),
    'an averaged model': lambda weights: dict(
        model={'n_averaged': torch.tensor(3), **{f'module.{name}': value for name, value in weights.items()}}
    ),
}


@pytest.mark.parametrize('form', WRAPPED)
def test_wrapped_weights_are_loaded_by_us_and_by_mmengine(tmp_path, form):
    weights = Tiny().state_dict()
    torch.save(WRAPPED[form](weights), tmp_path / 'wrapped.pth')
    models = [Tiny(), Tiny()]
    load_weights(models[0], load_checkpoint_file(tmp_path / 'wrapped.pth'), 'wrapped.pth')
    load_checkpoint(models[1], str(tmp_path / 'wrapped.pth'))  # not strict: names that are unknown would be left out
    for model in models:
        for name, value in model.state_dict().items():
            torch.testing.assert_close(value, weights[name], rtol=0, atol=0)


def test_what_is_no_weights_stays_as_it_is(tmp_path):
    content = dict(state_dict=Tiny().state_dict(), model='a name', meta=dict(epoch=1), ema=[1, 2])
    torch.save(content, tmp_path / 'checkpoint.pth')
    read = load_checkpoint_file(tmp_path / 'checkpoint.pth')
    assert (
        list(read) == ['model', 'meta', 'ema', 'state_dict'] and read['state_dict'].keys() == Tiny().state_dict().keys()
    )
    assert {key: read[key] for key in ('model', 'meta', 'ema')} == {
        key: content[key] for key in ('model', 'meta', 'ema')
    }


@pytest.mark.parametrize(
    ('names', 'message'),
    [
        (['visual.proj', 'token_embedding.weight'], 'a.pth holds a CLIP; give it as `pretrained` of the towers'),
        (['text_model.embeddings.token_embedding.weight'], "a.pth holds a CLIP in Hugging Face's layout; give it as"),
        (['something.weight'], r'of another model .*\(7 missing, such as .*; 1 unknown, such as something.weight\)'),
        (['x' * 10_000], 'of another model'),
    ],
)
def test_the_weights_of_something_else_are_told_in_few_words(names, message):
    with pytest.raises(CheckpointError, match=message) as caught:
        check_weights(Tiny(), {name: torch.zeros(1) for name in names}, 'a.pth')
    assert len(str(caught.value)) < 400
