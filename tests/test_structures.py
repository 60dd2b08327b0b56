from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

import pytest
import torch

from cmmasksd.structures import Letterbox, TextFeatures, gather_images


@pytest.mark.parametrize(
    ('original', 'size', 'scaled', 'offset'),
    [
        ((480, 640), (576, 576), (432, 576), (72, 0)),
        ((640, 480), (576, 576), (576, 432), (0, 72)),
        ((427, 640), (480, 480), (320, 480), (80, 0)),  # 320.25 rows
        ((333, 500), (480, 480), (320, 480), (80, 0)),  # 319.68 rows
        ((101, 100), (64, 64), (64, 63), (0, 0)),  # one column is left over: the corner is floored
        ((20, 30), (40, 60), (40, 60), (0, 0)),
        ((100, 100), (40, 60), (40, 40), (0, 10)),  # not square
        ((1, 5000), (32, 32), (1, 32), (15, 0)),  # never thinner than a pixel
        ((64, 64), (64, 64), (64, 64), (0, 0)),
    ],
)
def test_placement(original, size, scaled, offset):
    letterbox = Letterbox.fit(original, size)
    assert letterbox == Letterbox(original, scaled, offset, size)
    rows, columns = letterbox.window
    assert torch.zeros(size)[rows, columns].shape == scaled


def test_placement_fills_one_side_and_keeps_the_ratio():
    tested = 0
    for height in range(7, 700, 61):
        for width in range(5, 700, 67):
            letterbox = Letterbox.fit((height, width), (96, 128))
            assert letterbox.scaled[0] == 96 or letterbox.scaled[1] == 128
            assert abs(letterbox.scaled[0] * width - letterbox.scaled[1] * height) <= 0.51 * max(height, width)
            borders = [
                outer - inner - 2 * corner
                for outer, inner, corner in zip((96, 128), letterbox.scaled, letterbox.offset)
            ]
            assert all(0 <= border <= 1 for border in borders)
            tested += 1
    assert tested == 132


def test_undo_at_the_pictures_own_scale_is_exact():
    letterbox = Letterbox.fit((20, 30), (30, 30))
    picture = torch.rand(4, 20, 30)
    canvas = torch.full((4, 30, 30), 0.9)
    canvas[:, letterbox.window[0], letterbox.window[1]] = picture
    assert torch.equal(letterbox.undo(canvas), picture)


@pytest.mark.parametrize('original', [(40, 30), (13, 57), (64, 64), (200, 90)])
def test_undo_gives_the_original_size_in_bounds(original):
    letterbox = Letterbox.fit(original, (64, 64))
    canvas = (torch.rand(2, 64, 64) > 0.5).float()  # hard edges: bicubic resizing overshoots
    undone = letterbox.undo(canvas)
    assert undone.shape == (2, *original)
    assert undone.min() >= 0 and undone.max() <= 1
    torch.testing.assert_close(letterbox.undo(torch.ones(1, 64, 64)), torch.ones(1, *original))


def test_undo_does_not_see_the_border():
    letterbox = Letterbox.fit((40, 20), (64, 64))
    canvas = torch.rand(1, 64, 64)
    bordered = torch.ones(1, 64, 64)
    rows, columns = letterbox.window
    bordered[:, rows, columns] = canvas[:, rows, columns]
    assert torch.equal(letterbox.undo(bordered), letterbox.undo(canvas))


def test_undo_keeps_positions():
    """A smooth ramp comes back to the picture's coordinates."""
    letterbox = Letterbox.fit((100, 50), (64, 64))
    canvas = torch.zeros(1, 64, 64)
    rows, columns = letterbox.window
    canvas[:, rows, columns] = ((torch.arange(letterbox.scaled[0]) + 0.5) / letterbox.scaled[0])[:, None]
    expected = ((torch.arange(100) + 0.5) / 100)[:, None].expand(100, 50)
    assert (letterbox.undo(canvas)[0] - expected)[4:-4].abs().max() < 1e-3


def test_undo_is_bicubic():
    """Beside an edge it overshoots, as bilinear resizing does not, by the cubic kernel's negative lobes."""
    canvas = torch.full((1, 32, 32), 0.25)
    canvas[..., 16:] = 0.75
    undone = Letterbox.fit((64, 64), (32, 32)).undo(canvas)
    assert undone.min() < 0.22 and undone.max() > 0.78


def test_gather_images():
    features = torch.randn(3, 2, 4, requires_grad=True)
    assert gather_images(features, None) is features
    gathered = gather_images(features, torch.tensor([2, 0, 2]))
    assert torch.equal(gathered, torch.stack([features[2], features[0], features[2]]))
    gathered.sum().backward()
    assert features.grad[:, 0, 0].tolist() == [1, 0, 2]


def test_rows_of_text_features():
    shapes = dict(words=(4, 3, 2), tokens=(4, 3, 5), sentence=(4, 5), padding=(4, 3), word_tokens=(4, 3))
    features = TextFeatures(**{name: torch.randn(shape) for name, shape in shapes.items()})
    rows = features[1:3]
    assert [field.name for field in fields(rows)] == list(shapes)
    for name in shapes:
        assert torch.equal(getattr(rows, name), getattr(features, name)[1:3])
    with pytest.raises(FrozenInstanceError):
        rows.words = None


def test_gathered_maps_keep_their_layout():
    """One odd layout costs every convolution and resizing after it a copy, or a slow kernel."""
    index = torch.tensor([2, 0, 2])
    first = torch.randn(3, 4, 5, 6)
    last = first.contiguous(memory_format=torch.channels_last)
    assert gather_images(first, index).is_contiguous()
    gathered = gather_images(last, index)
    assert gathered.is_contiguous(memory_format=torch.channels_last) and torch.equal(gathered, first[index])
