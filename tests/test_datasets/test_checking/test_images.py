"""The checker's look at pictures: each is decoded as in training, in worker processes that may die."""

import io
import os
import time
import warnings

import numpy as np
import PIL.Image
import pytest

from cmmasksd.datasets.checking import check_refer, decoding
from cmmasksd.datasets.checking.decoding import (
    DAMAGED,
    MISSING,
    SUSPECT,
    TURNED,
    UNREADABLE,
    WRONG_SIZE,
    examine,
    hears_damage,
)
from cmmasksd.datasets.checking.images import examine_all
from cmmasksd.datasets.refer import Image
from cmmasksd.datasets.transforms.loading import LoadReferringImage
from tests.test_datasets.test_refer.test_reader import make_ref, make_set, write_set

HEIGHT, WIDTH = 96, 128


def make_jpeg(height=HEIGHT, width=WIDTH, **options):
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(noise).save(file, 'JPEG', quality=90, **options)
    return file.getvalue()


def make_turned():
    exif = PIL.Image.Exif()
    exif[0x0112] = 3
    return make_jpeg(exif=exif)


def make_png():
    file = io.BytesIO()
    PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)).save(file, 'PNG')
    return file.getvalue()


JPEG, PNG = make_jpeg(), make_png()
MIDDLE = len(JPEG) // 2
PROGRESSIVE = make_jpeg(progressive=True)
PICTURES = {
    'missing': (None, MISSING, 'no such picture'),
    'empty': (b'', UNREADABLE, 'truncated or no picture'),
    'a web page': (b'<html>Not Found</html>', UNREADABLE, 'truncated or no picture'),
    'truncated JPEG': (JPEG[:MIDDLE], UNREADABLE, 'truncated or no picture'),
    'JPEG cut within its header': (JPEG[:100], UNREADABLE, 'truncated or no picture'),
    'truncated PNG': (PNG[: len(PNG) // 2], UNREADABLE, 'truncated or no picture'),
    'PNG with a wrong byte': (
        PNG[: len(PNG) // 2] + b'\x00\x01' + PNG[len(PNG) // 2 + 2 :],
        UNREADABLE,
        'truncated or no picture',
    ),
    'another size': (make_jpeg(WIDTH, HEIGHT), WRONG_SIZE, 'is 128 x 96 pixels but instances.json says 96 x 128'),
    'turned by EXIF': (make_turned(), TURNED, 'its EXIF orientation is 3'),
    'JPEG with lost blocks': (JPEG[:MIDDLE] + JPEG[MIDDLE + 500 :], DAMAGED, 'premature end of data segment'),
    'JPEG overwritten with zeros': (
        JPEG[: MIDDLE - 1000] + bytes(1000) + JPEG[MIDDLE:],
        SUSPECT,
        'extraneous bytes before marker',
    ),
    'JPEG filled up with an end marker': (JPEG[:MIDDLE] + b'\xff\xd9', DAMAGED, 'premature end of data segment'),
    'progressive JPEG with lost blocks': (
        PROGRESSIVE[: len(PROGRESSIVE) // 2] + b'\xff\xd9',
        DAMAGED,
        'premature end of data segment',
    ),
}
SOUND = {'JPEG': JPEG, 'PNG': PNG, 'progressive JPEG': PROGRESSIVE, 'JPEG with data after its end': JPEG + b'camera'}


def write(folder, content):
    path = folder / 'picture.jpg'
    if content is not None:
        path.write_bytes(content)
    return Image(7, str(path), HEIGHT, WIDTH)


@pytest.mark.parametrize('name', PICTURES)
def test_what_is_the_matter_with_a_picture(tmp_path, capfd, name):
    content, kind, message = PICTURES[name]
    (problem,) = examine(write(tmp_path, content))
    assert problem[0] == kind and message in problem[1]
    assert capfd.readouterr().err == ''  # what decoders print is caught


@pytest.mark.parametrize('name', SOUND)
def test_nothing_is_the_matter_with_a_sound_picture(tmp_path, name):
    assert examine(write(tmp_path, SOUND[name])) == []


def test_a_picture_may_have_two_problems(tmp_path):
    cut = make_jpeg(WIDTH, HEIGHT)[:MIDDLE]
    assert [kind for kind, _ in examine(write(tmp_path, cut))] == [WRONG_SIZE, UNREADABLE]


def test_what_is_no_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / 'pipe')  # opening it would wait for ever
    for path in (tmp_path, tmp_path / 'pipe'):
        assert examine(Image(7, str(path), HEIGHT, WIDTH)) == [
            (UNREADABLE, 'it is a folder or a device, not a file; put the picture in its place')
        ]


@pytest.mark.parametrize(
    ('width', 'message'),
    [(12_000, '9000 x 12000 pixels (height x width) are more than is read'), (20_000, '180000000')],
)
def test_a_huge_picture_is_not_decoded(tmp_path, monkeypatch, width, message):
    path = tmp_path / 'picture.png'
    PIL.Image.new('1', (width, 9_000)).save(path)
    monkeypatch.setattr(LoadReferringImage, 'transform', lambda *_: pytest.fail('it was decoded'))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        ((kind, text),) = examine(Image(7, str(path), 9_000, width))
    assert kind == UNREADABLE and message in text


def test_a_huge_file_is_not_decoded(tmp_path, monkeypatch):
    (tmp_path / 'picture.jpg').write_bytes(make_jpeg())
    size = (tmp_path / 'picture.jpg').stat().st_size
    monkeypatch.setattr(decoding, 'MAX_FILE_BYTES', size)
    assert examine(Image(7, str(tmp_path / 'picture.jpg'), HEIGHT, WIDTH)) == []
    monkeypatch.setattr(decoding, 'MAX_FILE_BYTES', size - 1)
    ((kind, text),) = examine(Image(7, str(tmp_path / 'picture.jpg'), HEIGHT, WIDTH))
    assert kind == UNREADABLE and f'{size} bytes of 96 x 128 pixels' in text and 'more than is read' in text


def test_any_failure_of_a_decoder_is_a_finding(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError('odd bytes')

    monkeypatch.setattr(LoadReferringImage, 'transform', fail)
    assert examine(write(tmp_path, JPEG)) == [(UNREADABLE, 'RuntimeError: odd bytes')]


def test_this_opencv_passes_on_what_libjpeg_says():
    assert hears_damage()


def write_pictures(root):
    """Three pictures: sound, of another size, missing."""
    instances = make_set()[1]
    for image in instances['images']:
        image.update(height=HEIGHT, width=WIDTH)
    for annotation in instances['annotations']:
        annotation['segmentation'] = [[10, 5, 30, 5, 30, 25]]
    refs = [make_ref(1, 100, 7, 'train', 'a'), make_ref(2, 102, 8, 'train', 'b'), make_ref(3, 999, 9, 'train', 'c')]
    write_set(root, refs, instances)
    for image_id, content in ((7, JPEG), (8, make_jpeg(50, 50))):
        (root / f'images/train2014/COCO_train2014_{image_id:012d}.jpg').write_bytes(content)


def test_problems_stand_in_the_report_with_path_and_id(tmp_path):
    write_pictures(tmp_path)
    report = check_refer(tmp_path, 'refcoco', 'own', jobs=0)
    assert report.images_decoded == 3
    assert [(group.kind, group.count) for group in report.groups] == [(WRONG_SIZE, 1), (MISSING, 1)]
    for group, image_id in zip(report.groups, (8, 9), strict=True):
        assert group.findings[0].place == str(tmp_path / f'images/train2014/COCO_train2014_{image_id:012d}.jpg')
        assert group.findings[0].ids == {'image_id': image_id}


def test_an_opencv_that_hears_nothing_is_told_of(tmp_path, monkeypatch):
    write_pictures(tmp_path)
    monkeypatch.setattr('cmmasksd.datasets.checking.folder.hears_damage', lambda: False)
    assert any(
        'goes unseen' in finding.text
        for group in check_refer(tmp_path, 'refcoco', 'own', jobs=0).groups
        for finding in group.findings
    )


def number_or_crash(image):
    """Stands for a decoder that ends its process at some pictures; later ones are done earlier."""
    if image.image_id in (7, 55):
        os._exit(3)
    time.sleep(0.0002 * (80 - image.image_id))
    return [(MISSING, str(image.image_id))]


@pytest.mark.slow
def test_workers_keep_the_order_and_survive_crashes():
    images = [Image(number, '', 1, 1) for number in range(80)]
    results = list(examine_all(images, 2, number_or_crash))
    assert [image for image, _ in results] == images
    assert [image.image_id for image, ((kind, _),) in results if kind == UNREADABLE] == [7, 55]
    assert all(message == str(image.image_id) for image, ((kind, message),) in results if kind == MISSING)
