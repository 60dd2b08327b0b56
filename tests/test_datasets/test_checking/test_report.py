"""The checker's report: for a terminal and for programs."""

import json

from cmmasksd.datasets.checking import Report, check_refer, describe
from cmmasksd.datasets.checking.report import Kind
from tests.test_datasets.test_refer.test_reader import make_ref, make_set, write_set

ERROR, WARNING, INFO = (Kind(f'a-{level}', level, f'things of level {level}') for level in ('error', 'warning', 'info'))


def make_report():
    report = Report('data', 'refcocog', 'umd')
    report.counts = {'train': (3, 2, 9), 'own': (1, 1, 1)}
    for number in range(7):
        report.add(INFO, 'refs(umd).p', f'info {number}')
    report.add(WARNING, 'refs(umd).p', 'a warning', ref_id=4)
    report.add(ERROR, 'some/file', 'some/file is broken')
    return report


def test_text_has_counts_first_then_errors_warnings_and_infos():
    lines = describe(make_report(), max_examples=2).splitlines()
    assert lines[0] == 'refcocog (umd) in data'
    assert '| train |    3 |           42226 |      2 |             21899 |         9 |                    - |' in lines
    assert '|   own |    1 |               - |      1 |                 - |         1 |                    - |' in lines
    assert lines[lines.index('ERRORS') - 1 :] == [
        '',
        'ERRORS',
        '  things of level error: 1',
        '    some/file is broken',
        '',
        'WARNINGS',
        '  things of level warning: 1',
        '    refs(umd).p: a warning',
        '',
        'WORTH KNOWING',
        '  things of level info: 7',
        '    refs(umd).p: info 0',
        '    refs(umd).p: info 1',
        '    ... and 5 more',
        '',
        'refcocog (umd) in data: 1 error, 1 warning, 7 infos; 0 pictures decoded',
    ]


def test_text_without_examples_has_the_numbers():
    assert '    ' not in describe(make_report(), max_examples=0).partition('ERRORS')[2].replace('    ... and', '')


def test_no_table_of_published_numbers_for_a_set_of_ones_own():
    report = Report('data', 'mine', 'own')
    report.counts = {'train': (3, 2, 9)}
    assert '| train |    3 |      2 |         9 |' in describe(report, 5)


def test_control_characters_do_not_reach_the_terminal(tmp_path):
    refs, instances = make_set()
    refs.append(make_ref(5, 100, 7, 'evil\x1b[2J\u202e', 'left zebra'))
    refs[0]['sentences'][0]['sent'] = 'tree'
    instances['images'][0]['file_name'] = 'evil\x1b[2J.jpg'
    report = check_refer(write_set(tmp_path, refs, instances), 'refcoco', 'own', jobs=0)
    text = describe(report, 5)
    assert 'evil\\x1b[2J\\u202e' in text and 'evil\\x1b[2J.jpg' in text
    assert all(letter.isprintable() for letter in text.replace('\n', ''))


def test_json_has_all_findings_with_their_ids():
    assert json.loads(json.dumps(make_report().to_dict())) == {
        'root': 'data',
        'dataset': 'refcocog',
        'split_by': 'umd',
        'summary': {'error': 1, 'warning': 1, 'info': 7},
        'splits': {
            'train': {
                'refs': 3,
                'images': 2,
                'sentences': 9,
                'published': {'refs': 42226, 'images': 21899, 'sentences': None},
            },
            'own': {'refs': 1, 'images': 1, 'sentences': 1, 'published': None},
            'val': {
                'refs': 0,
                'images': 0,
                'sentences': 0,
                'published': {'refs': 2573, 'images': 1300, 'sentences': None},
            },
            'test': {
                'refs': 0,
                'images': 0,
                'sentences': 0,
                'published': {'refs': 5023, 'images': 2600, 'sentences': 9602},
            },
        },
        'images_decoded': 0,
        'groups': [
            {
                'level': 'error',
                'kind': 'a-error',
                'title': 'things of level error',
                'count': 1,
                'findings': [{'place': 'some/file', 'message': 'some/file is broken'}],
            },
            {
                'level': 'warning',
                'kind': 'a-warning',
                'title': 'things of level warning',
                'count': 1,
                'findings': [{'place': 'refs(umd).p', 'message': 'a warning', 'ref_id': 4}],
            },
            {
                'level': 'info',
                'kind': 'a-info',
                'title': 'things of level info',
                'count': 7,
                'findings': [{'place': 'refs(umd).p', 'message': f'info {number}'} for number in range(7)],
            },
        ],
    }
