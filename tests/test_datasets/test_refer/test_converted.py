"""The converted form of annotations: equal to the source, used only while it matches, and harmless when it is damaged
or hostile.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from safetensors.numpy import load_file, save, save_file

from cmmasksd.datasets import RefCOCODataset
from cmmasksd.datasets.refer import ReferData, ReferError, ReferWarning, decode_mask, load_refer, reader
from cmmasksd.datasets.refer.converted import file as converted_file
from cmmasksd.datasets.refer.converted.converting import convert_refer
from cmmasksd.datasets.refer.files import make_ref_record, write_refer_files
from cmmasksd.datasets.refer.reader import read_annotations

pytestmark = pytest.mark.filterwarnings('ignore:.*degenerate polygon parts')
SETS = ['refcoco', 'refclef', 'mine']
SPLITS = ('train', 'val', 'testA')
TEXTS = ('left zebra', 'café au lait', '左边的人', 'emoji 🦓 here', 'a\u0301 b', ' spaces  kept ', 'tab\tand\nline')
Loaded = tuple[ReferData, list[str]]


def draw_segmentation(rng: np.random.Generator, height: int, width: int) -> list | dict:
    """Polygons of whole or broken numbers, now and then with degenerate parts, or an RLE in each form that files
    have.
    """
    kind = rng.integers(6)
    left, top = rng.integers(0, width // 2), rng.integers(0, height // 2)
    square = [int(number) for number in (left, top, left + 9, top, left + 9, top + 8, left, top + 8)]
    if kind == 0:
        return [square]
    if kind == 1:
        return [(np.array(square) + rng.random(8)).tolist(), [1, 1, 5, 5, 9, 9], [1 / 3, 0.1, 7.25, 2e-9, 3, 8]]
    if kind == 2:
        return [[0.5] * 7, square, []]
    mask = rng.random((height, width)) < 0.5
    code = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    text = {'size': [height, width], 'counts': code['counts'].decode()}
    flat = np.concatenate(([False], mask.ravel(order='F')))
    runs = np.diff(np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]), [mask.size]))).tolist()
    return [text, {'size': [height, width], 'counts': runs}, [text, text]][kind - 3]


def write_random_set(root: Path, seed: int, dataset: str = 'mine') -> Path:
    """A few pictures, objects and refs of every kind; some refs share an object, one annotation is named by none and
    broken.
    """
    rng = np.random.default_rng(seed)
    # the first is one of refclef's broken ones
    names = ['17975.jpg', *(f'picture {number} é.jpg' for number in range(1, 6))]
    images = [
        {'id': int(70 - number), 'file_name': name, 'height': 30 + number, 'width': 44}
        for number, name in enumerate(names)
    ]
    annotations = [
        {
            'id': 100 + number,
            'image_id': image['id'],
            'category_id': 1,
            'segmentation': draw_segmentation(rng, image['height'], image['width']),
        }
        for number, image in enumerate(rng.permutation(images * 4))
    ]
    by_id = {image['id']: image for image in images}
    refs, next_sentence = [], 5
    for ref_id, number in enumerate(rng.integers(len(annotations), size=40)):
        sentences = [(str(rng.choice(TEXTS)), str(rng.choice(TEXTS)).upper()) for _ in range(rng.integers(1, 4))]
        annotation = annotations[number]
        split = SPLITS[rng.integers(3)]
        refs.append(
            make_ref_record(1000 - ref_id, annotation, by_id[annotation['image_id']], split, sentences, next_sentence)
        )
        next_sentence += len(sentences)
    annotations.append({'id': 99, 'image_id': 1, 'segmentation': 'never looked into'})
    (root / dataset).mkdir(parents=True)
    (root / ('saiapr_tc-12' if dataset == 'refclef' else 'train2014')).mkdir()
    write_refer_files(root / dataset, 'unc', {'images': images, 'annotations': annotations}, refs)
    return root


def load_quietly(root: Path, dataset: str = 'mine', split: str | None = None) -> Loaded:
    """What is loaded, and the warnings that it gave."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        data = load_refer(root, dataset, 'unc', split)
    return data, [str(warning.message) for warning in caught if warning.category is ReferWarning]


@pytest.fixture
def no_source(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it, and whoever reads the source from then on fails the test."""
    return lambda: monkeypatch.setattr(reader, 'read_annotations', lambda *_: pytest.fail('the source was read'))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A converted set."""
    write_random_set(tmp_path, seed=1)
    convert_refer(tmp_path, 'mine', 'unc')
    return tmp_path


@pytest.fixture
def form(root: Path) -> Path:
    return root / 'mine/refs(unc).safetensors'


@pytest.mark.parametrize('dataset', SETS)
@pytest.mark.parametrize('seed', range(4))
def test_the_converted_form_equals_the_source(
    tmp_path: Path, no_source: Callable[[], None], dataset: str, seed: int
) -> None:
    write_random_set(tmp_path, seed, dataset)
    names = (None, *SPLITS)
    expected = {name: load_quietly(tmp_path, dataset, name) for name in names}
    assert convert_refer(tmp_path, dataset, 'unc') == tmp_path / dataset / 'refs(unc).safetensors'
    no_source()
    for name in names:
        assert load_quietly(tmp_path, dataset, name) == expected[name]
    data, said = expected[None]
    assert len(data.refs) == 40 if dataset != 'refclef' else 0 < len(data.refs) < 40
    assert [line for line in said if 'degenerate polygon parts' in line] and (
        dataset != 'refcoco' or 'published' in said[1]
    )
    assert list(load_quietly(tmp_path, dataset)[0].images) == list(data.images)


def forms_of(data: ReferData) -> list[tuple]:
    """The types of each segmentation, which equality does not tell apart."""
    codes = [ref.segmentation for ref in data.refs]
    return [
        (list, type(code[0])) if isinstance(code, list) else (type(code['counts']), type(code['counts'][0]))
        for code in codes
    ]


def test_segmentations_keep_their_forms_and_are_shared(root: Path, form: Path) -> None:
    data, _ = load_quietly(root)
    form.unlink()
    source, _ = load_quietly(root)
    assert forms_of(data) == forms_of(source)
    assert {kind for kind, _ in forms_of(data)} == {list, str, bytes}
    shared = 0
    for first in data.refs:
        for second in data.refs:
            shared += first is not second and first.ann_id == second.ann_id
            assert (first.segmentation is second.segmentation) == (first.ann_id == second.ann_id)
    assert shared > 0


@pytest.mark.parametrize('converted_there', [True, False])
def test_one_split_alone(root: Path, form: Path, converted_there: bool) -> None:
    whole, said = load_quietly(root)
    if not converted_there:
        form.unlink()
    for name in SPLITS:
        part, said_of_part = load_quietly(root, split=name)
        assert part.refs == whole.split(name) and len(part.refs) > 0
        assert part.images == {ref.image_id: whole.images[ref.image_id] for ref in part.refs}
        assert said_of_part == said
    with pytest.raises(ReferError, match="mine.*has no split 'test'; use one of: ") as caught:
        load_quietly(root, split='test')
    assert all(name in str(caught.value) for name in SPLITS)


@pytest.mark.parametrize('test_mode', [True, False])
def test_the_data_set_gives_equal_items(root: Path, form: Path, test_mode: bool) -> None:
    items = []
    for _ in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            data = RefCOCODataset(str(root), dataset='mine', split='train', test_mode=test_mode)
        items.append([data.get_data_info(index) for index in range(len(data))])
        form.unlink(missing_ok=True)
    assert items[0] == items[1] and len(items[0]) >= 3


def test_it_needs_no_source(root: Path) -> None:
    expected = load_quietly(root)
    for name in ('refs(unc).p', 'instances.json'):
        (root / 'mine' / name).unlink()
        assert load_quietly(root) == expected
    assert not [line for line in expected[1] if 'safetensors' in line]


def test_a_touched_source_still_matches(root: Path, no_source: Callable[[], None]) -> None:
    for name in ('refs(unc).p', 'instances.json'):
        os.utime(root / 'mine' / name, (1, 1))
    no_source()
    assert load_quietly(root)[0].refs


@pytest.mark.parametrize('name', ['refs(unc).p', 'instances.json'])
@pytest.mark.parametrize('same_size', [True, False])
def test_a_changed_source_is_said_and_read(root: Path, form: Path, name: str, same_size: bool) -> None:
    path, before = root / 'mine' / name, form.read_bytes()
    old, new = {'refs(unc).p': (b'left zebra', b'left tiger'), 'instances.json': (b'picture 5', b'picture 7')}[name]
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new) + b' ' * (not same_size))
    command = rf'convert_refer.py {root} --dataset mine --split-by unc'
    with pytest.warns(
        ReferWarning, match=rf'refs\(unc\).safetensors: it was made from another {name[:4]}.*is ignored.*{command}'
    ):
        data = load_refer(root, 'mine', 'unc')
    assert 'tiger' in str(data.refs) or 'picture 7' in str(data.images)
    assert form.read_bytes() == before
    convert_refer(root, 'mine', 'unc')
    assert load_quietly(root)[0] == data and form.read_bytes() != before


def test_a_source_that_is_half_there_and_changed_is_an_error(root: Path) -> None:
    (root / 'mine/instances.json').unlink()
    with (root / 'mine/refs(unc).p').open('ab') as file:
        file.write(b' ')
    with pytest.raises(
        ReferError, match=r'made from another refs\(unc\).p .*not all there; get them and run: python tools'
    ):
        load_refer(root, 'mine', 'unc')


def rewrite(form: Path, change: Callable[[dict, dict], object]) -> None:
    """Changes header and columns and gives the file a digest that holds."""
    columns = {name: column.copy() for name, column in load_file(form).items()}
    header = json.loads(columns.pop('header').tobytes())
    change(header, columns)
    header = {**header, 'digest': converted_file._digest(columns)} if isinstance(header, dict) else header
    save_file({**columns, 'header': np.frombuffer(json.dumps(header).encode(), np.uint8)}, form)


def put(name: str, index: int, value: int) -> Callable[[dict, dict], object]:
    return lambda header, columns: columns[name].__setitem__(index, value)


def fill(name: str, value: float) -> Callable[[dict, dict], object]:
    return lambda header, columns: columns[name].fill(value)


HOSTILE: dict[str, tuple[Callable[[dict, dict], object], str]] = {
    'another version': (
        lambda header, columns: header.update(version=2),
        r'not of the form of this release \(version 1\)',
    ),
    'another set': (lambda header, columns: header.update(dataset='other'), "made for 'other' and not for 'mine'"),
    'no sources': (lambda header, columns: header.pop('sources'), 'made from another'),
    'sources no dict': (lambda header, columns: header.update(sources=[1]), 'made from another'),
    'a column missing': (lambda header, columns: columns.pop('ref.id'), 'expected columns.*ref.id'),
    'a column too many': (lambda header, columns: columns.update(more=np.zeros(3)), 'expected columns.*more'),
    'floats for numbers': (
        lambda header, columns: columns.update({'ref.id': columns['ref.id'].astype(float)}),
        'ref.id of another type',
    ),
    'a matrix': (lambda header, columns: columns.update({'ref.id': columns['ref.id'][None]}), 'ref.id of another type'),
    'a scalar': (lambda header, columns: columns.update({'ref.id': np.array(5)}), 'ref.id of another type'),
    'lengths': (
        lambda header, columns: columns.update({'ref.id': columns['ref.id'][1:]}),
        'unequal lengths in its table ref',
    ),
    'ends beyond': (put('sentence.sent.ends', -1, 10**15), 'sentence.sent.ends that does not divide'),
    'ends below zero': (put('sentence.sent.ends', 0, -5), 'sentence.sent.ends that does not divide'),
    'ends that fall': (put('part.points.ends', 1, 0), 'part.points.ends that does not divide'),
    'ends that wrap round': (
        lambda header, columns: columns['part.points.ends'].__setitem__(slice(2), [2**63 - 1, -2]),
        'part.points.ends that does not divide',
    ),
    'a row beyond': (put('ref.annotation', 3, 10**12), 'ref.annotation that points beyond its table annotation'),
    'a row before': (put('annotation.image', 3, -1), 'annotation.image that points beyond its table image'),
    'a split beyond': (put('ref.split', 3, 3), 'ref.split that points beyond'),
    'a ref twice': (
        lambda header, columns: put('ref.id', 3, columns['ref.id'][4])(header, columns),
        'the same number twice in its column ref.id',
    ),
    'no sentence': (
        lambda header, columns: put('ref.sentences.ends', 1, columns['ref.sentences.ends'][0])(header, columns),
        'refs without a sent',
    ),
    'no refs': (
        lambda header, columns: columns.update({name: column[:0] for name, column in columns.items()}),
        'no refs',
    ),
    'an unknown kind': (put('annotation.kind', 0, 4), 'unknown kind'),
    'a file of another folder': (fill('image.name', ord('/')), 'plain file name'),
    'names not UTF-8': (fill('image.name', 0xFF), 'image.name that is not UTF-8'),
    'blank names': (fill('image.name', 32), "'file_name' must be text"),
    'no height': (put('image.height', 0, 0), 'no picture of 0 x'),
    'absurd width': (put('image.width', 0, 2**62), 'no picture of'),
    'blank sentences': (fill('sentence.raw', 32), 'empty or endless sentence'),
    'sentences not UTF-8': (fill('sentence.sent', 0xC3), 'sentence.sent that is not UTF-8'),
    'blank splits': (fill('split.name', 32), "'split' must be text"),
}


@pytest.mark.parametrize('name', HOSTILE)
def test_hostile_content_is_said_and_ignored_or_an_error(root: Path, form: Path, name: str) -> None:
    change, message = HOSTILE[name]
    expected, _ = load_quietly(root)
    rewrite(form, change)
    data, said = load_quietly(root)
    assert data == expected
    with pytest.warns(ReferWarning, match=message):
        load_refer(root, 'mine', 'unc')
    assert len([line for line in said if line.startswith(str(form)) and 'ignored' in line]) == 1 and len(said[0]) < 600
    (root / 'mine/refs(unc).p').unlink()
    with pytest.raises(ReferError, match=message) as caught:
        load_refer(root, 'mine', 'unc')
    assert str(caught.value).startswith(str(form))


NO_FORMS = [
    b'',
    b'x',
    b'\xff' * 64,
    (2**40).to_bytes(8, 'little') + b'{}',
    b'\x02' + bytes(7) + b'{}',
    save({'header': np.zeros(9)}),
]


@pytest.mark.parametrize(
    'content', NO_FORMS, ids=['empty', 'a letter', 'no header', 'endless header', 'no columns', 'header only']
)
def test_files_that_are_something_else(root: Path, form: Path, content: bytes) -> None:
    form.write_bytes(content)
    with pytest.warns(ReferWarning, match=r'safetensors: it (cannot be read|is not of the form)'):
        assert load_refer(root, 'mine', 'unc').refs


def test_sizes_that_the_file_cannot_back_are_refused(root: Path, form: Path) -> None:
    header = json.dumps({'ref.id': {'dtype': 'I64', 'shape': [2**40], 'data_offsets': [0, 2**43]}}).encode()
    form.write_bytes(len(header).to_bytes(8, 'little') + header + bytes(64))
    with pytest.warns(ReferWarning, match='cannot be read'):
        load_refer(root, 'mine', 'unc')


def test_hostile_segmentations_are_refused_when_decoded(root: Path, form: Path) -> None:
    for name, value in {'part.points': 1e300, 'annotation.code': 0xFF, 'annotation.runs': -7}.items():
        rewrite(form, fill(name, value))
    data, _ = load_quietly(root)
    for ref in data.refs:
        image = data.images[ref.image_id]
        with pytest.raises(ReferError, match='far outside|broken|do not add up'):
            decode_mask(ref.segmentation, image.height, image.width)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_file_never_changes_what_is_loaded(
    root: Path, form: Path, place: float, byte: int, cut: bool
) -> None:
    intact = form.read_bytes()
    position = int(place * len(intact))
    form.write_bytes(intact[:position] if cut else intact[:position] + bytes([byte]) + intact[position + 1 :])
    try:
        data, said = load_quietly(root)
        assert data.refs == read_annotations(root / 'mine', 'unc').refs
        assert form.read_bytes() == intact or 'ignored' in said[0]
    finally:
        form.write_bytes(intact)


def test_a_failed_conversion_leaves_what_was_there(root: Path, form: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, names = form.read_bytes(), set(os.listdir(root / 'mine'))

    def full(path: Path, content: bytes) -> None:
        path.open('wb').close()
        raise OSError('No space left on device')

    monkeypatch.setattr(Path, 'write_bytes', full)
    with pytest.raises(OSError, match='No space'):
        convert_refer(root, 'mine', 'unc')
    assert form.read_bytes() == before and set(os.listdir(root / 'mine')) == names


def test_a_file_in_use_is_replaced_and_never_rewritten(root: Path, form: Path, tmp_path: Path) -> None:
    """Whoever reads the old one meanwhile reads it to its end."""
    form.write_bytes(b'the old one')
    (tmp_path / 'in use').hardlink_to(form)
    convert_refer(root, 'mine', 'unc')
    assert (tmp_path / 'in use').read_bytes() == b'the old one'
    assert form.read_bytes() != b'the old one'


def test_a_set_too_large_for_its_readers_is_not_written(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converted_file, 'MAX_FILE_BYTES', 1000)
    with pytest.raises(ReferError, match='would have .* bytes, more than the 1000 that are read'):
        convert_refer(root, 'mine', 'unc')
