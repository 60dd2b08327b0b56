"""Reading of pictures, good and bad, and of masks."""

import cv2
import numpy as np
import pytest
from PIL import Image

from cmmasksd.datasets.transforms import LoadReferringImage, LoadReferringMasks
from cmmasksd.datasets.transforms.loading import is_cut_jpeg

HEIGHT, WIDTH = 48, 64
ORIENTATION = 0x0112


@pytest.fixture(scope='module')
def smooth() -> np.ndarray:
    """A picture that JPEG keeps nearly as it is; its four corners differ."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([rows * 5, columns * 3, np.full_like(rows, 90)], -1).astype(np.uint8)


def load(path, **record) -> np.ndarray:
    return LoadReferringImage().transform(dict(img_path=str(path), **record))['img']


def oriented(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


@pytest.mark.parametrize('ending', ['png', 'jpg', 'bmp', 'webp'])
def test_rgb_order(tmp_path, smooth, ending):
    path = tmp_path / f'picture.{ending}'
    Image.fromarray(smooth).save(path, quality=98)
    image = load(path, height=HEIGHT, width=WIDTH)
    assert image.dtype == np.uint8 and image.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(image.astype(int) - smooth).mean() < (1e-9 if ending in ('png', 'bmp') else 3)


@pytest.mark.parametrize(
    ('name', 'picture', 'expected'),
    [
        ('grey', lambda smooth: smooth[..., 0], lambda smooth: smooth[..., [0, 0, 0]]),
        ('rgba', lambda smooth: np.dstack([smooth[..., ::-1], smooth[..., 0]]), lambda smooth: smooth),
        ('16 bit', lambda smooth: smooth[..., ::-1].astype(np.uint16) * 257, lambda smooth: smooth),
        ('16 bit grey', lambda smooth: smooth[..., 1].astype(np.uint16) * 257, lambda smooth: smooth[..., [1, 1, 1]]),
    ],
)
def test_other_pixels_become_rgb(tmp_path, smooth, name, picture, expected):
    path = tmp_path / 'picture.png'
    assert cv2.imwrite(str(path), picture(smooth))
    image = load(path)
    assert image.dtype == np.uint8 and np.array_equal(image, expected(smooth))


def test_orientation_is_ignored_only_where_the_record_is_annotated(tmp_path, smooth):
    path = tmp_path / 'turned.jpg'
    Image.fromarray(smooth).save(path, quality=98, exif=oriented(6))
    stored = load(path, height=HEIGHT, width=WIDTH)
    assert stored.shape == (HEIGHT, WIDTH, 3)
    results = LoadReferringImage().transform(dict(img_path=str(path)))
    assert results['img'].shape == (WIDTH, HEIGHT, 3) and (results['height'], results['width']) == (WIDTH, HEIGHT)
    assert np.abs(results['img'].astype(int) - np.rot90(stored, -1)).max() == 0


@pytest.mark.parametrize('progressive', [False, True])
@pytest.mark.parametrize('share', [0.0, 0.01, 0.3, 0.9, 0.999])
def test_a_cut_jpeg_raises(tmp_path, smooth, share, progressive):
    path = tmp_path / 'cut.jpg'
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    thumbnail = Image.Exif()
    thumbnail[0x010E] = 'a thumbnail ends so: \xff\xd9'
    Image.fromarray(noise).save(path, exif=thumbnail, progressive=progressive)
    content = path.read_bytes()
    assert load(path).shape == noise.shape
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match='cut.jpg.*truncated'):
        load(path)


def test_a_cut_jpeg_raises_where_the_decoder_is_lenient(tmp_path, smooth, monkeypatch):
    whole = cv2.imencode('.jpg', smooth)[1].tobytes()
    path = tmp_path / 'cut.jpg'
    monkeypatch.setattr(cv2, 'imdecode', lambda data, flags: smooth)  # as OpenCV 4 does, which fills with grey
    path.write_bytes(whole)
    assert load(path).shape == smooth.shape
    path.write_bytes(whole[:-40])
    with pytest.raises(ValueError, match='truncated'):
        load(path)


def test_what_counts_as_cut(smooth):
    whole = cv2.imencode('.jpg', smooth)[1].tobytes()
    scan = whole.index(b'\xff\xda')
    thumbnail = b'\xff\xe1\x00\x06\xff\xd8\xff\xd9'
    cases = [
        (whole, False),
        (whole + b'\x00' * 9, False),
        (whole[:-1], True),
        (whole[:-2], True),
        (whole[: scan - 1], True),
        (whole[:2] + thumbnail + whole[2:-2], True),
        (whole[:2] + b'\xff\xff' + whole[2:], False),
        (whole[:2], True),
    ]
    for data, expected in cases:
        assert is_cut_jpeg(data) is expected
    assert len(cases) == 8


@pytest.mark.parametrize(
    ('content', 'error', 'message'),
    [(None, FileNotFoundError, 'no such'), (b'', ValueError, '0 bytes'), (b'<html>', ValueError, 'no picture')],
)
def test_no_picture(tmp_path, content, error, message):
    path = tmp_path / 'picture.jpg'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match=rf'picture\.jpg \(ref 3, 4\).*{message}'):
        load(path, refs=[dict(ref_id=3), dict(ref_id=4)])


def test_the_annotated_size_must_be_the_pictures(tmp_path, smooth):
    path = tmp_path / 'picture.png'
    cv2.imwrite(str(path), smooth)
    with pytest.raises(ValueError, match=r'picture\.png.*48 x 64 .* 64 x 48'):
        load(path, height=WIDTH, width=HEIGHT)


def test_a_given_picture_is_used_as_it_is(smooth):
    results = LoadReferringImage().transform(dict(img=smooth))
    assert results['img'] is smooth and (results['height'], results['width']) == (HEIGHT, WIDTH)


@pytest.mark.parametrize(
    'picture',
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((0, 4, 3), np.uint8),
        'text',
    ],
)
def test_a_given_picture_of_another_kind(picture):
    with pytest.raises(TypeError, match='uint8 RGB'):
        LoadReferringImage().transform(dict(img=picture))


def square(x: int) -> dict:
    return dict(ref_id=x, ann_id=x, segmentation=[[x, 2, x + 10, 2, x + 10, 22, x, 22]])


def test_masks():
    masks = LoadReferringMasks().transform(
        dict(height=HEIGHT, width=WIDTH, img_path='a', refs=[square(0), square(30)])
    )['masks']
    assert masks.shape == (2, HEIGHT, WIDTH) and masks.dtype == bool and masks.flags.c_contiguous
    assert [mask.sum() for mask in masks] == [200, 200]
    assert masks[1, 10, 35] and not masks[0, 10, 35]


def test_an_empty_mask_names_ref_and_file():
    empty = dict(ref_id=7, ann_id=70, segmentation=dict(size=[HEIGHT, WIDTH], counts=[HEIGHT * WIDTH]))
    with pytest.raises(ValueError, match=r'a\.jpg.*ref 7\b'):
        LoadReferringMasks().transform(dict(height=HEIGHT, width=WIDTH, img_path='a.jpg', refs=[square(0), empty]))
