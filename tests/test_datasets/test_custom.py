"""One's own table becomes a set that the reader takes; what is wrong with it is told row by row, and nothing is
written then.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from cmmasksd.datasets import RefCOCODataset
from cmmasksd.datasets.custom import make_custom, publishing
from cmmasksd.datasets.custom.problems import MAX_SHOWN
from cmmasksd.datasets.refer import ReferError, decode_mask, load_refer

HEIGHT, WIDTH = 30, 40
SQUARE = [4, 3, 14, 3, 14, 13, 4, 13]
PIPELINE = [
    dict(type='LoadReferringImage'),
    dict(type='SelectSentences', mode='all'),
    dict(type='LoadReferringMasks'),
    dict(type='LetterboxResize', size=(32, 48), resize_masks=False),
    dict(type='TokenizeExpressions', token_length=17),
    dict(type='PackReferringInputs'),
]


def draw_mask(left: int, value: int = 255) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[5:15, left : left + 8] = value
    mask[7:9, left + 2 : left + 4] = 0  # a hole, which polygons cannot say
    return mask


def encode(mask: np.ndarray) -> dict[str, Any]:
    code = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {'size': code['size'], 'counts': code['counts'].decode()}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with pictures 0.jpg to 5.jpg and masks m0.png to m5.png."""
    folder = tmp_path / 'source'
    (folder / 'sub').mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(6):
        Image.fromarray(rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)).save(folder / f'{number}.jpg')
        Image.fromarray(draw_mask(4 * number)).save(folder / f'm{number}.png')
    return folder


@pytest.fixture
def make(source: Path, tmp_path: Path) -> Callable[..., dict]:
    """``make(rows, suffix, **options)``: writes the rows as a table and makes ``out/my_set`` of it."""

    def run(rows: list[dict] | str | bytes, suffix: str = '.csv', **options: Any) -> dict:
        table = source / f'table{suffix}'
        if isinstance(rows, list) and suffix == '.jsonl':
            table.write_text('\n'.join(map(json.dumps, rows)) + '\n\n')
        elif isinstance(rows, list):
            names = list(dict.fromkeys(name for row in rows for name in row))
            with table.open('w', newline='') as file:
                writer = csv.DictWriter(file, names, delimiter='\t' if suffix == '.tsv' else ',')
                writer.writeheader()
                writer.writerows(
                    [
                        {name: cell if isinstance(cell, (str, int)) else json.dumps(cell) for name, cell in row.items()}
                        for row in rows
                    ]
                )
        else:
            table.write_bytes(rows if isinstance(rows, bytes) else rows.encode())
        return make_custom(table, tmp_path / 'out', **{'dataset': 'my_set', **options})

    return run


def row(number: int, sentence: str = 'the thing', **more: Any) -> dict[str, Any]:
    return {'image': f'{number}.jpg', 'mask': f'm{number}.png', 'sentence': sentence, **more}


def load(tmp_path: Path) -> Any:
    return load_refer(tmp_path / 'out', 'my_set', 'custom')


@pytest.mark.parametrize('suffix', ['.csv', '.tsv', '.jsonl'])
def test_every_form_of_mask_is_read_back_exactly(make: Callable, tmp_path: Path, suffix: str) -> None:
    runs = np.diff(np.flatnonzero(np.diff(draw_mask(3).T.ravel(), prepend=1, append=7))).tolist()
    masks = [
        'm0.png',
        SQUARE,
        [SQUARE, [20, 20, 30, 20, 30, 29]],
        encode(draw_mask(3)),
        {'size': [HEIGHT, WIDTH], 'counts': runs},
    ]
    rows = [dict(row(number, f'thing, "{number}" é'), mask=mask, split='train') for number, mask in enumerate(masks)]
    assert make(rows, suffix) == {'train': {'images': 5, 'refs': 5, 'sentences': 5}}
    refs = load(tmp_path).refs
    decoded = [decode_mask(ref.segmentation, HEIGHT, WIDTH) for ref in refs]
    np.testing.assert_array_equal(decoded[0], draw_mask(0) > 0)
    assert refs[1].segmentation == [SQUARE] and refs[2].segmentation == masks[2]
    np.testing.assert_array_equal(decoded[3], draw_mask(3) > 0)
    np.testing.assert_array_equal(decoded[4], draw_mask(3) > 0)
    assert [ref.sentences[0].raw for ref in refs] == [f'thing, "{number}" é' for number in range(5)]


def test_the_set_goes_through_the_pipeline(make: Callable, source: Path, tmp_path: Path) -> None:
    make([row(number, split='val') for number in range(3)])
    data = RefCOCODataset(
        str(tmp_path / 'out'), dataset='my_set', split_by='custom', split='val', pipeline=PIPELINE, test_mode=True
    )
    assert len(data) == 3
    for number in range(3):
        sample = data[number]['data_samples']
        np.testing.assert_array_equal(sample.expressions.masks[0], draw_mask(4 * number) > 0)
        picture = Path(data.get_data_info(number)['img_path'])
        assert picture.read_bytes() == (source / f'{number}.jpg').read_bytes()


def test_rows_of_one_object_become_one_ref(make: Callable, source: Path, tmp_path: Path) -> None:
    (source / 'copy.jpg').write_bytes((source / '0.jpg').read_bytes())
    rows = [
        row(0, 'first'),
        row(1, 'other picture'),
        row(0, 'second'),
        dict(row(0, ' third  one '), mask=encode(draw_mask(0))),
        dict(row(0, 'another object'), mask='m1.png'),
        dict(row(0, 'under another name'), image='copy.jpg'),
    ]
    counts = make([dict(each, split='train') for each in rows])
    assert counts == {'train': {'images': 2, 'refs': 3, 'sentences': 6}}
    refs = load(tmp_path).refs
    assert [[sentence.sent for sentence in ref.sentences] for ref in refs] == [
        ['first', 'second', 'third one', 'under another name'],
        ['other picture'],
        ['another object'],
    ]
    assert refs[0].sentences[2].raw == ' third  one '
    assert len({sentence.sent_id for ref in refs for sentence in ref.sentences}) == 6


def test_object_ids_tell_objects_of_one_mask_apart(make: Callable, tmp_path: Path) -> None:
    rows = [
        row(0, 'shirt', object_id=7),
        row(0, 'man', object_id=8),
        row(0, 'his shirt', object_id='7'),
        row(1, 'else', object_id=7),
    ]
    make(rows, '.jsonl', val_fraction=0)
    assert [[sentence.sent for sentence in ref.sentences] for ref in load(tmp_path).refs] == [
        ['shirt', 'his shirt'],
        ['man'],
        ['else'],
    ]


def test_sentences_may_be_a_list_in_json_lines(make: Callable, tmp_path: Path) -> None:
    rows = [dict(row(0), sentence=['one', 'two']), {'image': '1.jpg', 'mask': 'm1.png', 'sentences': ['three']}]
    make(rows, '.jsonl', val_fraction=0)
    assert [[sentence.sent for sentence in ref.sentences] for ref in load(tmp_path).refs] == [['one', 'two'], ['three']]


def test_pictures_are_divided_by_a_seed(make: Callable, tmp_path: Path) -> None:
    rows = [row(number, f'{place} {number}') for number in range(6) for place in ('left', 'right')]
    divisions = []
    for seed in (0, 0, 1, 2, 3):
        counts = make(rows, val_fraction=0.34, seed=seed, force=True)
        data = load(tmp_path)
        assert counts['val'] == {'images': 2, 'refs': 2, 'sentences': 4} and counts['train']['images'] == 4
        assert not {ref.image_id for ref in data.split('val')} & {ref.image_id for ref in data.split('train')}
        divisions.append(tuple(ref.image_id for ref in data.split('val')))
    assert divisions[0] == divisions[1] and len(set(divisions)) > 1
    assert make(rows, force=True)['val']['images'] == 1
    assert set(make(rows[:2], force=True)) == {'train'}


def test_a_picture_in_two_splits_is_warned_of(make: Callable, tmp_path: Path) -> None:
    lines: list[str] = []
    counts = make([row(0, split='train'), row(1, split='train'), row(0, 'again', split='val')], report=lines.append)
    assert {split: number['refs'] for split, number in counts.items()} == {'train': 2, 'val': 1}
    assert [line for line in lines if '1 pictures are in more than one split (such as 0.jpg)' in line]
    data = load(tmp_path)
    assert data.split('train')[0].ann_id == data.split('val')[0].ann_id


@pytest.mark.parametrize('link', [True, False])
def test_pictures_are_linked_or_copied_under_names_of_their_own(
    make: Callable, source: Path, tmp_path: Path, link: bool
) -> None:
    (source / 'sub/0.jpg').write_bytes((source / '1.jpg').read_bytes())
    make(
        [row(0), dict(row(1), image='sub/0.jpg'), dict(row(2), image=str(source / '2.jpg'))], link=link, val_fraction=0
    )
    paths = [Path(image.path) for image in load(tmp_path).images.values()]
    assert [path.name.rsplit('_', 1)[0] for path in paths] == ['my_set_0', 'my_set_0', 'my_set_2'] and len(
        set(paths)
    ) == 3
    assert [path.read_bytes() for path in paths] == [(source / f'{number}.jpg').read_bytes() for number in range(3)]
    assert [path.is_symlink() for path in paths] == [link] * 3


def test_folders_of_pictures_and_masks(make: Callable, source: Path, tmp_path: Path) -> None:
    for kind, name in (('pictures', '0.jpg'), ('masks', 'm0.png')):
        (tmp_path / kind).mkdir()
        (source / name).rename(tmp_path / kind / name)
    assert make([row(0)], images=tmp_path / 'pictures', masks=tmp_path / 'masks')['train']['refs'] == 1


@pytest.mark.parametrize('mode', ['1', 'L', 'P', 'RGB', 'RGBA', 'I;16', 'white palette', 'one for object'])
def test_masks_of_every_usual_kind(make: Callable, source: Path, tmp_path: Path, mode: str) -> None:
    expected = draw_mask(4) > 0
    if mode == 'white palette':  # index 0 is the object
        image = Image.fromarray((~expected).astype(np.uint8), 'P')
        image.putpalette([200, 30, 0, 0, 0, 0])
    elif mode == 'I;16':
        image = Image.fromarray(expected.astype(np.uint16) * 900)
    else:
        image = Image.fromarray(draw_mask(4, 1 if mode == 'one for object' else 255))
        image = image if mode == 'one for object' else image.convert(mode)
    image.save(source / 'm0.png')
    make([row(0)])
    np.testing.assert_array_equal(decode_mask(load(tmp_path).refs[0].segmentation, HEIGHT, WIDTH), expected)


def test_grey_masks_need_a_threshold(make: Callable, source: Path, tmp_path: Path) -> None:
    grey = draw_mask(4)
    grey[5, 4:12] = 90
    grey[13, 4:12] = 127  # not above it
    grey[14, 4:12] = 200
    Image.fromarray(grey).save(source / 'm0.png')
    with pytest.raises(ReferError, match=r'line 2: the mask .*m0.png has 4 colours beside black.*--mask-threshold 127'):
        make([row(0)])
    make([row(0)], mask_threshold=127)
    np.testing.assert_array_equal(decode_mask(load(tmp_path).refs[0].segmentation, HEIGHT, WIDTH), grey > 127)


def spoil(source: Path) -> None:
    """Files with faults, for the table of bad rows."""
    (source / 'text.jpg').write_text('no picture')
    (source / 'cut.jpg').write_bytes((source / '0.jpg').read_bytes()[:-200])
    (source / 'cut.png').write_bytes((source / 'm0.png').read_bytes()[:60])
    Image.new('RGB', (WIDTH, HEIGHT), 'red').save(source / 'turned.jpg', exif=_turned())
    Image.fromarray(draw_mask(4).T.copy()).save(source / 'turned.png')
    Image.fromarray(draw_mask(4)).save(source / 'turned mask.png', exif=_turned())
    Image.new('L', (WIDTH, HEIGHT)).save(source / 'black.png')
    Image.new('RGBA', (WIDTH, HEIGHT), (255, 255, 255, 0)).save(source / 'clear.png')


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


BAD_ROWS: dict[str, tuple[dict[str, Any], str]] = {
    'missing image': ({'image': 'none.jpg'}, r'there is no picture .*none.jpg; correct the name, or give .*--images'),
    'a name that no file can have': ({'image': 'a' * 5000}, 'there is no picture'),
    'no picture': ({'image': 'text.jpg'}, 'text.jpg is truncated or no picture'),
    'truncated picture': ({'image': 'cut.jpg'}, 'cut.jpg.*truncated or no picture'),
    'turned picture': ({'image': 'turned.jpg'}, r'EXIF orientation 6.*save the picture upright'),
    'missing mask': ({'mask': 'none.png'}, 'there is no mask .*none.png'),
    'unreadable mask': ({'mask': 'cut.png'}, 'the mask .*cut.png cannot be read'),
    'mask of another size': ({'mask': 'turned.png'}, r'turned.png is 40 x 30 pixels, but its picture .*0.jpg 30 x 40'),
    'empty mask': ({'mask': 'black.png'}, 'black.png is empty: no pixel'),
    'picture with upper-case letters': ({'image': '0.JPG'}, r"there is no picture .*0.JPG \(there is '0.jpg'\)"),
    'mask with upper-case letters': ({'mask': 'M0.png'}, r"there is no mask .*M0.png \(there is 'm0.png'\)"),
    'picture of a Windows drive': ({'image': 'C:\\photos\\0.jpg'}, r'there is no picture .*C:\\photos\\0.jpg; correct'),
    'turned mask': ({'mask': 'turned mask.png'}, r'turned mask.png is stored turned .*save it upright, as PNG'),
    'mask in the words of Python': (
        {'mask': "{'size': [30, 40]}"},
        'its mask is not valid JSON .*write it by json.dumps',
    ),
    'transparent mask': ({'mask': 'clear.png'}, 'clear.png is transparent in places'),
    'mask that is no JSON': ({'mask': '[[1, 2'}, 'its mask is not valid JSON'),
    'polygon far outside': (
        {'mask': [[900, 3, 910, 3, 910, 13]]},
        'a polygon reaches far outside the picture of 30 x 40',
    ),
    'polygon of nothing': ({'mask': [[1, 1, 2, 2]]}, 'none of its polygon parts encloses anything'),
    'polygon of text': ({'mask': [['a', 'b']]}, 'not a flat list of numbers'),
    'polygon off the picture': ({'mask': [[-20, -20, -5, -20, -5, -5]]}, 'its mask covers no pixel'),
    'RLE of another size': (
        {'mask': {'size': [WIDTH, HEIGHT], 'counts': [0, HEIGHT * WIDTH]}},
        r'RLE has size \[40, 30\]',
    ),
    'RLE without counts': ({'mask': {'size': [HEIGHT, WIDTH]}}, 'not an RLE with size and counts'),
    'empty sentence': ({'sentence': ''}, 'its sentence is empty'),
    'blank sentence': ({'sentence': ' \t'}, 'its sentence is empty'),
    'endless sentence': ({'sentence': 'a' * 10_001}, 'not text of at most 10000 characters'),
    'no mask': ({'mask': ''}, 'it has no mask; fill it in'),
    'unknown split': ({'split': 'Train'}, "its split 'Train' is unknown; use one of: train, val, test, testA, testB"),
    'no split': ({'split': ''}, 'it has no split, but other rows have'),
}


@pytest.mark.parametrize('suffix', ['.csv', '.jsonl'])
def test_bad_rows_are_named_together_and_nothing_is_written(
    make: Callable, source: Path, tmp_path: Path, suffix: str
) -> None:
    spoil(source)
    rows = [row(0, split='train')] + [{**row(0, split='train'), **wrong} for wrong, _ in BAD_ROWS.values()]
    with pytest.raises(ReferError) as caught:
        make(rows, suffix)
    first, *lines = str(caught.value).splitlines()
    assert first.startswith(f'{len(BAD_ROWS)} problems in {source / "table"}{suffix}; nothing was written')
    start = 2 + (suffix == '.csv')  # the first row is a good one
    by_line = {int(line.split(', line ')[1].split(':')[0]): line for line in lines}
    assert sorted(by_line) == list(range(start, start + len(BAD_ROWS)))
    for number, (name, (_, message)) in enumerate(BAD_ROWS.items(), start=start):
        with pytest.raises(ReferError, match=message):
            raise ReferError(by_line[number]) from AssertionError(name)
    assert not (tmp_path / 'out').exists()


def test_a_row_with_two_faults_is_named_for_both(make: Callable) -> None:
    with pytest.raises(ReferError, match='^2 problems in') as caught:
        make([row(0, split='train'), dict(row(0, split='x'), image='none.jpg')])
    assert 'unknown' in str(caught.value) and 'no picture' in str(caught.value)


def test_a_set_that_cannot_be_read_back_is_not_published(
    make: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path, split_by: str) -> None:
        raise ReferError(f'{folder.name} ({split_by}) cannot be read')

    monkeypatch.setattr(publishing, 'read_annotations', refuse)
    with pytest.raises(ReferError, match=r'my_set \(custom\) cannot be read'):
        make([row(0)])
    assert not list((tmp_path / 'out').iterdir())


@pytest.mark.parametrize('suffix, lines', [('.csv', (3, 2)), ('.jsonl', (2, 1))])
@pytest.mark.parametrize('object_id', [7, 0])
def test_an_object_with_two_masks(make: Callable, suffix: str, lines: tuple[int, int], object_id: int) -> None:
    message = f"line {lines[0]}: its object_id '{object_id}' has another mask in line {lines[1]}"
    with pytest.raises(ReferError, match=message):
        make([row(0, object_id=object_id), dict(row(0, object_id=object_id), mask='m1.png')], suffix)


def test_only_the_first_problems_are_shown(make: Callable) -> None:
    with pytest.raises(ReferError, match='^70 problems in') as caught:
        make([dict(row(0), image=f'none{number}.jpg') for number in range(70)])
    lines = str(caught.value).splitlines()
    assert len(lines) == MAX_SHOWN + 2 and lines[-1] == '... and 20 more'


BAD_TABLES: dict[str, tuple[str, str | bytes, str]] = {
    'no mask column': (
        '.csv',
        'image,sentence\n0.jpg,thing\n',
        'has no column mask; its first line must name .* but is: image, sentence',
    ),
    'no columns': ('.csv', '', 'has no column image and no column mask and no column sentence'),
    'a column twice': ('.csv', 'image,mask,sentence,mask\n', 'names a column twice'),
    'no rows': ('.csv', 'image,mask,sentence\n', 'has no rows'),
    'no lines': ('.jsonl', '\n', 'has no rows'),
    'a comma in a sentence': (
        '.csv',
        'image,mask,sentence\n0.jpg,m0.png,left, red\n',
        'line 2: it has 4 cells, .* line 3; put .* double quotes',
    ),
    'a line after a quoted line break': (
        '.csv',
        'image,mask,sentence\n0.jpg,m0.png,"a\nb"\n0.jpg,m0.png,\n',
        'line 4: its sentence is empty',
    ),
    'endless cell': ('.csv', 'image,mask,sentence\n0.jpg,"' + '[' * 140_000 + '",x\n', 'it is not CSV .field larger'),
    'Latin-1': (
        '.csv',
        'image,mask,sentence\n0.jpg,m0.png,café\n'.encode('latin-1'),
        'is not UTF-8 text .*; save it as UTF-8',
    ),
    'NUL': ('.csv', 'image,mask,sentence\n0\0.jpg,m0.png,x\n', 'line 2: '),
    'no JSON': ('.jsonl', '{"image": "0.jpg"\n', 'line 1: it is not valid JSON'),
    'JSON too deep': ('.jsonl', '{"a": ' * 100_000 + '\n', 'line 1: it is not'),
    'a JSON array': (
        '.json',
        '[\n{"image": "0.jpg"}\n]',
        r'is one JSON array; write one object a line .pandas: table.to_json',
    ),
    'no JSON object': ('.jsonl', '\n["0.jpg", "m0.png", "x"]\n', 'line 2: it is not a JSON object; write one'),
    'no image': ('.jsonl', '{"mask": "m0.png", "sentence": "x"}\n', 'line 1: it has no image'),
    'sentence a number': (
        '.jsonl',
        '{"image": "0.jpg", "mask": "m0.png", "sentence": 5}\n',
        'line 1: its sentence is of type int, but must be text; write one string',
    ),
    'sentences none': (
        '.jsonl',
        '{"image": "0.jpg", "mask": "m0.png", "sentences": []}\n',
        'line 1: its sentence is empty',
    ),
    'surrogates': (
        '.jsonl',
        '{"image": "0.jpg", "mask": "m0.png", "sentence": "\\ud800"}\n',
        'line 1: its sentence is not text',
    ),
    'object_id a list': (
        '.jsonl',
        '{"image": "0.jpg", "mask": "m0.png", "sentence": "x", "object_id": []}\n',
        'line 1: its split must be text',
    ),
    'of no known kind': ('.txt', 'x', 'table.txt is of no known kind; name it .csv'),
    'a spreadsheet': ('.xlsx', 'PK', "table.xlsx is a spreadsheet; save it as 'CSV UTF-8' and give that file"),
    'image a number': (
        '.jsonl',
        '{"image": 5, "mask": "m0.png", "sentence": "x"}',
        r'its image is 5 \(int\), but must',
    ),
    'mask a number': (
        '.jsonl',
        '{"image": "0.jpg", "mask": 5, "sentence": "x"}',
        'its mask is 5 .*polygons or an RLE',
    ),
    'object_id a fraction': (
        '.jsonl',
        '{"image": "0.jpg", "mask": "m0.png", "sentence": "x", "object_id": 7.0}',
        r'its object_id text or a whole number, not None and 7.0; write str\(x\)',
    ),
}


@pytest.mark.parametrize('name', BAD_TABLES)
def test_bad_tables_are_answered_with_the_mend(make: Callable, tmp_path: Path, name: str) -> None:
    suffix, content, message = BAD_TABLES[name]
    with pytest.raises(ReferError, match=message) as caught:
        make(content, suffix)
    assert f'table{suffix}' in str(caught.value) and not (tmp_path / 'out').exists()


def test_a_byte_order_mark_is_no_part_of_a_name(make: Callable) -> None:
    assert make(b'\xef\xbb\xbfimage,mask,sentence\r\n0.jpg,m0.png,thing\r\n\r\n')['train']['refs'] == 1


WINDOWS = {
    'semicolons': b'image;mask;sentence\n0.jpg;m0.png;a thing, red\n',
    'tabs in a .csv': b'image\tmask\tsentence\n0.jpg\tm0.png\ta thing, red\n',
    'UTF-16': b'\xff\xfe' + 'image\tmask\tsentence\r\n0.jpg\tm0.png\ta thing, red\r\n'.encode('utf-16-le'),
    'capital letters': b'Image,MASK,Sentence\r\n0.jpg,m0.png,"a thing, red"\r\n',
    'quoted names': b'"image";"mask";"sentence"\r\n"0.jpg";"m0.png";"a thing, red"\r\n',
    'backslashes': b'image,mask,sentence\r\nsub\\0.jpg,.\\sub\\m0.png,"a thing, red"\r\n',
}


@pytest.mark.parametrize('form', WINDOWS)
def test_tables_as_windows_and_excel_write_them(make: Callable, source: Path, tmp_path: Path, form: str) -> None:
    for name in ('0.jpg', 'm0.png'):
        shutil.copy(source / name, source / 'sub' / name)
    assert make(WINDOWS[form])['train'] == {'images': 1, 'refs': 1, 'sentences': 1}
    (ref,) = load(tmp_path).refs
    assert ref.sentences[0].sent == 'a thing, red'
    np.testing.assert_array_equal(decode_mask(ref.segmentation, HEIGHT, WIDTH), draw_mask(0) > 0)


def test_a_backslash_that_is_part_of_a_name_stays_one(make: Callable, source: Path, tmp_path: Path) -> None:
    (source / 'sub' / '0.jpg').write_bytes((source / '1.jpg').read_bytes())
    (source / 'sub\\0.jpg').write_bytes((source / '2.jpg').read_bytes())
    make([dict(row(0), image='sub\\0.jpg')])
    (image,) = load(tmp_path).images.values()
    assert Path(image.path).read_bytes() == (source / '2.jpg').read_bytes()


def test_columns_that_nothing_reads_are_told(make: Callable) -> None:
    lines: list[str] = []
    make([row(0, splt='val', colour='red')], report=lines.append)
    assert lines == ['Not used: column splt, column colour.']


def test_dropped_parts_are_told(make: Callable) -> None:
    lines: list[str] = []
    make([dict(row(0), mask=[SQUARE, [1, 1, 2, 2]])], report=lines.append)
    assert len(lines) == 1 and '1 polygon parts that enclose nothing were left out' in lines[0]


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'dataset': '../up'}, 'cannot be the name'),
        ({'dataset': 'refcoco'}, 'cannot be the name'),
        ({'dataset': 'images'}, 'cannot be the name'),
        ({'split_by': 'a)b'}, 'cannot be the name'),
        ({'val_fraction': 1.0}, 'at least 0 and below 1, not 1.0'),
        ({'mask_threshold': 255}, 'from 0 to 254, not 255'),
        ({'seed': -1}, 'at least 0, not -1'),
    ],
)
def test_arguments_that_make_no_sense(make: Callable, tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make([row(0)], **options)
    assert not (tmp_path / 'out').exists()


def test_splits_of_the_table_and_a_fraction_contradict(make: Callable) -> None:
    with pytest.raises(ValueError, match='names splits itself; leave out --val-fraction'):
        make([row(0, split='train')], val_fraction=0.5)


def test_splits_of_ones_own(make: Callable) -> None:
    assert set(make([row(0, split='train'), row(1, split='night')], splits=['train', 'night'])) == {'train', 'night'}


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def test_a_set_is_replaced_only_if_asked_and_leaves_nothing_behind(make: Callable, tmp_path: Path) -> None:
    make([row(0), row(1)], val_fraction=0)
    stranger = tmp_path / 'out/images/train2014/my_set_not_ours.jpg'
    stranger.write_bytes(b'x')
    before = files(tmp_path / 'out')
    with pytest.raises(FileExistsError, match=r'my_set is there already.*--force'):
        make([row(2)])
    with pytest.raises(ReferError):
        make([dict(row(2), image='none.jpg')], force=True)
    assert files(tmp_path / 'out') == before
    make([row(1), row(2)], val_fraction=0, force=True)
    names = {name.rsplit('_', 1)[0] for name in files(tmp_path / 'out') if name.startswith('images')}
    assert names == {'images/train2014/my_set_1', 'images/train2014/my_set_2', 'images/train2014/my_set_not'}
    assert stranger.exists() and {path.name for path in (tmp_path / 'out').iterdir()} == {'images', 'my_set'}


def test_what_was_not_made_from_a_table_is_never_replaced(make: Callable, tmp_path: Path) -> None:
    (tmp_path / 'out/my_set').mkdir(parents=True)
    (tmp_path / 'out/my_set/manifest.json').write_text('{"parameters": {}}')
    with pytest.raises(FileExistsError, match='was not made from a table'):
        make([row(0)], force=True)


@pytest.mark.parametrize('when', ['copying', 'moving', 'swapping'])
def test_a_failure_in_the_middle_leaves_what_was_there(
    make: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    make([row(0)])
    before = files(tmp_path / 'out')
    calls = 0

    def fail(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError('No space left on device')
        return original(*arguments)

    owner, name = {'copying': (shutil, 'copyfile'), 'moving': (Path, 'replace'), 'swapping': (Path, 'rename')}[when]
    original = getattr(owner, name)
    monkeypatch.setattr(owner, name, fail)
    with pytest.raises(OSError, match='No space'):
        make([row(1), row(2)], val_fraction=0, force=True)
    monkeypatch.undo()
    assert calls >= 2
    assert files(tmp_path / 'out') == before
