"""RefShapes' benchmark, judged from its files: counts, look-alikes, words, and every sentence read a second time."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import pickle
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import open_clip
import pytest

from cmmasksd.datasets import RefCOCODataset
from cmmasksd.datasets.refer import load_refer
from cmmasksd.datasets.refshapes import make_refshapes
from cmmasksd.datasets.refshapes.benchmark import make_refshapes_benchmark, photographs
from cmmasksd.datasets.refshapes.benchmark.making import NUM_IMAGES
from cmmasksd.datasets.refshapes.benchmark.pictures import SPLITS
from cmmasksd.datasets.refshapes.benchmark.words import HELD_OUT, HELD_OUT_NOUNS, HELD_OUT_SYNONYMS, HELD_OUT_WORDS
from cmmasksd.datasets.refshapes.scenes import COLOURS, KINDS, SIZES, TEXTURES
from cmmasksd.datasets.refshapes.viewing import CLEAR_SHARE
from tests.test_datasets.test_refshapes.test_making import Made, contents, decode, items_by_image, read_sentence

CYCLES = 4  # of fifteen pictures
PIPELINE = [dict(type='LoadReferringImage'), dict(type='SelectSentences', mode='all'), dict(type='LoadReferringMasks')]


class Sentence(NamedTuple):
    """A sentence with its ref, and what stands in its record."""

    ref: dict
    text: str
    difficulty: str
    wording: str


@pytest.fixture(scope='module')
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp('data')
    folder = make_refshapes_benchmark(root, 15 * CYCLES, seed=5)
    assert folder == root / 'refshapes-benchmark'
    instances = json.loads((folder / 'instances.json').read_text())
    return Made(root, instances, pickle.loads((folder / 'refs(unc).p').read_bytes()))


@pytest.fixture(scope='module')
def sentences(made: Made) -> list[Sentence]:
    return [
        Sentence(ref, sentence['sent'], sentence['difficulty'], sentence['wording'])
        for ref in made.refs
        for sentence in ref['sentences']
    ]


# ---- what there is ---------------------------------------------------------------------------------------------------


def test_counts_are_exact(made: Made, sentences: list[Sentence]) -> None:
    per_cycle = {'train': 40, 'val': 2, 'testA': 2, 'testB': 2, 'testC': 2, 'testD': 2}
    assert Counter(sentence.ref['split'] for sentence in sentences) == {
        split: CYCLES * count for split, count in per_cycle.items()
    }
    whole = {split: count * NUM_IMAGES // len(SPLITS) for split, count in per_cycle.items()}
    assert whole == {'train': 20_000, **dict.fromkeys(list(per_cycle)[1:], 1_000)}


def test_splits_share_no_picture_and_tests_speak_of_a_thing_once(made: Made) -> None:
    splits: dict[int, set[str]] = {}
    for ref in made.refs:
        splits.setdefault(ref['image_id'], set()).add(ref['split'])
        assert len(ref['sentences']) == 1 or ref['split'] == 'train'
    assert len(splits) == 15 * CYCLES and all(len(found) == 1 for found in splits.values())
    refs_of = Counter(ref['image_id'] for ref in made.refs)
    assert set(refs_of.values()) <= {2, 3, 4}


def test_each_split_asks_what_it_says(sentences: list[Sentence]) -> None:
    asked: dict[str, set[str]] = {}
    for sentence in sentences:
        asked.setdefault(sentence.ref['split'], set()).add(sentence.difficulty)
        held_out = sentence.ref['split'] == 'testD'
        assert sentence.wording in (HELD_OUT if held_out else ('short', 'long'))
    assert asked['testA'] == {'attribute'} and asked['testB'] == {'position'} and asked['testC'] == {'relation'}
    assert asked['train'] == {'attribute', 'position', 'relation'}


def test_where_a_place_is_asked_another_thing_looks_the_same(made: Made, sentences: list[Sentence]) -> None:
    looks: dict[int, tuple] = {}
    for annotation in made.instances['annotations']:
        seen = annotation['attributes']
        looks[annotation['id']] = (
            *(annotation['image_id'], annotation['category_id']),
            *(seen[name] for name in ('colour', 'size', 'texture')),
        )
    alike = Counter(looks.values())
    for sentence in sentences:
        assert (alike[looks[sentence.ref['ann_id']]] > 1) == (sentence.difficulty != 'attribute'), sentence.text


def test_the_reader_and_the_data_set_take_it(made: Made) -> None:
    data = load_refer(made.root, 'refshapes-benchmark', 'unc')
    assert set(data.split_names) == set(SPLITS)
    dataset = RefCOCODataset(
        str(made.root), 'refshapes-benchmark', split='testB', test_mode=True, all_objects=True, pipeline=PIPELINE
    )
    counts = Counter(annotation['image_id'] for annotation in made.instances['annotations'])
    for item in dataset:
        assert item['object_masks'].shape == (counts[item['img_id']], item['height'], item['width'])
        assert all((item['object_masks'] == mask).all(axis=(1, 2)).sum() == 1 for mask in item['masks'])
    with pytest.raises(ValueError, match='set test_mode=True'):
        RefCOCODataset(str(made.root), 'refshapes-benchmark', all_objects=True)


# ---- its words -------------------------------------------------------------------------------------------------------

CANONICAL = {other: word for word, others in HELD_OUT_SYNONYMS.items() for other in others} | dict.fromkeys(
    HELD_OUT_NOUNS, 'thing'
)
ADJECTIVE = rf'(?:{"|".join(["big", *SIZES, *TEXTURES, *COLOURS])})'
AFTER = re.compile(rf'(\w+) that is ({ADJECTIVE}(?: and {ADJECTIVE})*)(?= |$)')
OPENING = 'look in this picture and find the one thing that i mean it is '
WAY = r'(furthest to the left|furthest to the right|highest|lowest)'
BESIDE = r'(to the left of|to the right of|above|below)'
CORNER = r'(top|bottom) (left|right)'
EXTREME = {'furthest to the left': 'leftmost', 'furthest to the right': 'rightmost', 'highest': 'top'} | {
    'lowest': 'bottom',
    'left': 'leftmost',
    'right': 'rightmost',
    'top': 'top',
    'bottom': 'bottom',
}
# pattern -> the same in the words of the plain set; the first that fits is taken
READINGS: list[tuple[str, str]] = [
    (r'the thing that i mean is the (.+)', 'the {0}'),
    (r'look for the (.+) in this picture', 'the {0}'),
    (r'there is one (.+) in the picture and it is the one that i mean', 'the {0}'),
    (r'find the one that i mean in the picture the (.+)', 'the {0}'),
    (r'it is the (.+) in this picture that i mean', 'the {0}'),
    (r'the (.+) that is in the picture', 'the {0}'),
    (r'the (.+) that is nearest to the (\w+) edge of the picture', '{1} {0}'),
    (rf'look for the (.+) that lies {WAY}', '{1} {0}'),
    (r'nearest to the (\w+) edge of the picture lies the (.+)', '{0} {1}'),
    (rf'look for the one that is {WAY} it is the (.+)', '{0} {1}'),
    (
        rf'(?:look for )?the (.+) that (?:is|lies) in the {CORNER}(?: of (?:the|this) picture)?',
        'the {0} in the {1} {2}',
    ),
    (rf'in the {CORNER} of the picture lies the (.+)', 'the {2} in the {0} {1}'),
    (rf'look in the {CORNER} for the (.+)', 'the {2} in the {0} {1}'),
    (rf'(?:find )?the (.+) that (?:is|lies) {BESIDE} the (.+?)(?: in the picture)?', 'the {0} {1} the {2}'),
    (rf'{BESIDE} the (.+) lies the (.+)', 'the {2} {0} the {1}'),
    (rf'look {BESIDE} the (.+) and find the (.+)', 'the {2} {0} the {1}'),
]


def simplify(sentence: str) -> str:
    """The sentence as the plain set would say it."""
    known = ' '.join(CANONICAL.get(word, word) for word in sentence.removeprefix(OPENING).split())
    plain = AFTER.sub(lambda found: f'{found[2].replace(" and ", " ")} {found[1]}', known)
    for pattern, form in READINGS:
        if found := re.fullmatch(pattern, plain):
            return form.format(
                *(
                    EXTREME.get(part, part) if '{1} {0}' == form or '{0} {1}' == form else part
                    for part in found.groups()
                )
            )
    return plain


def test_every_sentence_is_true_of_its_ref_alone(made: Made, sentences: list[Sentence]) -> None:
    items = items_by_image(made)
    shares = {annotation['id']: annotation['attributes']['visible'] for annotation in made.instances['annotations']}
    for sentence in sentences:
        kind, meant = read_sentence(simplify(sentence.text), items[sentence.ref['image_id']])
        assert (kind, meant) == (sentence.difficulty, [sentence.ref['ann_id']]), sentence.text
        assert shares[sentence.ref['ann_id']] >= CLEAR_SHARE


def test_held_out_words_and_orders_are_not_in_training(tmp_path: Path, sentences: list[Sentence]) -> None:
    seen = [sentence.text for sentence in sentences if sentence.ref['split'] != 'testD']
    frames = {
        ' '.join('_' if word in KINDS or re.fullmatch(ADJECTIVE, word) else word for word in text.split())
        for text in seen
    }
    vocabulary = {word for text in seen for word in text.split()} | {*KINDS, *COLOURS, *TEXTURES}
    longest = max(len(text.split()) for text in seen)
    checked: Counter[str] = Counter()
    for text, wording in ((one.text, one.wording) for one in sentences if one.ref['split'] == 'testD'):
        words = text.split()
        checked[wording] += 1
        assert bool(HELD_OUT_WORDS & set(words)) == (wording == 'synonym')
        assert wording == 'synonym' or set(words) <= vocabulary
        assert wording != 'longer' or len(words) > longest
        assert ' '.join('_' if word in KINDS or re.fullmatch(ADJECTIVE, word) else word for word in words) not in frames
    assert set(checked) == set(HELD_OUT) and not HELD_OUT_WORDS & vocabulary


def test_sentences_deny_nothing_and_fit_into_32_tokens(sentences: list[Sentence]) -> None:
    assert not {'not', 'no', 'without', 'except', 'neither', 'other'} & {
        w for one in sentences for w in one.text.split()
    }
    tokenize = open_clip.get_tokenizer('ViT-B-16-quickgelu')
    assert (tokenize([sentence.text for sentence in sentences]) != 0).sum(dim=1).max() <= 32


# ---- its pictures ----------------------------------------------------------------------------------------------------


def test_solid_shapes_keep_their_colour_in_any_light(made: Made) -> None:
    names, palette = list(COLOURS), np.array(list(COLOURS.values()), float)
    images = {image['id']: image for image in made.instances['images']}
    hits = []
    for annotation in made.instances['annotations']:
        if annotation['attributes']['texture'] == 'solid':
            image = images[annotation['image_id']]
            picture = cv2.imread(str(made.root / 'images' / 'train2014' / image['file_name']))[..., ::-1]
            assert picture.shape[:2] == (image['height'], image['width'])
            mask = decode(annotation['segmentation'], image['height'], image['width'])
            likeness = palette @ np.median(picture[mask], axis=0) / np.linalg.norm(palette, axis=1)
            hits.append(names[int(likeness.argmax())] == annotation['attributes']['colour'])
    assert len(hits) > 100 and np.mean(hits) > 0.97


@pytest.mark.parametrize('training, side', [(True, 'left'), (False, 'right')])
def test_training_and_tests_are_cut_from_different_parts(
    monkeypatch: pytest.MonkeyPatch, training: bool, side: str
) -> None:
    columns = np.broadcast_to(np.arange(200, dtype=np.uint8)[:, None], (100, 200, 3))
    monkeypatch.setattr(photographs, 'load_photograph', lambda name: columns)
    rng = np.random.default_rng(0)
    pieces = [photographs.cut('grass.png', 30, 40, training, rng) for _ in range(20)]
    assert all(piece.shape == (30, 40, 3) and piece.dtype == np.float32 for piece in pieces)
    assert all((piece < 120).all() if side == 'left' else (piece >= 119).all() for piece in pieces)


def test_without_scikit_image_it_says_so_and_the_plain_set_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(FileNotFoundError, match='pip install scikit-image'):
        make_refshapes_benchmark(tmp_path, 1)
    assert not list(tmp_path.iterdir())
    make_refshapes(tmp_path, 2)
    assert (tmp_path / 'refshapes').is_dir()


@pytest.mark.parametrize(
    'name, digest, message', [('coffee.png', 'abc', 'is not the photograph'), ('tea.png', 'abc', 'tea.png is missing')]
)
def test_other_photographs_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, digest: str, message: str
) -> None:
    monkeypatch.setattr(photographs, 'PHOTOGRAPHS', {name: digest})
    with pytest.raises((FileNotFoundError, ValueError), match=f'{message}.*scikit-image 0.25'):
        make_refshapes_benchmark(tmp_path / 'out', 1)
    assert not (tmp_path / 'out').exists()


def test_the_plain_set_is_what_it_was(tmp_path: Path) -> None:
    """Its annotations to the byte, as they were before there was a benchmark."""
    folder = make_refshapes(tmp_path, 12, seed=5)
    written = (folder / 'instances.json').read_bytes() + (folder / 'refs(unc).p').read_bytes()
    assert hashlib.sha256(written).hexdigest().startswith('cbbf4e70e07a7bcd')


# ---- making it -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_makes_the_same_with_two_processes_beside_the_plain_set(made: Made, tmp_path: Path) -> None:
    make_refshapes(tmp_path, 2)
    before = contents(tmp_path)
    command = [sys.executable, '-m', 'cmmasksd.datasets.refshapes', str(tmp_path), '--benchmark']
    options = ['--num-images', '15', '--seed', '5', '--num-workers', '2']
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    )
    assert 'train: 10 images' in done.stdout and 'testD: 1 images, 2 refs, 2 sentences' in done.stdout
    after = contents(tmp_path)
    assert before.items() <= after.items()
    shorter = pickle.loads(after['refshapes-benchmark/refs(unc).p'])
    assert shorter == made.refs[: len(shorter)]
    pictures = [name for name in after if name.startswith('images/') and name not in before]
    assert len(pictures) == 15 and all((made.root / name).read_bytes() == after[name] for name in pictures)
