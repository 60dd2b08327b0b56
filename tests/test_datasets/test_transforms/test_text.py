"""Choice of sentences, and tokens equal to CLIP's own."""

import subprocess
import sys

import numpy as np
import open_clip
import pytest

from cmmasksd.datasets.transforms import SelectSentences, TokenizeExpressions
from cmmasksd.datasets.transforms import text as text_module

SOT, EOT = 49406, 49407
# what CRIS's tokenize(sentence, 17, True) gives
CRIS_TOKENS = [
    ('left zebra', [SOT, 1823, 22548, EOT] + [0] * 13),
    ('The  Man in BLUE, sitting!', [SOT, 518, 786, 530, 1746, 267, 4919, 256, EOT] + [0] * 8),
    ("woman's hand &amp; café", [SOT, 2308, 568, 2463, 261, 15304, EOT] + [0] * 10),
    (
        'second person from the left wearing a red shirt and a very tall hat near the table with food',
        [SOT, 2241, 2533, 633, 518, 1823, 3309, 320, 736, 2523, 537, 320, 1070, 7771, 3801, 2252, EOT],
    ),
]
SENTENCES = [sentence for sentence, _ in CRIS_TOKENS] + [
    '!',
    'a b ' * 300,
    '左のシマウマ',
    'zebra 🦓 n°12',
    "i'll <b>",
    'x' * 90,
]


def refs() -> list[dict]:
    return [
        dict(ref_id=5, sentences=['a', 'b', 'c'], sent_ids=[50, 51, 52]),
        dict(ref_id=3, sentences=['d'], sent_ids=[30]),
        dict(ref_id=9, sentences=['e', 'f'], sent_ids=[90, 91]),
    ]


@pytest.mark.parametrize(
    ('mode', 'texts', 'sent_ids', 'mask_index'),
    [
        ('all', list('abcdef'), [50, 51, 52, 30, 90, 91], [0, 0, 0, 1, 2, 2]),
        ('first', list('ade'), [50, 30, 90], [0, 1, 2]),
    ],
)
def test_fixed_choices(mode, texts, sent_ids, mask_index):
    results = SelectSentences(mode).transform(dict(refs=refs()))
    assert results['texts'] == texts
    assert results['sent_ids'].tolist() == sent_ids
    assert results['mask_index'].tolist() == mask_index
    assert results['ref_ids'].tolist() == [[5, 3, 9][index] for index in mask_index]
    assert {results[key].dtype for key in ('ref_ids', 'sent_ids', 'mask_index')} == {np.dtype('int64')}


def test_random_choice_draws_one_per_ref_from_the_generator():
    drawn = [
        SelectSentences('random').transform(dict(refs=refs(), rng=np.random.default_rng(seed)))['texts']
        for seed in range(60)
    ]
    assert all(len(texts) == 3 and texts[1] == 'd' for texts in drawn)
    assert {texts[0] for texts in drawn} == set('abc') and {texts[2] for texts in drawn} == set('ef')
    again = SelectSentences('random').transform(dict(refs=refs(), rng=np.random.default_rng(4)))['texts']
    assert again == drawn[4]


def test_no_more_refs_than_asked_for_are_drawn_from_the_generator():
    drawn = [
        SelectSentences('random', max_refs=2).transform(dict(refs=refs(), rng=np.random.default_rng(seed)))
        for seed in range(40)
    ]
    assert {tuple(results['ref_ids'].tolist()) for results in drawn} == {(5, 3), (5, 9), (3, 9)}
    for results in drawn:
        assert [ref['ref_id'] for ref in results['refs']] == results['ref_ids'].tolist()
        assert results['mask_index'].tolist() == [0, 1]
    again = SelectSentences('random', max_refs=2).transform(dict(refs=refs(), rng=np.random.default_rng(4)))
    assert again['texts'] == drawn[4]['texts']
    assert len(SelectSentences('first', max_refs=3).transform(dict(refs=refs()))['texts']) == 3


def test_choices_that_cannot_be():
    with pytest.raises(ValueError, match='max_refs'):
        SelectSentences('random', max_refs=0)
    with pytest.raises(ValueError, match='mode'):
        SelectSentences('last')
    with pytest.raises(ValueError, match=r'a\.jpg \(ref 4\).*no sentence'):
        SelectSentences('first').transform(dict(img_path='a.jpg', refs=[dict(ref_id=4, sentences=[], sent_ids=[])]))


def test_tokens_equal_criss():
    ids = TokenizeExpressions(17).transform(dict(texts=[sentence for sentence, _ in CRIS_TOKENS]))['input_ids']
    assert ids.shape == (4, 17) and ids.dtype == np.int64
    assert ids.tolist() == [tokens for _, tokens in CRIS_TOKENS]


@pytest.mark.parametrize('token_length', [5, 17, 22, 77])
def test_tokens_equal_open_clips(token_length):
    theirs = open_clip.get_tokenizer('ViT-B-16')(SENTENCES, context_length=token_length).numpy()
    ours = TokenizeExpressions(token_length).transform(dict(texts=SENTENCES))['input_ids']
    assert len(ours) == len(SENTENCES) and np.array_equal(ours, theirs)


SPECIAL = ['<end_of_text>', '<start_of_text>', '<START_OF_TEXT>', '&lt;end_of_text&gt;', '&amp;lt;END_OF_TEXT&amp;gt;']


@pytest.mark.parametrize('typed', SPECIAL)
def test_special_tokens_that_are_typed_are_characters_like_others(typed):
    """The sentence goes on behind them; it is read as if the brackets stood apart."""
    transform = TokenizeExpressions(22)
    ids = transform.transform(dict(texts=[f'the cat {typed} on the left']))['input_ids'][0].tolist()
    assert ids.count(SOT) == ids.count(EOT) == 1 and ids[0] == SOT
    assert ids[ids.index(EOT) - 3 : ids.index(EOT)] == [525, 518, 1823]  # on the left
    word = typed.lower().replace('&amp;', '&').replace('&lt;', '').replace('&gt;', '').strip('<>')
    apart = transform.transform(dict(texts=[f'the cat < {word} > on the left']))['input_ids'][0].tolist()
    assert ids == apart


@pytest.mark.parametrize('typed', ['<|endoftext|>', '<|startoftext|>', '<end_of_texts>', '<end_of_ text>', '<pad>'])
def test_what_only_looks_like_a_special_token_is_as_in_open_clip(typed):
    theirs = open_clip.get_tokenizer('ViT-B-16')([f'cat {typed} dog'], context_length=22).numpy()
    assert np.array_equal(TokenizeExpressions(22).transform(dict(texts=[f'cat {typed} dog']))['input_ids'], theirs)


@pytest.mark.parametrize('token_length', [17, 22])
def test_a_long_expression_keeps_eot_in_the_last_slot(token_length):
    ids = TokenizeExpressions(token_length).transform(dict(texts=['zebra ' * 300]))['input_ids'][0]
    assert ids[0] == SOT and ids[-1] == EOT and (ids[1:-1] == 22548).all()


def test_a_cut_is_said_once(monkeypatch):
    said = []
    monkeypatch.setattr(text_module, 'print_log', lambda message, **kwargs: said.append(message))
    text_module._say_that_sentences_are_cut.cache_clear()
    transform = TokenizeExpressions(17)
    transform.transform(dict(texts=['zebra ' * 15]))
    assert not said
    for _ in range(3):
        transform.transform(dict(texts=['zebra ' * 16, 'zebra ' * 17]))
    TokenizeExpressions(17).transform(dict(texts=['zebra ' * 40]))
    assert len(said) == 1 and '17 tokens' in said[0]


@pytest.mark.parametrize('blank', ['', '   ', '\t\n', '&nbsp;'])
def test_a_blank_expression_is_an_error(blank):
    with pytest.raises(ValueError, match=r'a\.jpg \(ref 8\).*empty'):
        TokenizeExpressions(17).transform(dict(img_path='a.jpg', refs=[dict(ref_id=8)], texts=['fine', blank]))


def test_no_expression_at_all():
    with pytest.raises(ValueError, match='a.jpg: there is no expression; ask for at least one'):
        TokenizeExpressions(17).transform(dict(img_path='a.jpg', texts=[]))


@pytest.mark.parametrize('text', [None, 5, b'red', ['red'], float('nan')])
def test_an_expression_that_is_no_string(text):
    with pytest.raises(TypeError, match='a.jpg: an expression must be a string, got '):
        TokenizeExpressions(17).transform(dict(img_path='a.jpg', texts=['fine', text]))


@pytest.mark.parametrize('token_length', [0, 2, 78, 17.0, '17', True, None])
def test_impossible_lengths(token_length):
    with pytest.raises(ValueError, match='token_length'):
        TokenizeExpressions(token_length)


def test_the_import_of_the_package_does_not_import_open_clip():
    code = "import sys, cmmasksd.datasets.transforms; print('torch' in sys.modules, 'open_clip' in sys.modules)"
    done = subprocess.run([sys.executable, '-c', code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ['True', 'False']
