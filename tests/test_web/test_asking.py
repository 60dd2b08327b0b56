"""What people hand in is looked at before any model is."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from PIL import Image

from cmmasksd.web.asking import check_picture, read_question, read_sentences


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('left zebra', ('left zebra',)),
        ('  left   zebra \r\n\n the tree\nleft zebra\n', ('left zebra', 'the tree')),
        ('左の犬', ('左の犬',)),
    ],
)
def test_sentences_are_lines(text: str, expected: tuple[str, ...]) -> None:
    assert read_sentences(text) == expected


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'no sentence yet'),
        (' \n\t\n', 'no sentence yet'),
        (None, 'no sentence yet'),
        ('\n'.join(map(str, range(200))), '200 sentences are too many'),
        ('red\n' + 501 * 'x', '501 letters'),
    ],
)
def test_texts_that_ask_nothing_or_too_much(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_sentences(text)


def test_pictures_that_are_none_or_too_large(tmp_path: Path) -> None:
    (tmp_path / 'notes.jpg').write_text('no picture')
    Image.new('L', (8, 8)).save(tmp_path / 'small.bmp')
    header = (tmp_path / 'small.bmp').read_bytes()
    for width, name in ((10001, 'large.bmp'), (20000, 'bomb.bmp')):  # width and height stand at byte 18
        (tmp_path / name).write_bytes(header[:18] + struct.pack('<ii', width, 10000) + header[26:])
    for name, message in (('notes.jpg', 'is no picture'), ('large.bmp', '100 megapixels'), ('bomb.bmp', 'far more')):
        with pytest.raises(ValueError, match=f'{name} .*{message}') as told:
            check_picture(str(tmp_path / name))
        assert str(tmp_path) not in str(told.value)


def test_a_question_goes_by_content(tmp_path: Path, picture: Path) -> None:
    copy = tmp_path / 'copy.png'
    copy.write_bytes(picture.read_bytes())
    first, second = read_question(str(picture), 'red'), read_question(str(copy), 'red')
    assert first.digest == second.digest and (first.name, second.name) == ('picture.png', 'copy.png')
    with pytest.raises(ValueError, match='no picture yet'):
        read_question(None, 'red')
