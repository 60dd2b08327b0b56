"""The checker's walk over records: the reader's own rules, but all problems at once."""

import copy
import pickle
import re
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmmasksd.datasets.checking import annotations, check_refer
from cmmasksd.datasets.refer import ReferError, decode_mask, load_refer
from cmmasksd.datasets.refer.pickles import UnsafePickleError
from tests.test_datasets.test_refer.test_reader import (
    BAD_ANN,
    CASES,
    HEIGHT,
    JUNK,
    PLACES,
    SQUARE,
    WIDTH,
    change,
    make_ref,
    make_set,
    write_set,
)

WHOLE_FILE = {'no refs', 'refs of another type', 'ref id huge', 'instances no dict', 'no images', 'no annotations'}


def check(root, refs, instances, dataset='refcoco', split_by='own', **options):
    return check_refer(write_set(root, refs, instances, dataset, split_by), dataset, split_by, images=False, **options)


def texts(report, level=None):
    return [finding.text for group in report.groups if level in (None, group.kind.level) for finding in group.findings]


def found(report):
    return {group.kind.name: group.count for group in report.groups}


def test_a_sound_set_has_its_counts_and_no_problem(tmp_path):
    report = check(tmp_path, *make_set())
    assert report.counts == {'train': (2, 1, 3), 'testA': (1, 1, 1), 'testB': (1, 1, 1)}
    assert found(report) == {'shared-annotation': 1, 'overlap-within': 1}  # as the set was made: refs 3 and 4
    assert texts(report, 'info') == [f'{tmp_path}/refcoco/refs(own).p, annotation 102: it is shared by refs 3, 4']


@pytest.mark.parametrize('name', CASES)
def test_what_the_reader_refuses_is_an_error_in_the_same_words(tmp_path, name):
    path, value, message = CASES[name]
    data = dict(zip(('refs', 'instances'), make_set(), strict=True))
    change(path, value)(data)
    report = check(tmp_path, data['refs'], data['instances'])
    with pytest.raises((ReferError, UnsafePickleError), match=message) as caught:
        load_refer(tmp_path, 'refcoco', 'own')
    assert str(caught.value) in texts(report, 'error')


@pytest.mark.parametrize('name', [name for name in CASES if name not in WHOLE_FILE])
def test_a_broken_record_does_not_hide_another(tmp_path, name):
    path, value, _ = CASES[name]
    refs, instances = make_set()
    refs.append(make_ref(5, 555, 8, 'val', 'bus', ' '))
    data = {'refs': refs, 'instances': instances}
    change(path, value)(data)
    report = check(tmp_path, data['refs'], data['instances'])
    errors = texts(report, 'error')
    assert sum('ref 5: its annotation 555 is not in' in text for text in errors) == 1
    assert sum("ref 5: sentence 51 is empty ('sent')" in text for text in errors) == 1
    assert len(errors) >= 3


BROKEN_RECORDS = [
    (('refs', 0, 'ann_id'), [-1]),
    (('refs', 1, 'sentences', 0, 'raw'), ''),
    (('instances', 'annotations', 2, 'segmentation', 'size'), [WIDTH, HEIGHT]),
    (('instances', 'annotations', 1, 'segmentation', 0), [-20, -20, -5, -20, -5, -5]),
    (('instances', 'annotations', 1, 'segmentation', 1), [5, 5]),
    (('instances', 'images', 2), None),
]


def test_all_kinds_are_reported_together(tmp_path):
    data = dict(zip(('refs', 'instances'), make_set(), strict=True))
    for path, value in BROKEN_RECORDS:
        change(path, value)(data)
    report = check(tmp_path, data['refs'], data['instances'])
    assert found(report) == {
        'ref': 1,
        'instances-record': 1,
        'segmentation': 1,
        'empty-mask': 1,
        'sentence': 1,
        'degenerate-polygon': 1,
        'shared-annotation': 1,
        'overlap-within': 1,
    }
    assert (report.number('error'), report.number('warning'), report.number('info')) == (5, 2, 1)
    assert report.counts['train'] == (1, 1, 1)


TABLE = {
    'degenerate polygon': (
        BAD_ANN + ('segmentation',),
        [SQUARE, [1, 1, 5, 5]],
        'warning',
        'annotation 100: 1 of its polygon parts enclose nothing',
    ),
    'mask outside the picture': (
        BAD_ANN + ('segmentation',),
        [[-9, -9, -5, -9, -5, -5]],
        'error',
        'annotation 100 of .* its mask covers no pixel',
    ),
    'RLE of background': (
        BAD_ANN + ('segmentation',),
        {'size': [HEIGHT, WIDTH], 'counts': [HEIGHT * WIDTH]},
        'error',
        'its mask covers no pixel',
    ),
    'shared annotation': (('refs', 1, 'ann_id'), 100, 'info', 'annotation 100: it is shared by refs 1, 2'),
}


@pytest.mark.parametrize('name', TABLE)
def test_what_the_reader_accepts_is_still_said(tmp_path, name):
    path, value, level, message = TABLE[name]
    data = dict(zip(('refs', 'instances'), make_set(), strict=True))
    change(path, value)(data)
    report = check(tmp_path, data['refs'], data['instances'])
    assert sum(bool(re.search(message, text)) for text in texts(report, level)) == 1


def test_a_record_that_many_refs_name_is_reported_once(tmp_path):
    refs, instances = make_set()
    refs += [make_ref(10 + number, 102, 8, 'train', f'car {number}') for number in range(5)]
    instances['annotations'][2]['segmentation'] = 'x'
    assert found(check(tmp_path, refs, instances))['segmentation'] == 1
    instances['images'][1]['height'] = -1
    assert found(check(tmp_path, refs, instances))['image-record'] == 1


def test_numbers_that_differ_from_the_published_ones(tmp_path):
    report = check(tmp_path, *make_set(), dataset='refcoco+', split_by='unc')
    assert found(report)['published-counts'] == 12
    assert any('train has 3 sentences, published are 120191' in text for text in texts(report, 'warning'))


def test_broken_pictures_of_refclef_are_left_out_as_the_reader_does(tmp_path):
    refs, instances = make_set()
    instances['images'][0]['file_name'] = '17975.jpg'
    report = check(tmp_path, refs, instances, 'refclef', 'unc')
    assert found(report)['left-out'] == 2
    assert 'train' not in report.counts


class Hostile:
    def __reduce__(self):
        return print, ('run',)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (pickle.dumps(Hostile(), protocol=2), r'refs\(own\).p: GLOBAL at byte'),
        (b'r\xff\xff\xff\x7f.', r'refs\(own\).p: LONG_BINPUT at byte 0 names memo entry'),
        (b'<html>Not Found</html>', r'refs\(own\).p is a web page: .* download it in a browser'),
        (b'', r'refs\(own\).p is empty'),
    ],
    ids=['calls something', 'asks for memory', 'a web page', 'empty'],
)
def test_a_pickle_that_is_not_plain_data_is_one_error_and_instances_are_still_read(tmp_path, capsys, content, message):
    write_set(tmp_path, *make_set())
    (tmp_path / 'refcoco' / 'refs(own).p').write_bytes(content)
    (tmp_path / 'refcoco' / 'instances.json').write_text('{')
    report = check_refer(tmp_path, 'refcoco', 'own')
    first, second = texts(report)
    assert re.search(message, first)
    assert 'instances.json is not valid JSON' in second
    assert capsys.readouterr().out == ''


def test_missing_files_say_what_exists(tmp_path):
    write_set(tmp_path, *make_set())
    for dataset, split_by, message in (
        ('refcoco', 'unc', 'the folder holds refs(own).p'),
        ('refcocog', 'umd', 'instances.json not found'),
    ):
        report = check_refer(tmp_path, dataset, split_by)
        assert report.number('error') == 1
        assert message in texts(report)[0]


def test_sentences_are_checked_though_instances_are_broken(tmp_path):
    refs, instances = make_set()
    refs[0]['sentences'][0]['sent'] = ''
    write_set(tmp_path, refs, instances)
    (tmp_path / 'refcoco' / 'instances.json').write_text('[]')
    assert {'file': 1, 'sentence': 1}.items() <= found(check_refer(tmp_path, 'refcoco', 'own')).items()


def test_no_image_folder_is_an_error_unless_pictures_are_not_asked_for(tmp_path):
    write_set(tmp_path, *make_set(), images=None)
    assert 'no image folder' in texts(check_refer(tmp_path, 'refcoco', 'own', jobs=0), 'error')[0]
    assert not check_refer(tmp_path, 'refcoco', 'own', images=False).number('error')


def test_millions_of_broken_records_are_counted_but_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr('cmmasksd.datasets.checking.report.MAX_KEPT', 10)
    refs, instances = make_set()
    group = check(tmp_path, refs + [5] * 1000, instances).groups[0]
    assert (group.kind, group.count, len(group.findings)) == (annotations.REF, 1000, 10)


@settings(max_examples=150, deadline=None)
@given(place=st.sampled_from(PLACES), junk=JUNK)
def test_errors_are_found_where_and_only_where_reading_fails(tmp_path_factory, place, junk):
    data = dict(zip(('refs', 'instances'), copy.deepcopy(make_set()), strict=True))
    change(place, lambda _: junk)(data)
    root = tmp_path_factory.getbasetemp() / 'junk-checked'
    report = check(root, data['refs'], data['instances'])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            read = load_refer(root, 'refcoco', 'own')
        for ref in read.refs:
            decode_mask(ref.segmentation, read.images[ref.image_id].height, read.images[ref.image_id].width)
    except (ReferError, UnsafePickleError):
        assert report.number('error') >= 1
    else:
        assert set(texts(report, 'error')) == {
            text for text in texts(report, 'error') if 'tokenizer leaves nothing' in text
        }
