"""Bad input in inference: pictures, expressions, configs and weights, each as (what is given, what is raised, what it
says).
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from cmmasksd.apis import ReferringInferencer
from cmmasksd.checkpoints import CheckpointError

CONFIG = Path(__file__).resolve().parents[2] / 'configs/cm_masksd/vit-tiny_refshapes.py'
HEIGHT, WIDTH = 50, 70
RGB = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
PICTURE = Image.fromarray(RGB)


@pytest.fixture(scope='module')
def inferencer() -> ReferringInferencer:
    return ReferringInferencer(CONFIG, device='cpu')


def encode(ending: str, picture: Image.Image = PICTURE) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=ending)
    return buffer.getvalue()


# --- pictures ---------------------------------------------------------------------------------------------------------

UNUSUAL: dict[str, tuple[str, Image.Image]] = {
    'grey': ('png', PICTURE.convert('L')),
    'grey and transparent': ('png', PICTURE.convert('LA')),
    'RGBA': ('png', PICTURE.convert('RGBA')),
    'palette': ('png', PICTURE.quantize(16)),
    'GIF': ('gif', PICTURE.quantize(16)),
    'black and white': ('png', PICTURE.convert('1')),
    'CMYK': ('jpeg', PICTURE.convert('CMYK')),
    '16 bits': ('png', Image.fromarray(RGB[..., 0].astype(np.uint16) * 257)),
    'one pixel': ('png', Image.new('RGB', (1, 1))),
    'one row': ('png', Image.new('RGB', (9000, 1))),
    'one column': ('png', Image.new('RGB', (1, 9000))),
}


@pytest.mark.parametrize('name', UNUSUAL)
def test_unusual_pictures_are_answered_alike_as_file_and_pil_image(
    inferencer: ReferringInferencer, name: str, tmp_path: Path
) -> None:
    ending, picture = UNUSUAL[name]
    path = tmp_path / f'picture.{ending}'
    path.write_bytes(encode(ending, picture))
    results = inferencer([path, Image.open(path)], ['red', 'red'])
    assert len(results) == 2
    for result in results:
        assert result.masks.shape == (1, picture.height, picture.width) and result.image.shape == (
            picture.height,
            picture.width,
            3,
        )
        assert np.isfinite(result.probabilities).all()
    most = 2 if name == 'CMYK' else 0  # two libraries that convert CMYK, rounding each in its own way
    assert np.abs(results[0].image.astype(int) - results[1].image).max() <= most


TURNS: list[Callable[[np.ndarray], np.ndarray]] = [  # EXIF's eight orientations
    lambda image: image,
    lambda image: image[:, ::-1],
    lambda image: image[::-1, ::-1],
    lambda image: image[::-1],
    lambda image: image.swapaxes(0, 1),
    lambda image: np.rot90(image, -1),
    lambda image: image[::-1, ::-1].swapaxes(0, 1),
    lambda image: np.rot90(image),
]


@pytest.mark.parametrize('orientation', range(1, 9))
def test_a_phone_picture_is_answered_as_it_is_shown(
    inferencer: ReferringInferencer, orientation: int, tmp_path: Path
) -> None:
    """Masks lie in the frame of ``result.image``, which is the picture turned as its EXIF data say, from a file as
    from PIL.
    """
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain, phone = tmp_path / 'plain.jpg', tmp_path / 'phone.jpg'
    PICTURE.save(plain)
    PICTURE.save(phone, exif=exif)
    for stored, turned in zip(
        inferencer([plain, Image.open(plain)], ['red'] * 2),
        inferencer([phone, Image.open(phone)], ['red'] * 2),
        strict=True,
    ):
        shown = TURNS[orientation - 1](stored.image)
        assert np.array_equal(turned.image, shown) and turned.masks.shape == (1, *shown.shape[:2])


FILES: dict[str, tuple[bytes, str]] = {
    'empty': (b'', r'the file is truncated or no picture of 8 or 16 bits \(0 bytes\); fetch it again'),
    'a web page': (b'<html>', 'truncated or no picture'),
    'JPEG cut off': (encode('jpeg')[:-100], 'truncated or no picture'),
    'PNG cut off': (encode('png')[:-3000], 'truncated or no picture'),
    'GIF cut off': (encode('gif')[:900], 'truncated or no picture'),
    'WebP cut off': (encode('webp')[:-300], 'truncated or no picture'),
    'TIFF cut off': (encode('tiff')[:-5000], 'truncated or no picture'),
    'BMP cut off': (encode('bmp')[:-5000], 'truncated or no picture'),
    '32 bits': (encode('tiff', PICTURE.convert('F')), 'no picture of 8 or 16 bits'),
}


@pytest.mark.parametrize('name', FILES)
def test_files_that_are_no_sound_picture(inferencer: ReferringInferencer, name: str, tmp_path: Path) -> None:
    content, message = FILES[name]
    (tmp_path / 'mine.jpg').write_bytes(content)
    with pytest.raises(ValueError, match=f'{tmp_path}/mine.jpg: .*{message}'):
        inferencer(tmp_path / 'mine.jpg', 'red')


# PIL decodes WebP as it opens it
@pytest.mark.parametrize('name', [name for name in FILES if 'cut off' in name and 'WebP' not in name])
def test_a_cut_picture_is_named_when_pil_opened_it(inferencer: ReferringInferencer, name: str, tmp_path: Path) -> None:
    (tmp_path / 'mine.jpg').write_bytes(FILES[name][0])
    opened = Image.open(tmp_path / 'mine.jpg')  # PIL reads the header alone
    with pytest.raises(ValueError, match=f'{tmp_path}/mine.jpg: the file is truncated or damaged .*fetch it again'):
        inferencer(opened, 'red')


@pytest.mark.parametrize(
    ('picture', 'error', 'message'),
    [
        ('absent.jpg', FileNotFoundError, 'absent.jpg: there is no such picture; check the path'),
        ('', FileNotFoundError, 'the given picture: there is no such picture'),
        ('.', ValueError, '. has no picture in it: name a folder with .jpg, .png'),
        ('http://127.0.0.1:9/a.jpg', OSError, 'http://127.0.0.1:9/a.jpg: the picture cannot be opened'),
        (None, TypeError, r'must be a uint8 RGB array of shape \(height, width, 3\), got NoneType'),
        (RGB / 255, TypeError, 'got float64'),
        (RGB[..., 0], TypeError, r'got uint8 of shape \(50, 70\)'),
        (RGB.transpose(2, 0, 1), TypeError, r'got uint8 of shape \(3, 50, 70\)'),
        (RGB[None], TypeError, r'got uint8 of shape \(1, 50, 70, 3\)'),
        (np.dstack([RGB, RGB[..., 0]]), TypeError, r'got uint8 of shape \(50, 70, 4\)'),
        (RGB[:0], TypeError, r'got uint8 of shape \(0, 70, 3\)'),
        (RGB > 5, TypeError, 'got bool'),
        (torch.from_numpy(RGB), TypeError, 'got Tensor'),
        (PICTURE.convert('F'), TypeError, 'PIL image of mode F .* bring it to 8 bits'),
        (PICTURE.convert('I'), TypeError, 'PIL image of mode I '),
    ],
    ids=[
        'absent',
        'empty path',
        'folder without pictures',
        'no connection',
        'None',
        'float',
        'grey',
        'channels first',
        'batch',
        'RGBA',
        'empty',
        'bool',
        'tensor',
        'PIL float',
        'PIL 32 bits',
    ],
)
def test_what_is_no_picture(
    inferencer: ReferringInferencer, picture: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        inferencer(picture, 'red')


# --- expressions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('expressions', 'error', 'message'),
    [
        ([], ValueError, 'at least one expression'),
        ('', ValueError, "the expression '' is empty: give at least one word"),
        (' \t', ValueError, 'is empty'),
        ('\0', ValueError, 'is empty'),
        (['red', '&nbsp;'], ValueError, "'&nbsp;' is empty"),
        (None, TypeError, 'must be a string, or a list of strings .*got None'),
        (5, TypeError, 'got 5'),
        (b'red', TypeError, "got b'red'"),
        (['red', 1], TypeError, 'got 1'),
        ([['red']], TypeError, r"got \['red'\]"),
        ({'red': 1}, TypeError, "got {'red': 1}"),
    ],
)
def test_expressions_that_ask_nothing(
    inferencer: ReferringInferencer, expressions: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        inferencer(RGB, expressions)


@pytest.mark.parametrize(
    'text', ['zebra ' * 300, '🦓🦓', '左のシマウマ', 'a\ud800b', 'red\0\x07', '\u200d', '<|endoftext|>', '!' * 500]
)
def test_any_words_are_answered(inferencer: ReferringInferencer, text: str) -> None:
    (result,) = inferencer(RGB, text)
    assert (
        result.expressions == [text]
        and result.masks.shape == (1, HEIGHT, WIDTH)
        and np.isfinite(result.probabilities).all()
    )


@pytest.mark.parametrize('expressions', [['a'], ['a', 'b', 'c'], 'ab', None, 2])
def test_two_images_want_two(inferencer: ReferringInferencer, expressions: Any) -> None:
    with pytest.raises(ValueError, match=r'2 images need a list of 2 expressions \(or lists of expressions\)'):
        inferencer([RGB, RGB], expressions)


def test_all_expressions_are_looked_at_before_the_first_image_is(
    inferencer: ReferringInferencer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inferencer.model, 'test_step', lambda data: pytest.fail('an image was encoded'))
    with pytest.raises(TypeError, match='got 5'):
        inferencer([RGB, RGB], ['red', 5])


def test_no_images_give_no_results(inferencer: ReferringInferencer) -> None:
    assert inferencer([], []) == []


# --- configs and weights ----------------------------------------------------------------------------------------------


def small_config(tiny_config: Callable[..., dict]) -> Config:
    letterbox = dict(type='LetterboxResize', size=(32, 48))
    pipeline = [
        dict(type='LoadReferringImage'),
        letterbox,
        dict(type='TokenizeExpressions'),
        dict(type='PackReferringInputs'),
    ]
    return Config(
        dict(default_scope='cmmasksd', model=tiny_config(), test_dataloader=dict(dataset=dict(pipeline=pipeline)))
    )


def test_a_config_that_says_not_how_pictures_are_prepared(tiny_config: Callable[..., dict]) -> None:
    with pytest.raises(ValueError, match='has no test_dataloader.dataset.pipeline.*use a whole config'):
        ReferringInferencer(Config(dict(model=tiny_config())), device='cpu')


def test_a_config_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='absent.py'):
        ReferringInferencer(tmp_path / 'absent.py')


def test_a_config_that_names_an_unknown_class(tiny_config: Callable[..., dict]) -> None:
    cfg = small_config(tiny_config)
    cfg.model.neck.type = 'NoSuchNeck'
    with pytest.raises(KeyError, match='NoSuchNeck is not in the .*model registry'):
        ReferringInferencer(cfg, device='cpu')


def without(state: dict, name: str) -> dict:
    return {key: value for key, value in state.items() if key != name}


LAST = 'decode_head.norm.weight'
WEIGHTS: dict[str, tuple[Callable[[dict], Any], str]] = {
    'another model': (
        lambda state: {'state_dict': torch.nn.Linear(2, 2).state_dict()},
        "of another model than the config's .*missing.*unknown",
    ),
    'a weight missing': (
        lambda state: without(state, LAST),
        f'1 missing, such as {LAST}.; use the config it was trained with',
    ),
    'a weight too many': (lambda state: {**state, 'extra': torch.zeros(1)}, '1 unknown, such as extra'),
    'another shape': (lambda state: {**state, LAST: torch.zeros(3)}, f'1 of another shape, such as {LAST}'),
    'no tensor': (lambda state: {**state, LAST: 'text'}, f'1 of another shape, such as {LAST}'),
    'text positions of another length': (
        lambda state: {**state, 'text_encoder.text.positional_embedding': torch.zeros(20, 24)},
        'of another shape, such as text_encoder',
    ),
    'positions of another width': (
        lambda state: {**state, 'backbone.visual.positional_embedding': torch.zeros(10, 3)},
        'of another shape, such as backbone',
    ),
    'positions of no square grid': (
        lambda state: {**state, 'backbone.visual.positional_embedding': torch.zeros(12, 16)},
        'does not fit .*positional',
    ),
    'a list in the place of the state dict': (lambda state: {'state_dict': [1, 2]}, 'holds no state dict'),
    'names that are no text': (lambda state: {1: torch.zeros(1)}, 'holds no state dict'),
    'the whole model': (
        lambda state: torch.nn.Linear(2, 2),
        'was refused and nothing in it was run: it asks for torch.nn.modules.linear.Linear',
    ),
    'a list': (lambda state: [torch.zeros(1)], 'holds a list, but a checkpoint is a dict'),
}
CONTENTS: dict[str, tuple[bytes, str]] = {
    'an empty file': (b'', 'is empty'),
    'a web page': (b'<!DOCTYPE html><html>Sign in</html>', 'is a web page, not weights'),
    'a file cut off': (b'PK\x03\x04 and then nothing', 'is cut off or damaged'),
    'text': (b'weights', 'is no checkpoint'),
}


@pytest.mark.parametrize('name', WEIGHTS)
def test_weights_that_do_not_fit(
    tiny_config: Callable[..., dict], tiny_model: Callable[..., torch.nn.Module], name: str, tmp_path: Path
) -> None:
    change, message = WEIGHTS[name]
    torch.save(change(dict(tiny_model().state_dict())), tmp_path / 'mine.pth')
    with pytest.raises(CheckpointError, match=f'(?s)mine.pth .*{message}'):
        ReferringInferencer(small_config(tiny_config), tmp_path / 'mine.pth', device='cpu')


@pytest.mark.parametrize('name', CONTENTS)
def test_files_that_are_no_weights(tiny_config: Callable[..., dict], name: str, tmp_path: Path) -> None:
    content, message = CONTENTS[name]
    (tmp_path / 'mine.pth').write_bytes(content)
    with pytest.raises(CheckpointError, match=f'mine.pth {message}'):
        ReferringInferencer(small_config(tiny_config), tmp_path / 'mine.pth', device='cpu')


def test_weights_that_are_not_there(tiny_config: Callable[..., dict], tmp_path: Path) -> None:
    for path, message in ((tmp_path / 'absent.pth', 'does not exist; check the path'), (tmp_path, 'is a folder')):
        with pytest.raises(CheckpointError, match=message):
            ReferringInferencer(small_config(tiny_config), path, device='cpu')


def test_clips_archive_is_told_from_a_checkpoint(tiny_config: Callable[..., dict], tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(tmp_path / 'ViT-B-16.pt'))
    with pytest.raises(
        CheckpointError, match='ViT-B-16.pt is a TorchScript archive.*give it as `pretrained` of the towers'
    ):
        ReferringInferencer(small_config(tiny_config), tmp_path / 'ViT-B-16.pt', device='cpu')


FITTING: dict[str, Callable[[dict], dict]] = {
    'a checkpoint': lambda state: {'state_dict': state, 'meta': {}},
    'a plain state dict': lambda state: state,
    'names of a wrapper for several GPUs': lambda state: {f'module.{name}': value for name, value in state.items()},
    'no distillation branches': lambda state: {
        name: value for name, value in state.items() if not name.startswith('distillation.')
    },
}


@pytest.mark.parametrize('name', FITTING)
def test_weights_that_fit(
    tiny_config: Callable[..., dict], tiny_model: Callable[..., torch.nn.Module], name: str, tmp_path: Path
) -> None:
    state = {key: value + 1 if value.is_floating_point() else value for key, value in tiny_model().state_dict().items()}
    torch.save(FITTING[name](state), tmp_path / 'mine.pth')
    model = ReferringInferencer(small_config(tiny_config), tmp_path / 'mine.pth', device='cpu').model
    loaded = {key: value for key, value in model.state_dict().items() if not key.startswith('distillation.')}
    assert len(loaded) > 100 and all(torch.equal(value, state[key]) for key, value in loaded.items())


@pytest.mark.parametrize('device', ['cudaX', 'gpu', 'cuda:99', 5.0])
def test_a_device_that_is_not_there(device: Any) -> None:
    config = Path(__file__).parents[2] / 'configs/cm_masksd/vit-tiny_refshapes.py'
    with pytest.raises(ValueError, match=f'^device {device!r} cannot be used here .*; give .*, or None$') as caught:
        ReferringInferencer(config, device=device)
    assert len(str(caught.value)) < 300
