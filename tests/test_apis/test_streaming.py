"""Many pictures, batches, and pictures that are asked again."""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cmmasksd.apis import ReferringInferencer, ReferringResult
from cmmasksd.apis.pictures import list_pictures

SIZES = ((50, 70), (41, 30), (64, 64), (20, 90), (33, 47))
NAMES = ('b.png', 'a.jpg', 'c.webp', 'e.bmp', 'D.PNG')


@pytest.fixture(scope='module')
def inferencer() -> ReferringInferencer:
    return ReferringInferencer('vit-tiny_refshapes', device='cpu')


@pytest.fixture(scope='module')
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]


@pytest.fixture(scope='module')
def folder(pictures: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('pictures')
    for name, picture in zip(NAMES, pictures):
        Image.fromarray(picture).save(path / name)
    (path / 'notes.txt').write_text('no picture')
    (path / 'inner.png').mkdir()
    return path


def check_equal(first: ReferringResult, second: ReferringResult) -> None:
    assert first.expressions == second.expressions
    assert np.array_equal(first.image, second.image)
    np.testing.assert_allclose(first.probabilities, second.probabilities, rtol=0, atol=1e-5)


@pytest.mark.parametrize('batch_size', [2, 3, 8])
def test_batches_answer_as_single_pictures_do(
    inferencer: ReferringInferencer, pictures: list[np.ndarray], batch_size: int
) -> None:
    asked = [['left zebra', 'the tree'], 'red', ['a', 'b', 'c'], 'd', ['e', 'f']]
    alone = inferencer(pictures, asked)
    together = inferencer(pictures, asked, batch_size=batch_size)
    assert [len(result.masks) for result in together] == [2, 1, 3, 1, 2]
    for first, second in zip(alone, together, strict=True):
        check_equal(first, second)


def test_a_folder_is_asked_the_same_of_every_picture(inferencer: ReferringInferencer, folder: Path) -> None:
    assert [path.name for path in list_pictures(folder)] == sorted(NAMES)
    for form in (folder, str(folder)):
        results = inferencer(form, ['red', 'blue'], batch_size=2)
        assert [Path(result.name).name for result in results] == sorted(NAMES)
        assert all(result.expressions == ['red', 'blue'] for result in results)


def test_a_generator_is_asked_the_same_of_every_picture(
    inferencer: ReferringInferencer, pictures: list[np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    results = inferencer((picture for picture in pictures), 'red', show_progress=True)
    assert [result.image.shape[:2] for result in results] == list(SIZES)
    assert 'Segmenting' in capsys.readouterr().out


def test_a_stream_holds_no_more_than_two_batches(inferencer: ReferringInferencer, pictures: list[np.ndarray]) -> None:
    taken = 0

    def endless() -> Iterator[tuple[np.ndarray, str]]:
        nonlocal taken
        while True:
            taken += 1
            yield pictures[taken % len(pictures)], 'red'

    stream = inferencer.stream(endless(), batch_size=2)
    for number in range(1, 8):
        assert isinstance(next(stream), ReferringResult)
        assert taken <= number + 4
    stream.close()
    assert taken == 11  # four batches of two, and three ahead


def test_a_bad_picture_is_said_when_its_turn_comes(inferencer: ReferringInferencer, folder: Path) -> None:
    stream = inferencer.stream([(folder / 'b.png', 'red'), (folder / 'absent.png', 'red')])
    assert next(stream).name == str(folder / 'b.png')
    with pytest.raises(FileNotFoundError, match='absent.png'):
        next(stream)


def test_a_batch_of_nothing_is_refused(inferencer: ReferringInferencer, pictures: list[np.ndarray]) -> None:
    for size in (0, 1.5, '2', None):
        with pytest.raises(ValueError, match=f'batch_size must be at least 1 and whole, got {size!r}'):
            inferencer(pictures[0], 'red', batch_size=size)
    assert len(inferencer(pictures[:2], ['red', 'red'], batch_size=np.int64(2))) == 2


def test_anything_that_gives_pictures_is_asked_the_same_of_each(
    inferencer: ReferringInferencer, pictures: list[np.ndarray], folder: Path
) -> None:
    named = {name: folder / name for name in NAMES}
    for images, number in ((named.values(), len(NAMES)), ({*named.values()}, len(NAMES)), (deque(pictures[:2]), 2)):
        assert len(inferencer(images, 'red', batch_size=3)) == number
    for one in (named, b'a.jpg', torch.zeros(3, 20, 20)):
        with pytest.raises(TypeError, match='a picture must be a uint8 RGB array'):
            inferencer(one, 'red')


@pytest.mark.parametrize('pair', ['a.jpg', ('a.jpg',), ('a.jpg', 'red', 'blue'), 3])
def test_a_stream_wants_pairs(inferencer: ReferringInferencer, pair: object) -> None:
    with pytest.raises(TypeError, match=r'Give pairs, \(picture, expression or expressions\)'):
        list(inferencer.stream([pair]))


def test_a_picture_that_was_encoded_is_answered_alike_and_never_encoded_again(
    inferencer: ReferringInferencer, pictures: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    (called,) = inferencer(pictures[0], ['left zebra', 'the tree', 'red'])
    encoded = inferencer.encode(pictures[0])
    assert encoded.nbytes > pictures[0].nbytes
    monkeypatch.setattr(inferencer.model, 'embed_image', lambda _: pytest.fail('encoded again'))
    check_equal(called, inferencer.ask(encoded, ['left zebra', 'the tree', 'red']))
    (single,) = inferencer.ask(encoded, 'the tree').probabilities
    np.testing.assert_allclose(single, called.probabilities[1], rtol=0, atol=1e-5)
    for nothing in ([], '  '):
        with pytest.raises(ValueError, match='at least one'):
            inferencer.ask(encoded, nothing)


@torch.inference_mode()
def test_correlation_is_that_of_sentence_and_patches(
    inferencer: ReferringInferencer, pictures: list[np.ndarray]
) -> None:
    encoded = inferencer.encode(pictures[0])
    maps = inferencer.correlate(encoded, ['left zebra', 'the tree'])
    assert maps.shape == (2, *encoded.letterbox.scaled) and maps.dtype == np.float32
    assert np.array_equal(maps.min(axis=(1, 2)), [0, 0]) and np.allclose(maps.max(axis=(1, 2)), 1)
    model, ids = inferencer.model, inferencer.prepare(pictures[0], 'the tree').data_sample.expressions.input_ids
    sentence = model.encode_text(model.embed_text(ids), ids).sentence[0]
    visual = encoded.features.visual
    assert visual is not None
    scores = (visual.patches[0] @ sentence).unflatten(0, visual.levels[0].shape[2:])
    rows, columns = encoded.letterbox.window
    patch = encoded.letterbox.size[0] // scores.shape[0]
    inside = scores[rows.start // patch : rows.stop // patch, columns.start // patch : columns.stop // patch].flatten()
    middles = maps[1, patch // 2 :: patch, patch // 2 :: patch].flatten()[: len(inside)]
    assert np.corrcoef(inside.numpy(), middles)[0, 1] > 0.95


@pytest.mark.slow
def test_a_picture_of_fifty_megapixels_takes_bounded_memory() -> None:
    script = """
import resource, sys
import numpy as np
from cmmasksd.apis import ReferringInferencer
inferencer = ReferringInferencer('vit-tiny_refshapes', device='cpu')
inferencer(np.zeros((64, 64, 3), np.uint8), 'red')[0].masks
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
(result,) = inferencer(np.zeros((5800, 8600, 3), np.uint8), ['red'] * 8)
assert result.masks.shape == (8, 5800, 8600)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True)
    # the picture 0.15 GB and eight masks 0.4 GB, beside what one mask's enlargement takes; probabilities would be 1.6
    assert 0.5e6 < int(done.stdout.split()[-1]) < 1.5e6
