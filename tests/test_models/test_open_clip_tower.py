"""Loading of CLIP weights, strictly, from files that a CLIP model would be kept in."""

from __future__ import annotations

from collections.abc import Mapping

import open_clip
import pytest
import torch
from open_clip.transformer import QuickGELU
from torch import Tensor, nn

from cmmasksd.models import OpenCLIPTextTransformer, OpenCLIPVisionTransformer
from cmmasksd.models.open_clip_tower import get_architecture


@pytest.fixture
def clip(tiny_architecture):
    model = open_clip.CLIP(**tiny_architecture).eval()
    nn.init.normal_(model.text_projection)
    return model


def as_module(state: Mapping[str, Tensor]) -> nn.Module:
    """A tree of modules that holds the state under its names, as OpenAI's archives do."""
    root = nn.Module()
    for name, tensor in state.items():
        *path, leaf = name.split('.')
        module = root
        for part in path:
            if part not in dict(module.named_children()):
                module.add_module(part, nn.Module())
            module = module.get_submodule(part)
        module.register_parameter(leaf, nn.Parameter(tensor.clone()))
    for name, value in dict(input_resolution=32, context_length=77, vocab_size=49408).items():
        root.register_buffer(name, torch.tensor(value))
    return root


HUGGING_FACE = {  # the other way round than the package has it, part by part
    'transformer.resblocks.': 'text_model.encoder.layers.',
    'token_embedding.': 'text_model.embeddings.token_embedding.',
    'positional_embedding': 'text_model.embeddings.position_embedding.weight',
    'ln_final.': 'text_model.final_layer_norm.',
    'text_projection': 'text_projection.weight',
    'visual.transformer.resblocks.': 'vision_model.encoder.layers.',
    'visual.class_embedding': 'vision_model.embeddings.class_embedding',
    'visual.conv1.': 'vision_model.embeddings.patch_embedding.',
    'visual.positional_embedding': 'vision_model.embeddings.position_embedding.weight',
    'visual.ln_pre.': 'vision_model.pre_layrnorm.',
    'visual.ln_post.': 'vision_model.post_layernorm.',
    'visual.proj': 'visual_projection.weight',
}
PARTS = {
    '.ln_1.': '.layer_norm1.',
    '.ln_2.': '.layer_norm2.',
    '.mlp.c_fc.': '.mlp.fc1.',
    '.mlp.c_proj.': '.mlp.fc2.',
    '.attn.out_proj.': '.self_attn.out_proj.',
}


def as_hugging_face(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What CLIPModel.state_dict() holds, the position ids of older versions included."""
    renamed = {'text_model.embeddings.position_ids': torch.arange(77)[None]}
    for name, tensor in state.items():
        beginning = max((each for each in HUGGING_FACE if name.startswith(each)), key=len, default='')
        new = HUGGING_FACE.get(beginning, '') + name.removeprefix(beginning)
        for part, replacement in PARTS.items():
            new = new.replace(part, replacement)
        if '.attn.in_proj_' in new:
            for letter, third in zip('qkv', tensor.chunk(3)):
                renamed[new.replace('.attn.in_proj_', f'.self_attn.{letter}_proj.')] = third.clone()
        else:
            renamed[new] = tensor.t().contiguous() if new.endswith('_projection.weight') else tensor
    return renamed


def save(state: Mapping[str, Tensor], form: str, folder) -> str:
    path = str(folder / 'clip.pt')
    if form == 'hugging face':
        torch.save(as_hugging_face(state), path)
        return path
    if form == 'archive':
        torch.jit.save(torch.jit.script(as_module(state).half()), path)
    else:
        torch.save(dict(state) if form == 'state dict' else dict(state_dict=dict(state)), path)
    return path


@pytest.mark.parametrize('form', ['archive', 'state dict', 'checkpoint', 'hugging face'])
@torch.no_grad()
def test_both_towers_load_from_a_file(clip, tiny_architecture, tmp_path, make_ids, form):
    if form == 'archive':
        clip.half().float()  # the archive holds half precision
    path = save(clip.state_dict(), form, tmp_path)
    image_tower = OpenCLIPVisionTransformer(tiny_architecture, image_size=32, pretrained=path).eval()
    text_tower = OpenCLIPTextTransformer(tiny_architecture, pretrained=path).eval()
    for tower in (image_tower, text_tower):
        tower.init_weights()
        assert {parameter.dtype for parameter in tower.parameters()} == {torch.float32}
    images, ids = torch.randn(2, 3, 32, 32), make_ids([2, 4], 77)
    torch.testing.assert_close(
        image_tower.encode_image(image_tower.embed_image(images)).pooled,
        clip.encode_image(images),
        rtol=1e-5,
        atol=1e-5,
    )
    torch.testing.assert_close(text_tower(ids).sentence, clip.encode_text(ids), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_larger_grid_loads_too(clip, tiny_architecture, tmp_path):
    tower = OpenCLIPVisionTransformer(
        tiny_architecture, image_size=(48, 40), pretrained=save(clip.state_dict(), 'archive', tmp_path)
    )
    tower.init_weights()
    assert tower.visual.positional_embedding.shape == (1 + 6 * 5, 16)
    assert tower(torch.randn(1, 3, 48, 40))[0].shape == (1, 16, 6, 5)


@pytest.mark.parametrize(
    ('tower_type', 'name', 'missing'),
    [
        (
            OpenCLIPVisionTransformer,
            'visual.transformer.resblocks.1.attn.in_proj_weight',
            'visual.transformer.resblocks.1.attn.in_proj_weight',
        ),
        (OpenCLIPVisionTransformer, 'visual.proj', 'visual.proj'),
        (OpenCLIPTextTransformer, 'ln_final.bias', 'text.ln_final.bias'),
    ],
)
def test_a_missing_weight_is_named(clip, tiny_architecture, tmp_path, tower_type, name, missing):
    state = clip.state_dict()
    del state[name]
    tower = tower_type(tiny_architecture, pretrained=save(state, 'state dict', tmp_path))
    with pytest.raises(ValueError, match=f'clip.pt. do not fit {tower_type.__name__}.*1 missing, such as {missing}'):
        tower.init_weights()


def test_weights_of_another_architecture(clip, tiny_architecture, tmp_path):
    deeper = {**tiny_architecture, 'vision_cfg': {**tiny_architecture['vision_cfg'], 'layers': 7}}
    tower = OpenCLIPVisionTransformer(deeper, pretrained=save(clip.state_dict(), 'state dict', tmp_path))
    with pytest.raises(
        ValueError, match='12 missing, such as visual.transformer.resblocks.6.*give weights of'
    ) as caught:
        tower.init_weights()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize('change', [dict(width=32), dict(patch_size=4)])
@pytest.mark.parametrize('architecture', ['of a dict', 'of a name'])
def test_weights_that_fit_nowhere_are_told_in_few_words(
    clip, tiny_architecture, tmp_path, monkeypatch, change, architecture
):
    """torch's own message would hold every name of the tower."""
    other = {**tiny_architecture, 'vision_cfg': {**tiny_architecture['vision_cfg'], **change}}
    monkeypatch.setattr(open_clip, 'get_model_config', lambda name: other)
    path = save(clip.state_dict(), 'state dict', tmp_path)
    tower = OpenCLIPVisionTransformer(other if architecture == 'of a dict' else 'ViT-X', 32, pretrained=path)
    with pytest.raises(
        ValueError, match='of another shape, such as visual.* give weights of this architecture'
    ) as caught:
        tower.init_weights()
    assert len(str(caught.value)) < 400


def test_positions_that_cannot_be_resized_are_told_in_few_words(clip, tiny_architecture, tmp_path):
    state = clip.state_dict()
    state['visual.positional_embedding'] = torch.zeros(1 + 15, 16)  # no square
    tower = OpenCLIPVisionTransformer(tiny_architecture, 32, pretrained=save(state, 'state dict', tmp_path))
    with pytest.raises(ValueError, match='size mismatch for visual.positional_embedding.*give weights') as caught:
        tower.init_weights()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize('tower_type', [OpenCLIPVisionTransformer, OpenCLIPTextTransformer])
def test_without_pretrained_nothing_is_read(tiny_architecture, monkeypatch, tower_type):
    def fail(*arguments, **options):
        raise AssertionError('weights were read')

    for module in ('cmmasksd.models.open_clip_tower', 'cmmasksd.checkpoints.clip_weights'):
        monkeypatch.setattr(f'{module}.load_clip_state_dict', fail)
    monkeypatch.setattr('open_clip.pretrained.download_pretrained', fail)
    tower = tower_type(tiny_architecture)
    before = {name: tensor.clone() for name, tensor in tower.state_dict().items()}
    tower.init_weights()
    for name, tensor in tower.state_dict().items():
        assert torch.equal(tensor, before[name])
    named = tower_type(tiny_architecture, pretrained='somewhere.pt')  # building reads nothing either
    with pytest.raises(AssertionError, match='weights were read'):
        named.init_weights()


@pytest.mark.parametrize('tower_type', [OpenCLIPVisionTransformer, OpenCLIPTextTransformer])
def test_openais_weights_want_quick_gelu(tiny_architecture, monkeypatch, tower_type):
    monkeypatch.setattr('open_clip.pretrained.download_pretrained', lambda config: pytest.fail('weights were read'))
    # as open_clip's of that name
    monkeypatch.setattr(open_clip, 'get_model_config', lambda name: {**tiny_architecture, 'quick_gelu': False})
    tower = tower_type('ViT-B-16', pretrained='openai')
    with pytest.raises(ValueError, match="use 'ViT-B-16-quickgelu' instead of 'ViT-B-16'"):
        tower.init_weights()


@pytest.mark.parametrize('tower_type', [OpenCLIPVisionTransformer, OpenCLIPTextTransformer])
def test_a_tag_needs_an_architecture_by_name(tiny_architecture, tower_type):
    with pytest.raises(
        ValueError,
        match=r"^pretrained='openai' is no file, and as a tag it needs open_clip's name of the architecture, such as",
    ):
        tower_type(tiny_architecture, pretrained='openai').init_weights()


@pytest.mark.parametrize(
    ('architecture', 'activation'),
    [('ViT-B-16-quickgelu', QuickGELU), ('ViT-L-14-quickgelu', QuickGELU), ('ViT-B-16', nn.GELU)],
)
def test_the_activation_is_the_one_named(architecture, activation):
    with torch.device('meta'):
        towers = [OpenCLIPVisionTransformer(architecture, image_size=224), OpenCLIPTextTransformer(architecture)]
    kinds = [type(module) for tower in towers for name, module in tower.named_modules() if name.endswith('mlp.gelu')]
    assert len(kinds) in (24, 36)
    assert set(kinds) == {activation}


def test_an_architecture_that_does_not_exist():
    with pytest.raises(ValueError, match="no architecture 'ViT-X-99'"):
        get_architecture('ViT-X-99')


def test_a_config_is_copied(tiny_architecture):
    assert get_architecture(tiny_architecture) == tiny_architecture
    assert get_architecture(tiny_architecture) is not tiny_architecture
