import copy
import json
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as np_st
from pycocotools import mask as coco_mask

from cmmasksd.datasets.refer import PUBLISHED_COUNTS, Image, ReferError, ReferWarning, Sentence, decode_mask, load_refer
from cmmasksd.datasets.refer.pickles import UnsafePickleError

HEIGHT, WIDTH = 40, 60
SQUARE = [10.0, 5.0, 30.0, 5.0, 30.0, 25.0, 10.0, 25.0]


def make_ref(ref_id, ann_id, image_id, split, *sentences):
    return {
        'ref_id': ref_id,
        'ann_id': ann_id,
        'image_id': image_id,
        'category_id': 1,
        'split': split,
        'file_name': f'COCO_train2014_{image_id:012d}_{ann_id}.jpg',
        'sent_ids': [10 * ref_id + index for index in range(len(sentences))],
        'sentences': [
            {'tokens': text.split(), 'raw': text.title() + '!', 'sent': text, 'sent_id': 10 * ref_id + index}
            for index, text in enumerate(sentences)
        ],
    }


def make_set():
    """Two pictures, three objects (polygon, two polygons, compressed RLE), four refs in three splits."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order='F')
    mask[30:38, 40:55] = 1
    rle = coco_mask.encode(mask)
    refs = [
        make_ref(1, 100, 7, 'train', 'left zebra', 'the striped one'),
        make_ref(2, 101, 7, 'train', 'tree'),
        make_ref(3, 102, 8, 'testA', 'red car'),
        make_ref(4, 102, 8, 'testB', 'car on the right'),
    ]
    instances = {
        'images': [
            {'id': key, 'file_name': f'COCO_train2014_{key:012d}.jpg', 'height': HEIGHT, 'width': WIDTH}
            for key in (7, 8, 9)
        ],
        'annotations': [
            {'id': 100, 'image_id': 7, 'category_id': 1, 'segmentation': [SQUARE]},
            {'id': 101, 'image_id': 7, 'category_id': 1, 'segmentation': [SQUARE, [40, 30, 50, 30, 50, 38]]},
            {
                'id': 102,
                'image_id': 8,
                'category_id': 1,
                'segmentation': {'size': [HEIGHT, WIDTH], 'counts': rle['counts'].decode()},
            },
            {'id': 999, 'image_id': 9, 'segmentation': 'never looked into'},
        ],
        'categories': [{'id': 1, 'name': 'thing'}],
    }
    return refs, instances


def write_set(root, refs, instances, dataset='refcoco', split_by='own', images='images/train2014'):
    folder = root / dataset
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f'refs({split_by}).p').write_bytes(pickle.dumps(refs, protocol=2))
    (folder / 'instances.json').write_text(json.dumps(instances))
    if images:
        (root / images).mkdir(parents=True, exist_ok=True)
    return root


def load(root, refs, instances):
    return load_refer(write_set(root, refs, instances), 'refcoco', 'own')


def test_records(tmp_path):
    data = load(tmp_path, *make_set())
    assert (data.root, data.dataset, data.split_by) == (str(tmp_path), 'refcoco', 'own')
    assert data.split_names == ('train', 'testA', 'testB')
    assert [ref.ref_id for ref in data.split('train')] == [1, 2]
    assert data.refs[0].sentences == (
        Sentence(10, 'left zebra', 'Left Zebra!'),
        Sentence(11, 'the striped one', 'The Striped One!'),
    )
    assert data.refs[0].segmentation == [SQUARE]
    assert data.refs[2].segmentation is data.refs[3].segmentation
    path = str(tmp_path / 'images/train2014/COCO_train2014_000000000007.jpg')
    assert data.images == {
        7: Image(7, path, HEIGHT, WIDTH),
        8: Image(8, path.replace('07.jpg', '08.jpg'), HEIGHT, WIDTH),
    }


def test_masks_are_those_of_the_annotations(tmp_path):
    data = load(tmp_path, *make_set())
    masks = [decode_mask(ref.segmentation, HEIGHT, WIDTH) for ref in data.refs[:3]]
    assert all(mask.shape == (HEIGHT, WIDTH) and mask.dtype == bool for mask in masks)
    assert masks[0].sum() == 400 and masks[0][5:25, 10:30].all()
    assert masks[1][masks[0]].all() and masks[1].sum() > masks[0].sum()
    assert masks[2].sum() == 8 * 15 and masks[2][30:38, 40:55].all()


def test_splits_are_matched_exactly(tmp_path):
    data = load(tmp_path, *make_set())
    assert [ref.ref_id for ref in data.split('testA')] == [3]
    for name in ('test', 'val', 'testa'):
        with pytest.raises(ReferError, match=f"no split '{name}'; use one of: train, testA, testB"):
            data.split(name)


@pytest.mark.parametrize('folder', ['images/mscoco/images/train2014', 'images/train2014', 'train2014'])
def test_image_folder_of_any_usual_layout(tmp_path, folder):
    refs, instances = make_set()
    for other in ('images/mscoco/images/train2014', 'images/train2014', 'train2014'):
        (tmp_path / other).mkdir(parents=True)
    (tmp_path / folder / 'COCO_train2014_000000000007.jpg').write_bytes(b'')
    assert load(tmp_path, refs, instances).images[8].path == str(tmp_path / folder / 'COCO_train2014_000000000008.jpg')


def test_no_image_folder_names_those_tried(tmp_path):
    write_set(tmp_path, *make_set(), images=None)
    with pytest.raises(ReferError, match='mscoco/images/train2014.*images/train2014.*train2014'):
        load_refer(tmp_path, 'refcoco', 'own')


def test_refclef_folder_and_its_broken_pictures(tmp_path):
    refs, instances = make_set()
    instances['images'][0]['file_name'] = '17975.jpg'
    instances['images'][1]['file_name'] = '25.jpg'
    # a list of RLEs, as in refclef
    instances['annotations'][2]['segmentation'] = [instances['annotations'][2]['segmentation']]
    write_set(tmp_path, refs, instances, 'refclef', 'unc', images='images/saiapr_tc-12')
    data = load_refer(tmp_path, 'refclef', 'unc')
    assert [ref.ref_id for ref in data.refs] == [3, 4]
    assert data.images == {8: Image(8, str(tmp_path / 'images/saiapr_tc-12/25.jpg'), HEIGHT, WIDTH)}
    assert decode_mask(data.refs[0].segmentation, HEIGHT, WIDTH).sum() == 8 * 15


def test_missing_files_say_what_exists(tmp_path):
    write_set(tmp_path, *make_set())
    with pytest.raises(ReferError, match=r'refs\(unc\).p not found \(the folder holds refs\(own\).p\)'):
        load_refer(tmp_path, 'refcoco', 'unc')
    with pytest.raises(ReferError, match='refcocog.*instances.json not found'):
        load_refer(tmp_path, 'refcocog', 'umd')
    (tmp_path / 'grefcoco').mkdir()
    (tmp_path / 'grefcoco' / 'grefs(unc).json').write_text('[]')
    with pytest.raises(ReferError, match='gRefCOCO'):
        load_refer(tmp_path, 'grefcoco', 'unc')


def change(path, value):
    """A change of ('refs' | 'instances', key, index, ...): sets ``value``, deletes for ``...``, calls a function."""

    def apply(data):
        *parents, last = path
        for key in parents:
            data = data[key]
        if value is ...:
            del data[last]
        else:
            data[last] = value(data[last]) if callable(value) else value

    return apply


BAD_REF = ('refs', 0)
BAD_ANN = ('instances', 'annotations', 0)
BAD_IMAGE = ('instances', 'images', 0)
RLE = {'size': [HEIGHT, WIDTH], 'counts': [0, HEIGHT * WIDTH]}
NEAR_REF = r'refs\(own\).p, ref 1'
NEAR_RECORD = r'refs\(own\).p, record 0'
NEAR_ANN = NEAR_REF + r': annotation 100 of .*instances.json: '
CASES = {
    'no refs': (('refs',), [], 'holds no refs'),
    'refs of another type': (('refs',), {'a': 1}, 'holds no refs'),
    'ref no dict': (BAD_REF, [1], NEAR_RECORD + ': it must be a dict, not list'),
    'gRefCOCO': (BAD_REF + ('ann_id',), [-1], 'gRefCOCO'),
    'ref id twice': (BAD_REF + ('ref_id',), 2, 'ref_id 2 is there twice'),
    'ref id a string': (
        BAD_REF + ('ref_id',),
        '1',
        r"'ref_id' is '1' \(str\), but must be a whole number: write int\(x\)",
    ),
    'ref id a bool': (BAD_REF + ('ref_id',), True, r"'ref_id' is True \(bool\), but must be a whole number"),
    'ref id huge': (BAD_REF + ('ref_id',), 2**63, 'cannot|beyond|LONG1'),
    'no ann_id': (BAD_REF + ('ann_id',), ..., "'ann_id' is missing"),
    'no image_id': (BAD_REF + ('image_id',), ..., "'image_id' is missing"),
    'no category_id': (BAD_REF + ('category_id',), ..., "'category_id' is missing"),
    'no split': (BAD_REF + ('split',), ..., "'split' is missing"),
    'blank split': (BAD_REF + ('split',), ' ', "'split' must be text"),
    'no sentences': (BAD_REF + ('sentences',), ..., "'sentences' is missing"),
    'sentences empty': (BAD_REF + ('sentences',), [], 'it has no sentence'),
    'sentence no dict': (BAD_REF + ('sentences', 0), 'left zebra', NEAR_REF + '.*must be a dict, not str'),
    'empty expression': (BAD_REF + ('sentences', 1, 'sent'), '', NEAR_REF + ": sentence 11 is empty \\('sent'\\)"),
    'blank expression': (BAD_REF + ('sentences', 1, 'raw'), ' \t\n', NEAR_REF + ": sentence 11 is empty \\('raw'\\)"),
    'no raw': (BAD_REF + ('sentences', 0, 'raw'), ..., "'raw' is missing"),
    'sentence a number': (
        BAD_REF + ('sentences', 0, 'sent'),
        5,
        r"'sent' is 5 \(int\), but must be text: write str\(x\)",
    ),
    'endless sentence': (BAD_REF + ('sentences', 0, 'sent'), 'a' * 10_001, 'sentence 10 .* not text of at most'),
    'surrogates': (BAD_REF + ('sentences', 0, 'sent'), 'a\ud800', 'sentence 10 .* not text'),
    'unknown annotation': (BAD_REF + ('ann_id',), 555, NEAR_REF + ': its annotation 555 is not in .*instances.json'),
    'unknown image': (BAD_REF + ('image_id',), 555, NEAR_REF + ': its image 555 is not in .*instances.json'),
    'annotation of another image': (
        BAD_ANN + ('image_id',),
        8,
        NEAR_ANN + 'it belongs to image 8, but the ref that names it to image 7',
    ),
    'second ref of another image': (('refs', 3, 'image_id'), 7, 'ref 4: annotation 102 .* belongs to image 8'),
    'instances no dict': (('instances',), [], "must hold a dict with 'images'"),
    'no images': (('instances', 'images'), ..., "no list 'images'"),
    'no annotations': (('instances', 'annotations'), {}, "no list 'annotations'"),
    'annotation no dict': (BAD_ANN, 5, r'instances.json, annotations\[0\]'),
    'annotation id a string': (BAD_ANN + ('id',), '100', r'instances.json, annotations\[0\]'),
    'annotation id twice': (('instances', 'annotations', 1, 'id'), 100, r'annotations\[1\]: id 100 is there twice'),
    'image id twice': (('instances', 'images', 2, 'id'), 7, r'images\[2\]: id 7 is there twice'),
    'no file_name': (
        BAD_IMAGE + ('file_name',),
        ...,
        NEAR_REF + ": image 7 of .*instances.json: 'file_name' is missing",
    ),
    'file_name up': (BAD_IMAGE + ('file_name',), '..', 'plain file name'),
    'file_name of another folder': (BAD_IMAGE + ('file_name',), '../../etc/passwd', 'plain file name'),
    'file_name absolute': (BAD_IMAGE + ('file_name',), '/etc/passwd', 'plain file name'),
    'file_name of Windows': (BAD_IMAGE + ('file_name',), 'a\\b.jpg', 'plain file name'),
    'file_name with NUL': (BAD_IMAGE + ('file_name',), 'a\0.jpg', 'plain file name'),
    'file_name too long': (BAD_IMAGE + ('file_name',), 'a' * 252 + '.jpg', "'file_name' must be text of 1 to 255"),
    'file_name empty': (BAD_IMAGE + ('file_name',), '', "'file_name' must be text"),
    'height missing': (BAD_IMAGE + ('height',), ..., "'height' is missing"),
    'height zero': (BAD_IMAGE + ('height',), 0, 'no picture of 0 x 60 pixels'),
    'height a float': (
        BAD_IMAGE + ('height',),
        40.5,
        r"'height' is 40.5 \(float\), but must be a whole number: write int\(x\)",
    ),
    'picture absurd': (BAD_IMAGE + ('width',), 10**9, 'no picture of 40 x 1000000000 pixels'),
    'no segmentation': (BAD_ANN + ('segmentation',), ..., NEAR_ANN + 'its segmentation is empty'),
    'segmentation empty': (BAD_ANN + ('segmentation',), [], 'its segmentation is empty'),
    'segmentation text': (BAD_ANN + ('segmentation',), 'x', 'neither polygons nor RLE'),
    'no usable part': (
        BAD_ANN + ('segmentation',),
        [[1, 2, 3, 4]],
        NEAR_ANN + 'none of its polygon parts encloses anything',
    ),
    'part a number': (BAD_ANN + ('segmentation',), [5], 'not a list of numbers'),
    'part of text': (BAD_ANN + ('segmentation',), [['1'] * 6], 'not a flat list of numbers'),
    'part nested': (BAD_ANN + ('segmentation',), [[[1, 2], [3]]], 'not a flat list of numbers'),
    'part of huge numbers': (BAD_ANN + ('segmentation',), [[10**30] * 6], 'not a flat list of numbers'),
    'NaN': (BAD_ANN + ('segmentation',), [[float('nan'), *SQUARE[1:]]], NEAR_ANN + 'a polygon has NaN or infinite'),
    'infinite': (BAD_ANN + ('segmentation',), [[float('inf'), *SQUARE[1:]]], 'NaN or infinite'),
    'far outside': (
        BAD_ANN + ('segmentation',),
        [[100 * number for number in SQUARE]],
        'far outside the picture of 40 x 60',
    ),
    'endless outline': (BAD_ANN + ('segmentation',), [[0, 0, 60, 40] * 20_000], 'has an outline of'),
    'endless parts': (BAD_ANN + ('segmentation',), [SQUARE] * 5000, '5000 parts'),
    'RLE without counts': (BAD_ANN + ('segmentation',), {'size': [HEIGHT, WIDTH]}, 'not an RLE with size and counts'),
    'RLE of another size': (
        BAD_ANN + ('segmentation',),
        RLE | {'size': [WIDTH, HEIGHT]},
        r'RLE has size \[60, 40\], but its picture \[40, 60\]',
    ),
    'RLE of no size': (
        BAD_ANN + ('segmentation',),
        RLE | {'size': '40x60'},
        r'size of its RLE is not \[height, width\]',
    ),
    'RLE too short': (BAD_ANN + ('segmentation',), RLE | {'counts': [10, 20]}, 'do not add up to the 2400 pixels'),
    'RLE too long': (BAD_ANN + ('segmentation',), RLE | {'counts': [0, 2400, 1]}, 'do not add up'),
    'RLE negative': (BAD_ANN + ('segmentation',), RLE | {'counts': [-100, 2500]}, 'do not add up'),
    'RLE of floats': (BAD_ANN + ('segmentation',), RLE | {'counts': [0.5, 2399.5]}, 'RLE of its segmentation is not'),
    'RLE compressed, too long': (BAD_ANN + ('segmentation',), RLE | {'counts': 'oooo1oooo1'}, 'do not add up'),
    'RLE compressed, cut off': (
        BAD_ANN + ('segmentation',),
        RLE | {'counts': 'o'},
        'compressed counts of its RLE are broken',
    ),
    'RLE compressed, endless': (
        BAD_ANN + ('segmentation',),
        RLE | {'counts': 'o' * 40 + '1'},
        'compressed counts of its RLE are broken',
    ),
    'RLE compressed, odd letters': (
        BAD_ANN + ('segmentation',),
        RLE | {'counts': '\u00e9 \n'},
        'compressed counts of its RLE are broken',
    ),
    'RLE compressed, empty': (
        BAD_ANN + ('segmentation',),
        RLE | {'counts': ''},
        'compressed counts of its RLE are broken',
    ),
    'second RLE broken': (BAD_ANN + ('segmentation',), [RLE, 5], 'not an RLE with size and counts'),
}


@pytest.mark.parametrize('name', CASES)
def test_bad_annotations_name_file_record_and_reason(tmp_path, name):
    path, value, message = CASES[name]
    refs, instances = make_set()
    data = {'refs': refs, 'instances': instances}
    change(path, value)(data)
    with pytest.raises((ReferError, UnsafePickleError), match=message) as caught:
        load(tmp_path, data['refs'], data['instances'])
    assert str(tmp_path / 'refcoco') in str(caught.value) and len(str(caught.value)) < 700


@pytest.mark.parametrize('name', ['refs(own).p', 'instances.json'])
@pytest.mark.parametrize('length', [0, 1, 100])
def test_cut_files(tmp_path, name, length):
    write_set(tmp_path, *make_set())
    path = tmp_path / 'refcoco' / name
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises((ReferError, UnsafePickleError), match='is empty|cut off|not valid JSON') as caught:
        load_refer(tmp_path, 'refcoco', 'own')
    assert str(path) in str(caught.value)


@pytest.mark.parametrize('content', [b'[' * 100_000, b'\xff\xfe\x00', b'{"images": ' + b'9' * 10_000 + b'}'])
def test_json_that_python_cannot_take(tmp_path, content):
    write_set(tmp_path, *make_set())
    (tmp_path / 'refcoco' / 'instances.json').write_bytes(content)
    with pytest.raises(ReferError, match='instances.json is not (valid JSON|UTF-8 text .at byte 2.; save it as UTF-8)'):
        load_refer(tmp_path, 'refcoco', 'own')


def test_shared_sentences_cannot_multiply(tmp_path):
    refs, instances = make_set()
    sentences = [refs[0]['sentences'][0]] * 3000
    refs = [dict(refs[0], ref_id=index, sentences=sentences) for index in range(3000)]
    with pytest.raises(ReferError, match='more sentences than the size of the file allows'):
        load(tmp_path, refs, instances)


def test_a_file_may_hold_one_sentence_for_sixteen_bytes_of_it(tmp_path):
    """Records that share one sentence cost a file two bytes each."""
    refs, instances = make_set()
    for count in range(20, 60):
        shared = [dict(refs[0], sentences=[refs[0]['sentences'][0]] * count)]
        write_set(tmp_path, shared, instances)
        allowed = (tmp_path / 'refcoco/refs(own).p').stat().st_size // 16
        if count > allowed:
            break
        assert len(load_refer(tmp_path, 'refcoco', 'own').refs[0].sentences) == count
    assert 20 < count == allowed + 1
    with pytest.raises(ReferError, match='more sentences than the size of the file allows'):
        load_refer(tmp_path, 'refcoco', 'own')


def test_refclefs_broken_pictures_are_good_elsewhere(tmp_path):
    refs, instances = make_set()
    instances['images'][0]['file_name'] = '17975.jpg'
    assert len(load(tmp_path, refs, instances).refs) == 4


@pytest.mark.parametrize('ref_id', [2**63 - 1, -(2**63), 2**63, -(2**63) - 1])
def test_ids_fit_into_64_bits(tmp_path, ref_id):
    """Protocol 0 writes numbers of any length, as text."""
    refs, instances = make_set()
    refs[0]['ref_id'] = ref_id
    write_set(tmp_path, refs, instances)
    (tmp_path / 'refcoco/refs(own).p').write_bytes(pickle.dumps(refs, protocol=0))
    if -(2**63) <= ref_id < 2**63:
        assert load_refer(tmp_path, 'refcoco', 'own').refs[0].ref_id == ref_id
    else:
        with pytest.raises(ReferError, match="record 0: 'ref_id' is beyond 64 bits"):
            load_refer(tmp_path, 'refcoco', 'own')


def test_a_split_comes_with_its_own_pictures(tmp_path):
    write_set(tmp_path, *make_set())
    assert list(load_refer(tmp_path, 'refcoco', 'own', 'testA').images) == [8]


def test_degenerate_parts_are_dropped_and_counted_once(tmp_path):
    refs, instances = make_set()
    line, too_few, odd = [1, 1, 5, 5, 9, 9], [1, 1, 5, 5], [1, 1, 5, 5, 9, 1, 3]
    bow_tie = [0, 0, 10, 10, 10, 0, 0, 10]  # its signed area is zero, its mask is not
    instances['annotations'][0]['segmentation'] = [line, SQUARE, too_few, bow_tie]
    instances['annotations'][1]['segmentation'] = [odd, SQUARE, []]
    with pytest.warns(ReferWarning, match='dropped 4 degenerate polygon parts of 2 annotations') as record:
        data = load(tmp_path, refs, instances)
    assert len(record) == 1
    assert data.refs[0].segmentation == [SQUARE, bow_tie]
    assert data.refs[1].segmentation == [SQUARE]


def test_a_clean_set_of_ones_own_gives_no_warning(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert load(tmp_path, *make_set()).refs


def test_counts_that_differ_from_the_published_ones_are_named(tmp_path):
    write_set(tmp_path, *make_set(), dataset='refcoco+', split_by='unc')
    with pytest.warns(
        ReferWarning, match='train has 2 refs, published are 42278.*train has 3 sentences, published are 120191'
    ):
        load_refer(tmp_path, 'refcoco+', 'unc')


def test_published_counts_add_up():
    totals = {
        name: [sum(filter(None, column)) for column in zip(*splits.values(), strict=True)]
        for name, splits in PUBLISHED_COUNTS.items()
    }
    assert totals['refcoco', 'unc'][0] == 50000 and totals['refcoco', 'unc'][2] == 142210
    assert totals['refcoco+', 'unc'][0] == 49856 and totals['refcoco+', 'unc'][2] == 141564
    assert totals['refcocog', 'umd'][0] == 49822 and totals['refcocog', 'google'][2] == 95010


@pytest.mark.parametrize('segmentation', [[[-20, -20, -5, -20, -5, -5]], RLE | {'counts': [HEIGHT * WIDTH]}])
def test_empty_masks_are_errors_with_the_callers_name(segmentation):
    with pytest.raises(ReferError, match='^ref 12: its mask covers no pixel of the 40 x 60 picture'):
        decode_mask(segmentation, HEIGHT, WIDTH, name='ref 12')


MASKS = np_st.arrays(bool, st.tuples(st.integers(1, 30), st.integers(1, 30))).filter(np.any)


@settings(max_examples=100, deadline=None)
@given(MASKS)
def test_rle_of_any_mask_is_read_back(mask):
    """The compressed counts are decoded by our own check first: it must accept whatever pycocotools writes."""
    height, width = mask.shape
    code = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    runs = np.diff(
        np.flatnonzero(np.diff(mask.T.ravel(), prepend=~mask.T.ravel()[0], append=~mask.T.ravel()[-1]))
    ).tolist()
    plain = ([0] if mask[0, 0] else []) + runs
    for counts in (code['counts'], code['counts'].decode(), plain):
        np.testing.assert_array_equal(decode_mask({'size': [height, width], 'counts': counts}, height, width), mask)


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.text(st.characters(min_codepoint=48, max_codepoint=111), max_size=12),
        st.lists(st.integers(-5, 30), max_size=8),
    )
)
def test_any_counts_decode_or_raise_our_error(counts):
    try:
        assert decode_mask({'size': [5, 6], 'counts': counts}, 5, 6).shape == (5, 6)
    except ReferError as error:
        assert 'annotation: ' in str(error)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(st.sampled_from(['size', 'counts', 'sent', 'id']), children, max_size=3)
    ),
)
PLACES = [
    *(BAD_REF + (key,) for key in ('ref_id', 'ann_id', 'image_id', 'category_id', 'split', 'sentences')),
    *(BAD_REF + ('sentences', 0) + tail for tail in ((), ('sent',), ('raw',), ('sent_id',))),
    *(
        BAD_ANN + tail
        for tail in ((), ('id',), ('image_id',), ('segmentation',), ('segmentation', 0), ('segmentation', 0, 3))
    ),
    *(BAD_IMAGE + tail for tail in ((), ('id',), ('file_name',), ('height',), ('width',))),
]


@settings(max_examples=200, deadline=None)
@given(place=st.sampled_from(PLACES), junk=JUNK)
def test_junk_in_any_field_loads_or_raises_our_error(tmp_path_factory, place, junk):
    data = dict(zip(('refs', 'instances'), copy.deepcopy(make_set()), strict=True))
    change(place, lambda _: junk)(data)
    root = tmp_path_factory.getbasetemp() / 'junk'
    try:
        data = load(root, data['refs'], data['instances'])
        for ref in data.refs:
            decode_mask(ref.segmentation, data.images[ref.image_id].height, data.images[ref.image_id].width)
    except (ReferError, UnsafePickleError) as error:
        assert str(error)
