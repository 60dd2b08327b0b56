"""The checker's look at sentences through CLIP's tokenizer, and at splits that share pictures."""

import pickle

import pytest

from cmmasksd.datasets.transforms.text import tokenize
from cmmasksd.datasets.transforms.tokenizers import get_tokenizer
from tests.test_datasets.test_checking.test_annotations import check, found, texts
from tests.test_datasets.test_refer.test_reader import make_ref, make_set, write_set

BASE = [make_ref(1, 100, 7, 'train', 'left zebra'), make_ref(2, 101, 7, 'train', 'tree')]
LONG = ' '.join(['dog'] * 40)
SENTENCES = {
    'nothing left': (['&nbsp;', 'dog'], 'error', "ref 1: CLIP's tokenizer leaves nothing of sentence 10, '&nbsp;'"),
    'cut at both lengths': ([LONG], 'info', 'ref 1: sentence 10 has 42 tokens: .dog dog'),
    'said twice': (['a dog', 'A  Dog'], 'info', "ref 1: sentence 11 says again what another one says: 'A  Dog'"),
    'said of two objects': (
        ['Tree'],
        'warning',
        "image 7: 'tree' is said of different objects, by refs 1, 2; no model can tell them apart",
    ),
}


@pytest.mark.parametrize('name', SENTENCES)
def test_sentences(tmp_path, name):
    sentences, level, message = SENTENCES[name]
    refs = [make_ref(1, 100, 7, 'train', *sentences), BASE[1]]
    assert sum(
        message.replace('.dog', "'dog") in text for text in texts(check(tmp_path, refs, make_set()[1]), level)
    ) == 1 + (sentences == [LONG])


def test_sound_sentences_are_not_spoken_of(tmp_path):
    assert found(check(tmp_path, BASE, make_set()[1])) == {}


def test_refs_of_one_object_may_say_the_same(tmp_path):
    refs = [make_ref(1, 100, 7, 'train', 'tree'), make_ref(2, 100, 7, 'train', 'tree')]
    assert found(check(tmp_path, refs, make_set()[1])) == {'shared-annotation': 1}


@pytest.mark.parametrize(
    ('words', 'cut'), [(15, {}), (16, {'cut-at-17': 1}), (20, {'cut-at-17': 1}), (21, {'cut-at-17': 1, 'cut-at-22': 1})]
)
def test_cuts_are_those_of_training(tmp_path, words, cut):
    sentence = ' '.join(['dog'] * words)
    assert found(check(tmp_path, [make_ref(1, 100, 7, 'train', sentence)], make_set()[1])) == cut
    for length in (17, 22):
        assert ((tokenize(sentence, length) == 1929).sum() < words) == (f'cut-at-{length}' in cut)


def test_the_field_that_is_trained_on_is_looked_at(tmp_path):
    refs = [make_ref(1, 100, 7, 'train', 'dog')]
    refs[0]['sentences'][0]['raw'] = '&nbsp;'
    assert found(check(tmp_path, refs, make_set()[1])) == {}
    assert found(check(tmp_path, refs, make_set()[1], sentence_field='raw')) == {'no-tokens': 1}


def test_pictures_of_two_splits_are_counted(tmp_path):
    refs = [
        make_ref(1, 100, 7, 'train', 'a'),
        make_ref(2, 101, 7, 'val', 'b'),
        make_ref(3, 102, 8, 'val', 'c'),
        make_ref(4, 102, 8, 'test', 'd'),
    ]
    report = check(tmp_path, refs, make_set()[1])
    path = tmp_path / 'refcoco' / 'refs(own).p'
    assert texts(report, 'warning') == [
        f'{path}: 1 of the 2 images of val also stand in train: image 7',
        f'{path}: 1 of the 2 images of val also stand in test: image 8',
    ]


def test_train_of_one_set_is_compared_with_val_and_test_of_another_both_ways(tmp_path):
    instances = make_set()[1]
    write_set(
        tmp_path, [make_ref(1, 100, 7, 'val', 'a'), make_ref(2, 102, 8, 'train', 'a')], instances, 'refcocog', 'umd'
    )
    refs = [make_ref(1, 100, 7, 'train', 'a'), make_ref(3, 102, 8, 'testA', 'b')]
    report = check(tmp_path, refs, instances, 'refcoco', 'unc')
    assert [text.partition(': ')[2] for text in texts(report, 'warning') if 'stand in train of' in text] == [
        '1 of the 1 images of refcocog (umd) val stand in train of refcoco (unc); do not train on both as they are',
        '1 of the 1 images of refcoco (unc) testA stand in train of refcocog (umd); do not train on both as they are',
    ]
    assert 'overlap-across' not in found(check(tmp_path, refs, instances, 'refcoco', 'unc', across=False))
    assert 'overlap-across' not in found(check(tmp_path, refs, instances, 'my_set'))  # its ids need not be COCO's


def test_another_set_that_cannot_be_read_is_named(tmp_path):
    instances = make_set()[1]
    write_set(tmp_path, [7, make_ref(1, 100, 7, 'val', 'a')], instances, 'refcocog', 'umd')
    (tmp_path / 'refcocog' / 'refs(google).p').write_bytes(pickle.dumps(print, protocol=2))
    report = check(tmp_path, BASE, instances)
    assert found(report) == {'not-compared': 2, 'overlap-across': 1}
    google, umd = [text for text in texts(report) if 'refcocog/' in text]
    assert 'GLOBAL' in google and 'refs(umd).p: 1 of its refs cannot be used' in umd


def test_sentences_as_another_tokenizer_reads_them(tmp_path):
    """Its pieces are counted, with the one special token that it adds; and they keep capitals."""
    pytest.importorskip('transformers')
    from tests.tokenizer_folders import t5_like

    tokenizer = t5_like(tmp_path / 'tokenizer')
    long = ' '.join(['zebra'] * 16)
    ids, words, _ = get_tokenizer(tokenizer).encode(long, 1000)
    assert len(ids) == sum(words) + 1 > 16
    refs = [make_ref(1, 100, 7, 'train', long, 'left', 'LEFT'), BASE[1]]
    root = tmp_path / 'data'
    root.mkdir()
    report = check(root, refs, make_set()[1], tokenizer=tokenizer, token_lengths=(len(ids) - 1, len(ids)))
    assert found(report) == {f'cut-at-{len(ids) - 1}': 1}
    assert f'has {len(ids)} tokens' in texts(report, 'info')[0]
    blank = check(root, [make_ref(1, 100, 7, 'train', '&nbsp;')], make_set()[1], tokenizer=tokenizer)
    assert any('leaves nothing of sentence 10' in text for text in texts(blank, 'error'))
