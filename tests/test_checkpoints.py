import io
import os
import pickle
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
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import Dataset

from cmmasksd.checkpoints import CheckpointError, load_checkpoint_file, load_clip_state_dict, register_safe_loader

CLIP_NAMES = {
    'visual.conv1.weight',
    'visual.proj',
    'transformer.weight',
    'positional_embedding',
    'ln_final.weight',
    'ln_final.bias',
    'logit_scale',
}


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
    assert set(loaders) == {'cmmasksd.checkpoints'} and loaders.total() >= 8
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


# --- CLIP -------------------------------------------------------------------------------------------------------------


class Visual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 2, bias=False)
        self.proj = nn.Parameter(torch.randn(4, 6).t())  # not contiguous
        self.attn_mask = torch.zeros(2, 2)

    def forward(self, x):
        return self.conv1(x) + self.attn_mask.sum()


class Clip(nn.Module):
    """A stand-in for CLIP under OpenAI's names, with the three integers that OpenAI keeps as buffers."""

    def __init__(self):
        super().__init__()
        self.visual = Visual()
        self.transformer = nn.Linear(4, 4, bias=False)
        self.positional_embedding = nn.Parameter(torch.randn(7, 4))
        self.ln_final = nn.LayerNorm(4)
        self.logit_scale = nn.Parameter(torch.tensor(4.6))
        for name, value in dict(input_resolution=224, context_length=77, vocab_size=49408).items():
            self.register_buffer(name, torch.tensor(value))

    def forward(self, x):
        return self.ln_final(self.transformer(self.positional_embedding)) * self.logit_scale + self.visual(x).mean()


@pytest.fixture(scope='module')
def clip():
    torch.manual_seed(0)
    return Clip().half()


@pytest.fixture(scope='module')
def archive(clip, tmp_path_factory):
    path = tmp_path_factory.mktemp('clip') / 'ViT-B-16.pt'
    torch.jit.save(torch.jit.script(clip), str(path))
    return path


def assert_is_clip(state, clip):
    assert set(state) == CLIP_NAMES
    for name, value in state.items():
        assert value.dtype == torch.float32 and not value.requires_grad
        torch.testing.assert_close(value, clip.state_dict()[name].float(), rtol=0, atol=0)


def test_openais_archive_is_read_without_running_it(archive, clip, monkeypatch):
    def fail(*arguments, **options):
        raise AssertionError('an unpickler or torch.jit was used')

    for module, name in ((torch.jit, 'load'), (torch, 'load'), (pickle, 'loads'), (pickle, 'Unpickler')):
        monkeypatch.setattr(module, name, fail)
    assert_is_clip(load_clip_state_dict(archive), clip)


def test_a_traced_archive(clip, tmp_path):
    traced = torch.jit.trace(Clip().float(), torch.zeros(1, 3, 4, 4))
    torch.jit.save(traced, str(tmp_path / 'traced.pt'))
    state = load_clip_state_dict(str(tmp_path / 'traced.pt'))
    assert set(state) == CLIP_NAMES
    for name, value in state.items():
        torch.testing.assert_close(value, traced.state_dict()[name], rtol=0, atol=0)


def test_all_other_forms_of_clip_weights(clip, tmp_path):
    weights = clip.state_dict()
    plain = {name: value for name, value in weights.items() if name in CLIP_NAMES}
    text = ('transformer', 'positional_embedding', 'ln_final')
    forms = {
        'plain.pt': weights,
        'wrapped.pth': dict(state_dict=weights, epoch=3),
        'module.bin': dict(state_dict={f'module.{name}': value for name, value in weights.items()}),
        'custom_text.pt': {f'text.{name}' if name.startswith(text) else name: value for name, value in weights.items()},
        'mmengine.pth': dict(meta=dict(epoch=1), state_dict=plain, message_hub=dict(loss=HistoryBuffer([1.0], [1]))),
    }
    for name, form in forms.items():
        torch.save(form, tmp_path / name)
        assert_is_clip(load_clip_state_dict(tmp_path / name), clip)
    torch.save(weights, tmp_path / 'legacy.pt', _use_new_zipfile_serialization=False)
    assert_is_clip(load_clip_state_dict(tmp_path / 'legacy.pt'), clip)
    save_file({name: value.contiguous() for name, value in weights.items()}, tmp_path / 'clip.safetensors')
    assert_is_clip(load_clip_state_dict(tmp_path / 'clip.safetensors'), clip)


def test_an_archive_is_no_checkpoint(archive):
    with pytest.raises(CheckpointError, match='TorchScript archive, not a checkpoint'):
        load_checkpoint_file(archive)


def test_files_without_clip(tmp_path):
    torch.save(dict(weight=torch.zeros(2)), tmp_path / 'other.pt')
    with pytest.raises(CheckpointError, match='no weights of CLIP .its names: weight'):
        load_clip_state_dict(tmp_path / 'other.pt')
    torch.save({'visual.proj': 'text'}, tmp_path / 'text.pt')
    with pytest.raises(CheckpointError, match='visual.proj is a str, not a tensor'):
        load_clip_state_dict(tmp_path / 'text.pt')
    torch.save({'visual.proj': torch.zeros(1).expand(2**20, 2**20)}, tmp_path / 'unfolding.pt')
    with pytest.raises(CheckpointError, match='tensors that are larger than the file'):
        load_clip_state_dict(tmp_path / 'unfolding.pt')


def rewrite(archive, target, changes):
    """Copies the archive with some records replaced (None: left out)."""
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(target, 'w') as new:
        for record in old.infolist():
            content = changes.get(record.filename.partition('/')[2], lambda content: content)(old.read(record))
            if content is not None:
                new.writestr(record.filename, content)
    return target


def rebuilt(offset=0, size=b'K\x02t', stride=b'K\x01t', numel=b'K\x02', storage=b'ctorch\nHalfStorage\n'):
    """A data.pkl with one tensor 'visual.proj' in storage 0, of 2 halves."""
    persistent = b'((X\x07\0\0\0storage' + storage + b'X\x01\0\0\x000X\x03\0\0\0cpu' + numel + b'tQ'
    tensor = b'ctorch._utils\n_rebuild_tensor_v2\n' + persistent + b'K' + bytes([offset]) + b'(' + size + b'(' + stride
    return b'\x80\x02c__torch__\nM\n)\x81}(X\x0b\0\0\0visual.proj' + tensor + b'\x89ccollections\nOrderedDict\n)RtRub.'


MALICIOUS = {
    'a call': (b'\x80\x02cos\nsystem\n(X\x04\0\0\0truetR.', 'os system is not among the functions'),
    'a call by builtins': (b'\x80\x02c__builtin__\neval\n(X\x01\0\0\x001tR.', 'eval is not among'),
    'INST': (b'(ios\nsystem\n.', 'INST at byte'),
    'EXT': (b'\x82\x01.', 'EXT1'),
    'DUP': (b'}2.', 'DUP'),
    'huge number': (b'\x8b\xff\xff\xff\x7f.', 'not enough data in stream to read long4'),
    'no module': (b'K\x01.', 'dict expected'),
    'nothing': (b'.', 'index out of range'),
    'cut off': (b'\x80\x02}', 'pickle exhausted'),
    'no mark': (b't.', 'mark'),
    'key no string': (b'}(K\x01K\x02u.', 'str expected'),
    'odd items': (b'}(X\x01\0\0\0au.', 'zip'),
    'module in itself': (b'}q\0(X\x01\0\0\0ah\0u.', 'contain one another'),
    'unknown storage': (rebuilt(storage=b'ctorch\nEvilStorage\n'), 'unknown kind of storage'),
    'beyond the storage': (rebuilt(size=b'K\x03t'), 'larger than its storage'),
    'offset beyond': (rebuilt(offset=1), 'larger than its storage'),
    'stride beyond': (rebuilt(stride=b'K\x02t'), 'larger than its storage'),
    'expanded': (rebuilt(size=b'J\0\0\0\x7ft', stride=b'K\0t'), 'larger than its storage'),
    'negative stride': (rebuilt(stride=b'J\xff\xff\xff\xfft'), 'negative'),
    'ranks differ': (rebuilt(stride=b't'), 'zip'),
    'storage of another size': (rebuilt(numel=b'K\x09'), 'not of the size that data.pkl says'),
}


@pytest.fixture(scope='module')
def small_archive(tmp_path_factory):
    path = tmp_path_factory.mktemp('small') / 'small.pt'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('small/data.pkl', rebuilt())
        archive.writestr('small/data/0', np.array([1, 2], np.float16).tobytes())
        archive.writestr('small/constants.pkl', b'\x80\x02).')
    return path


def test_the_small_archive_is_sound(small_archive):
    assert load_clip_state_dict(small_archive)['visual.proj'].tolist() == [1.0, 2.0]


@pytest.mark.parametrize('name', MALICIOUS)
def test_malicious_archives_are_refused(small_archive, tmp_path, name):
    pickled, message = MALICIOUS[name]
    path = rewrite(small_archive, tmp_path / 'evil.pt', {'data.pkl': lambda _: pickled})
    with pytest.raises(CheckpointError, match=f'evil.pt cannot be read as a TorchScript archive: .*({message})'):
        load_clip_state_dict(path)


def test_modules_that_double_are_bounded(small_archive, tmp_path):
    levels = b''.join(
        b'}q' + bytes([i]) + b'(X\x01\0\0\0ah' + bytes([i - 1]) + b'X\x01\0\0\0bh' + bytes([i - 1]) + b'u'
        for i in range(1, 60)
    )
    path = rewrite(small_archive, tmp_path / 'double.pt', {'data.pkl': lambda _: b'}q\0' + levels + b'.'})
    with pytest.raises(CheckpointError, match='contain one another'):
        load_clip_state_dict(path)


def test_archives_with_missing_or_damaged_records(small_archive, tmp_path):
    for name, change, message in (
        ('data.pkl', lambda _: None, 'no data.pkl'),
        ('data/0', lambda _: None, 'storage 0 is missing'),
        ('data/0', lambda content: content[:-1], 'storage 0 is missing, compressed or not of the size'),
    ):
        path = rewrite(small_archive, tmp_path / 'damaged.pt', {name: change})
        with pytest.raises(CheckpointError, match=f'damaged.pt cannot be read as a TorchScript archive: .*{message}'):
            load_clip_state_dict(path)
    content = small_archive.read_bytes().replace(np.array([1, 2], np.float16).tobytes(), b'abcd')
    (tmp_path / 'flipped.pt').write_bytes(content)
    with pytest.raises(CheckpointError, match='Bad CRC'):
        load_clip_state_dict(tmp_path / 'flipped.pt')


def test_mutated_archives_load_or_raise_our_error(archive, tmp_path):
    content = archive.read_bytes()
    generator = np.random.default_rng(0)
    with zipfile.ZipFile(archive) as whole:
        pickled = whole.read(f'{archive.stem}/data.pkl')
    refused = 0
    for _ in range(100):
        damaged = bytearray(pickled)
        for position in generator.integers(0, len(pickled), 3):
            damaged[position] = generator.integers(0, 256)
        path = rewrite(
            io.BytesIO(content), tmp_path / 'mutated.pt', {'data.pkl': lambda _, damaged=damaged: bytes(damaged)}
        )
        try:
            load_clip_state_dict(path)
        except CheckpointError:
            refused += 1
    assert refused > 0


# --- tags of open_clip ------------------------------------------------------------------------------------------------


def test_a_tag_is_downloaded_and_read_by_us(archive, clip, monkeypatch):
    asked = []
    monkeypatch.setattr(
        'open_clip.pretrained.download_pretrained', lambda config, **options: asked.append(config) or str(archive)
    )
    assert_is_clip(load_clip_state_dict('openai', 'ViT-B-16-quickgelu'), clip)
    assert len(asked) == 1 and 'vit_base_patch16_clip_224.openai' in asked[0]['hf_hub']


def test_a_download_without_network_says_what_to_do(monkeypatch):
    def fail(config, **options):
        raise FileNotFoundError('no network')

    monkeypatch.setattr('open_clip.pretrained.download_pretrained', fail)
    with pytest.raises(
        CheckpointError,
        match='could not be downloaded .no network.; fetch them on a machine with a network .https://.*ViT-B-16.pt',
    ):
        load_clip_state_dict('openai', 'ViT-B-16-quickgelu')


@pytest.mark.parametrize(
    'source, architecture, message',
    [
        ('openai', None, 'needs the name of an architecture'),
        ('nobody', 'ViT-B-16-quickgelu', "'nobody' is neither a file nor weights .*it has: .*openai"),
        ('openai', 'ViT-B-99', 'does not know that architecture'),
        ('missing.pt', 'ViT-B-16', 'missing.pt does not exist'),
        ('some/where', 'ViT-B-16', 'some/where does not exist'),
    ],
)
def test_sources_that_do_not_exist(source, architecture, message):
    with pytest.raises(CheckpointError, match=message):
        load_clip_state_dict(source, architecture)
