"""Pictures that EXIF data turn: read cheaply, named once where a turn would go unseen."""

import io

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from cmmasksd.datasets.transforms import LoadReferringImage, orientation
from cmmasksd.datasets.transforms.orientation import read_orientation

HEIGHT, WIDTH = 24, 32


def encode(kind: str, orientation: int | None, size: tuple[int, int] = (HEIGHT, WIDTH)) -> bytes:
    exif = Image.Exif()
    exif[0x010E] = 'a description, before the orientation'
    if orientation is not None:
        exif[0x0112] = orientation
    file = io.BytesIO()
    Image.new('RGB', size[::-1], 'red').save(file, kind, exif=exif)
    return file.getvalue()


@pytest.fixture
def said(monkeypatch) -> list[str]:
    messages: list[str] = []
    monkeypatch.setattr(orientation, 'print_log', lambda message, **options: messages.append(message))
    return messages


@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP'])
@pytest.mark.parametrize(('stored', 'read'), [(None, 1), (0, 1), (9, 1), *((value, value) for value in range(1, 9))])
def test_the_orientation_is_read(kind, stored, read):
    assert read_orientation(encode(kind, stored)) == read


def test_both_byte_orders_are_read():
    big = b'MM\0*' + bytes([0, 0, 0, 8]) + b'\0\1' + b'\x01\x12\0\3\0\0\0\1\0\6\0\0'
    little = b'II*\0' + bytes([8, 0, 0, 0]) + b'\1\0' + b'\x12\x01\3\0\1\0\0\0\6\0\0\0'
    for exif in (big, little):
        assert read_orientation(b'\xff\xd8\xff\xe1' + (len(exif) + 8).to_bytes(2, 'big') + b'Exif\0\0' + exif) == 6


def test_other_files_are_upright():
    plain = io.BytesIO()
    Image.new('RGB', (4, 4)).save(plain, 'JPEG')
    whole = encode('JPEG', 3)
    start = whole.index(b'Exif')
    broken = whole[: start + 6] + b'?' * 20 + whole[start + 26 :]
    cases = [plain.getvalue(), encode('TIFF', 3), b'', b'\xff\xd8', b'RIFF', b'text', broken, whole[: start + 10]]
    assert [read_orientation(data) for data in cases] == [1] * len(cases)


def test_any_damage_is_survived():
    generator = np.random.default_rng(0)
    for kind in ('JPEG', 'PNG', 'WEBP'):
        whole = encode(kind, 6)
        for _ in range(300):
            damaged = bytearray(whole[: generator.integers(1, len(whole) + 1)])
            for position in generator.integers(0, len(damaged), 4):
                damaged[position] = generator.integers(0, 256)
            assert 1 <= read_orientation(bytes(damaged)) <= 8


@pytest.mark.parametrize('stored', range(1, 9))
@pytest.mark.parametrize('size', [(HEIGHT, WIDTH), (HEIGHT, HEIGHT)])
def test_a_turn_that_keeps_the_size_is_said(tmp_path, said, stored, size):
    """Of an annotated picture: half turns and mirrorings, and quarter turns of square ones."""
    path = tmp_path / 'picture.jpg'
    path.write_bytes(encode('JPEG', stored, size))
    unseen = stored > 1 and (stored < 5 or size[0] == size[1])
    image = LoadReferringImage().transform(dict(img_path=str(path), height=size[0], width=size[1]))['img']
    assert image.shape[:2] == size
    assert [str(path) in message and f'EXIF orientation {stored}' in message for message in said] == [True] * unseen
    assert all('mogrify -auto-orient' in message and len(message) < 400 for message in said)
    LoadReferringImage().transform(dict(img_path=str(path)))  # not annotated: turned, as viewers do
    LoadReferringImage(name_turned=False).transform(dict(img_path=str(path), height=size[0], width=size[1]))
    assert len(said) == unseen


def test_the_first_pictures_are_named_once_each(tmp_path, said):
    load = LoadReferringImage()
    for number in [0, 0, 1, 2, 1, 3, 4, 5, 6]:
        path = tmp_path / f'{number}.jpg'
        path.write_bytes(encode('JPEG', 3))
        load.transform(dict(img_path=str(path), height=HEIGHT, width=WIDTH))
    assert [message.split(' is ')[0] for message in said] == [str(tmp_path / f'{number}.jpg') for number in range(5)]
    assert [message.endswith('More are not named: check_refer.py lists all.') for message in said] == [False] * 4 + [
        True
    ]


class Pictures:
    """A data set of one turned picture, sixteen times."""

    def __init__(self, path: str) -> None:
        self.path, self.load = path, LoadReferringImage()

    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> int:
        return self.load.transform(dict(img_path=self.path, height=HEIGHT, width=WIDTH))['height']


def test_workers_and_epochs_say_it_once(tmp_path, monkeypatch):
    path, log = tmp_path / 'turned.jpg', tmp_path / 'log'
    path.write_bytes(encode('JPEG', 3))

    def write(message: str, **options: object) -> None:
        with log.open('a') as file:
            file.write(message + '\n')

    monkeypatch.setattr(orientation, 'print_log', write)  # forked workers have it too
    pictures = Pictures(str(path))
    for _ in range(3):  # workers are started anew for each
        assert len(list(DataLoader(pictures, num_workers=2, multiprocessing_context='fork'))) == 16
    # two workers may meet it in the same moment, in the first epoch
    assert 1 <= log.read_text().count('turned.jpg is stored turned') <= 2


@pytest.mark.parametrize('stored', [5, 6, 7, 8])
def test_an_annotation_of_the_turned_picture_is_told_so(tmp_path, stored):
    path = tmp_path / 'phone.jpg'
    path.write_bytes(encode('JPEG', stored))
    with pytest.raises(ValueError, match=rf'24 x 32 .*32 x 24 .*EXIF orientation {stored}.*save it upright, `mogrify'):
        LoadReferringImage().transform(dict(img_path=str(path), height=WIDTH, width=HEIGHT))
    with pytest.raises(ValueError, match='24 x 32 .*48 x 64.*; put the picture that was annotated in its place'):
        LoadReferringImage().transform(dict(img_path=str(path), height=48, width=64))
