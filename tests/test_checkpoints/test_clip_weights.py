"""CLIP's weights of every file and layout, the activation they were trained with, and open_clip's tags."""

import io
import json
import pickle
import zipfile

import numpy as np
import open_clip
import pytest
import torch
from mmengine.logging.history_buffer import HistoryBuffer
from safetensors.torch import save_file
from torch import nn

from cmmasksd.checkpoints import CheckpointError, load_checkpoint_file
from cmmasksd.checkpoints.clip_weights import load_clip_state_dict

CLIP_NAMES = {
    'visual.conv1.weight',
    'visual.proj',
    'transformer.weight',
    'positional_embedding',
    'ln_final.weight',
    'ln_final.bias',
    'logit_scale',
}


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


PREFIXES = ('module.', '_orig_mod.', 'module._orig_mod.', '_orig_mod.module.', 'model.', 'model._orig_mod.')
ENTRIES = ('model', 'model_state_dict', 'state_dict_ema', 'module', 'model_ema')


@pytest.mark.parametrize('prefix', PREFIXES)
def test_prefixes_of_wrappers_are_taken_off(clip, tmp_path, prefix):
    torch.save({prefix + name: value for name, value in clip.state_dict().items()}, tmp_path / 'clip.pt')
    assert_is_clip(load_clip_state_dict(tmp_path / 'clip.pt'), clip)


@pytest.mark.parametrize('entry', ENTRIES)
def test_entries_of_checkpoints_are_found(clip, tmp_path, entry):
    weights = {f'module.{name}': value for name, value in clip.state_dict().items()}
    torch.save({'epoch': 3, 'optimizer': {'lr': 1.0}, entry: weights}, tmp_path / 'clip.pt')
    assert_is_clip(load_clip_state_dict(tmp_path / 'clip.pt'), clip)


def test_averages_come_after_the_weights_themselves(clip, tmp_path):
    averaged = {name: torch.zeros_like(value) for name, value in clip.state_dict().items()}
    torch.save(dict(state_dict_ema=averaged, state_dict=clip.state_dict()), tmp_path / 'clip.pt')
    assert_is_clip(load_clip_state_dict(tmp_path / 'clip.pt'), clip)


def test_an_averaged_model_of_torch(clip, tmp_path):
    averaged = torch.optim.swa_utils.AveragedModel(clip)
    averaged.update_parameters(clip)
    torch.save(averaged.state_dict(), tmp_path / 'clip.pt')
    assert_is_clip(load_clip_state_dict(tmp_path / 'clip.pt'), clip)


def test_an_archive_is_no_checkpoint(archive):
    with pytest.raises(CheckpointError, match='TorchScript archive, not a checkpoint'):
        load_checkpoint_file(archive)


def test_files_without_clip(tmp_path):
    torch.save(dict(weight=torch.zeros(2)), tmp_path / 'other.pt')
    with pytest.raises(CheckpointError, match='no weights of CLIP .its names: weight.*give a CLIP model of OpenAI'):
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
        ('openai', None, "needs open_clip's name of the architecture"),
        ('nobody', 'ViT-B-16-quickgelu', "'nobody' is neither a file nor weights .*it has: .*openai"),
        ('openai', 'ViT-B-99', 'does not know that architecture'),
        ('missing.pt', 'ViT-B-16', 'missing.pt does not exist'),
        ('some/where', 'ViT-B-16', 'some/where does not exist'),
    ],
)
def test_sources_that_do_not_exist(source, architecture, message):
    with pytest.raises(CheckpointError, match=message):
        load_clip_state_dict(source, architecture)


# --- layouts that are not OpenAI's ------------------------------------------------------------------------------------


OTHERS = {
    'timm': (['cls_token', 'patch_embed.proj.weight', 'blocks.0.norm1.weight'], "a ViT of timm's; give a CLIP of"),
    'ours': (['backbone.visual.proj', 'neck.norm5.weight'], 'a whole segmentor; give it as CHECKPOINT or load_from'),
    'BLIP': (['visual_encoder.cls_token', 'text_decoder.x'], 'no CLIP of OpenAI or open_clip'),
    'ResNet': (['conv1.weight', 'layer1.0.conv1.weight'], 'a ResNet; give a CLIP'),
    'unknown': ([f'{index}.weight' for index in range(1000)], 'something else; give a CLIP model'),
    'endless': (['x' * 100_000], 'something else; give a CLIP model'),
}


@pytest.mark.parametrize('layout', OTHERS)
def test_other_layouts_are_named_in_few_words(tmp_path, layout):
    names, message = OTHERS[layout]
    torch.save({name: torch.zeros(1) for name in names}, tmp_path / 'other.pt')
    with pytest.raises(CheckpointError, match=f'other.pt holds no weights of CLIP .*{message}') as caught:
        load_clip_state_dict(tmp_path / 'other.pt')
    assert len(str(caught.value)) < 400


def test_a_model_of_hugging_face_that_is_no_clip(tmp_path):
    """SigLIP has the same names for towers of another make."""
    torch.save({'vision_model.head.probe': torch.zeros(1), 'logit_scale': torch.zeros(1)}, tmp_path / 'siglip.bin')
    with pytest.raises(CheckpointError, match="Hugging Face's layout, but not a CLIP.*'vision_model.head.probe'"):
        load_clip_state_dict(tmp_path / 'siglip.bin')
    lacking = 'text_model.encoder.layers.0.self_attn.q_proj.weight'
    torch.save({lacking: torch.zeros(1, 1)}, tmp_path / 'cut.bin')
    with pytest.raises(CheckpointError, match=f"{lacking.replace('q_proj', 'k_proj')}' is unknown or lacking"):
        load_clip_state_dict(tmp_path / 'cut.bin')


# --- the activation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('form', ['archive', 'state dict'])
def test_openais_files_want_quick_gelu(clip, archive, tmp_path, form):
    path = archive
    if form == 'state dict':
        path = tmp_path / 'openai.pt'
        torch.save(clip.state_dict(), path)
    assert_is_clip(load_clip_state_dict(path, 'ViT-B-16-quickgelu', True), clip)
    with pytest.raises(CheckpointError, match="trained with QuickGELU.*use 'ViT-B-16-quickgelu' instead of 'ViT-B-16'"):
        load_clip_state_dict(path, 'ViT-B-16', False)
    with pytest.raises(CheckpointError, match='trained with QuickGELU.*set quick_gelu=True in it'):
        load_clip_state_dict(path, None, False)


def test_other_files_are_taken_as_they_are(clip, tmp_path):
    torch.save({name: clip.state_dict()[name] for name in CLIP_NAMES}, tmp_path / 'laion.pt')
    for quick_gelu in (True, False):
        assert_is_clip(load_clip_state_dict(tmp_path / 'laion.pt', None, quick_gelu), clip)


@pytest.mark.parametrize(
    ('name', 'config', 'trained_with'),
    [
        ('open_clip_config.json', {'model_cfg': {'embed_dim': 512, 'quick_gelu': True}}, True),
        ('open_clip_config.json', {'model_cfg': {'embed_dim': 512}}, False),
        ('config.json', {'model_type': 'clip', 'vision_config': {'hidden_act': 'quick_gelu'}}, True),
        ('config.json', {'model_type': 'clip', 'vision_config': {'hidden_act': 'gelu'}}, False),
        ('config.json', {'model_type': 'clip', 'vision_config': {}}, True),
        ('config.json', {'model_type': 'other', 'vision_config': {'hidden_act': 'gelu'}}, None),
        ('config.json', ['something', 'else'], None),
    ],
)
def test_a_config_beside_the_file_tells_the_activation(clip, tmp_path, name, config, trained_with):
    torch.save({each: clip.state_dict()[each] for each in CLIP_NAMES}, tmp_path / 'clip.pt')
    (tmp_path / name).write_text(json.dumps(config))
    for quick_gelu in (True, False):
        if trained_with in (None, quick_gelu):
            assert_is_clip(load_clip_state_dict(tmp_path / 'clip.pt', None, quick_gelu), clip)
        else:
            with pytest.raises(CheckpointError, match=f'set quick_gelu={trained_with} in it'):
                load_clip_state_dict(tmp_path / 'clip.pt', None, quick_gelu)


TRAINED_WITH = [
    ('openai', 'ViT-B-16', True),
    ('metaclip_400m', 'ViT-B-16', True),
    ('dfn2b', 'ViT-L-14', True),
    ('laion400m_e32', 'ViT-B-32', True),
    ('laion400m_e32', 'ViT-B-16', False),
    ('datacomp_xl_s13b_b90k', 'ViT-L-14', False),
]


@pytest.mark.parametrize(('tag', 'architecture', 'trained_with'), TRAINED_WITH)
def test_tags_want_the_activation_they_were_trained_with(monkeypatch, archive, tag, architecture, trained_with):
    """The archive stands in for whatever would be downloaded, which is not asked for where the activation differs."""
    downloads = []
    monkeypatch.setattr(
        'open_clip.pretrained.download_pretrained', lambda config: downloads.append(config) or str(archive)
    )
    with pytest.raises(
        CheckpointError, match=f"open_clip's '{tag}' was trained {'with' if trained_with else 'without'}"
    ):
        load_clip_state_dict(tag, architecture, not trained_with)
    assert not downloads
    if trained_with:
        load_clip_state_dict(tag, architecture, trained_with)
        assert len(downloads) == 1


def test_weights_without_quick_gelu_for_a_tower_with_it(clip, tmp_path):
    torch.save({each: clip.state_dict()[each] for each in CLIP_NAMES}, tmp_path / 'clip.pt')
    (tmp_path / 'open_clip_config.json').write_text('{"model_cfg": {}}')
    with pytest.raises(CheckpointError, match="without QuickGELU.*use 'ViT-B-32' instead of 'ViT-B-32-quickgelu'"):
        load_clip_state_dict(tmp_path / 'clip.pt', 'ViT-B-32-quickgelu', True)


def test_every_tag_with_quick_gelu_has_an_architecture_with_it():
    """Our advice names an architecture that there is."""
    advised = 0
    for architecture, tag in open_clip.list_pretrained():
        config = open_clip.get_model_config(architecture) or {}
        trained_with = bool(open_clip.get_pretrained_cfg(architecture, tag).get('quick_gelu'))
        if trained_with and not config.get('quick_gelu') and config.get('vision_cfg', {}).get('patch_size'):
            assert open_clip.get_model_config(f'{architecture}-quickgelu') is not None, (architecture, tag)
            advised += 1
    assert advised >= 10
