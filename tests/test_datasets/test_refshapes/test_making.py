"""RefShapes, judged mostly from its files alone: a second reader of the sentences checks each against the annotated
shapes.
"""

from __future__ import annotations

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
from pycocotools import mask as coco_mask

from cmmasksd.datasets.refshapes import make_refshapes, making
from cmmasksd.datasets.refshapes.records import describe_picture
from cmmasksd.datasets.refshapes.scenes import COLOURS, KINDS, SIZES, TEXTURES, Scene, Shape, draw_scene
from cmmasksd.datasets.refshapes.viewing import CLEAR_SHARE, look

NUM_IMAGES = 120


class Made(NamedTuple):
    """A set read back from its files."""

    root: Path
    instances: dict
    refs: list[dict]

    @property
    def sentences(self) -> list[tuple[dict, str]]:
        return [(ref, sentence['sent']) for ref in self.refs for sentence in ref['sentences']]


def read(root: Path) -> Made:
    folder = root / 'refshapes'
    return Made(
        root, json.loads((folder / 'instances.json').read_text()), pickle.loads((folder / 'refs(unc).p').read_bytes())
    )


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob('*')) if path.is_file()}


def decode(segmentation: list | dict, height: int, width: int) -> np.ndarray:
    if isinstance(segmentation, list) or isinstance(segmentation['counts'], list):
        segmentation = coco_mask.frPyObjects(segmentation, height, width)
    merged = coco_mask.merge(segmentation) if isinstance(segmentation, list) else segmentation
    return coco_mask.decode(merged).astype(bool)


@pytest.fixture(scope='module')
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp('data')
    assert make_refshapes(root, NUM_IMAGES, seed=5) == root / 'refshapes'
    return read(root)


# ---- the files -------------------------------------------------------------------------------------------------------


def test_files_have_the_keys_of_refer_and_coco(made: Made) -> None:
    assert {ref['ref_id'] for ref in made.refs} == set(range(len(made.refs)))
    assert [sent_id for ref in made.refs for sent_id in ref['sent_ids']] == list(range(len(made.sentences)))
    images = {image['id']: image for image in made.instances['images']}
    annotations = {annotation['id']: annotation for annotation in made.instances['annotations']}
    assert len(images) == NUM_IMAGES and len(annotations) == len(made.instances['annotations'])
    assert [category['name'] for category in made.instances['categories']] == list(KINDS)
    for annotation in annotations.values():
        assert {'id', 'image_id', 'category_id', 'segmentation', 'area', 'bbox', 'iscrowd'} <= annotation.keys()
    for ref in made.refs:
        assert ref.keys() == {
            'ref_id',
            'ann_id',
            'image_id',
            'category_id',
            'split',
            'file_name',
            'sent_ids',
            'sentences',
        }
        annotation, image = annotations[ref['ann_id']], images[ref['image_id']]
        assert (annotation['image_id'], annotation['category_id']) == (ref['image_id'], ref['category_id'])
        assert ref['file_name'] == f'{image["file_name"][:-4]}_{ref["ann_id"]}.jpg'
        assert 1 <= len(ref['sentences']) <= 4 and len({sentence['sent'] for sentence in ref['sentences']}) == len(
            ref['sentences']
        )
        for sentence in ref['sentences']:
            assert sentence.keys() == {'tokens', 'raw', 'sent', 'sent_id'}
            assert sentence['tokens'] == sentence['sent'].split() and sentence['sent'] == sentence['sent'].lower()


def test_the_pickle_has_protocol_2(made: Made) -> None:
    assert (made.root / 'refshapes' / 'refs(unc).p').read_bytes()[:2] == b'\x80\x02'


def test_pictures_have_their_size_and_differ_in_it(made: Made) -> None:
    sizes = set()
    for image in made.instances['images']:
        picture = cv2.imread(str(made.root / 'images' / 'train2014' / image['file_name']))
        assert picture.shape == (image['height'], image['width'], 3)
        sizes.add(picture.shape[:2])
    assert sizes == set(making.DEFAULT_IMAGE_SIZES)


def test_splits_share_no_picture_and_every_picture_has_two_refs(made: Made) -> None:
    splits_of: dict[int, set[str]] = {}
    for ref in made.refs:
        splits_of.setdefault(ref['image_id'], set()).add(ref['split'])
    assert Counter(min(splits) for splits in splits_of.values()) == {'train': 102, 'val': 6, 'testA': 6, 'testB': 6}
    assert all(len(splits) == 1 for splits in splits_of.values())
    assert (
        min(Counter(image_id for image_id, _ in {(ref['image_id'], ref['ann_id']) for ref in made.refs}).values()) >= 2
    )


def test_solid_shapes_have_the_colour_that_is_annotated(made: Made) -> None:
    names, palette = list(COLOURS), np.array(list(COLOURS.values()))
    images = {image['id']: image for image in made.instances['images']}
    checked = 0
    for annotation in made.instances['annotations']:
        if annotation['attributes']['texture'] != 'solid':
            continue
        image = images[annotation['image_id']]
        picture = cv2.imread(str(made.root / 'images' / 'train2014' / image['file_name']))[..., ::-1]
        colour = np.median(picture[decode(annotation['segmentation'], image['height'], image['width'])], axis=0)
        assert names[int(np.abs(palette - colour).sum(axis=1).argmin())] == annotation['attributes']['colour']
        checked += 1
    assert checked > 100


def test_the_reader_of_refer_sets_reads_it(made: Made) -> None:
    from cmmasksd.datasets.refer import decode_mask, load_refer

    data = load_refer(made.root, 'refshapes', 'unc')
    assert len(data.refs) == len(made.refs) and set(data.split_names) == {'train', 'val', 'testA', 'testB'}
    boxes = {annotation['id']: annotation['bbox'] for annotation in made.instances['annotations']}
    for ref in data.split('testB'):
        image = data.images[ref.image_id]
        rows, columns = np.nonzero(decode_mask(ref.segmentation, image.height, image.width))
        left, top, width, height = boxes[ref.ann_id]
        drawn = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert (
            Path(image.path).is_file()
            and np.abs(np.subtract(drawn, [left, top, left + width, top + height])).max() <= 1
        )


# ---- the masks -------------------------------------------------------------------------------------------------------


def test_segmentations_decode_to_the_visible_pixels() -> None:
    rng = np.random.default_rng(0)
    forms: Counter[str] = Counter()
    for _ in range(250):
        scene = draw_scene(rng, 96, 128)
        view = look(scene) if scene is not None else None
        if scene is None or view is None:
            continue
        for number, annotation in enumerate(describe_picture('a.jpg', 'train', scene, view, {}, rng)['annotations']):
            segmentation = annotation['segmentation']
            mask, seen = decode(segmentation, 96, 128), view.masks[number]
            assert (mask & seen).sum() / (mask | seen).sum() > 0.95
            assert annotation['area'] == seen.sum()
            hidden = 'hidden ' if view.things[number].share < 0.95 else ''
            forms[
                hidden + ('polygons' if isinstance(segmentation, list) else type(segmentation['counts']).__name__)
            ] += 1
    assert forms['polygons'] > 200 and min(forms['hidden polygons'], forms['str'], forms['list']) > 5


def shape(
    kind: str, colour: str, x: float, y: float, radius: float = 20, size: str = 'large', texture: str = 'solid'
) -> Shape:
    return Shape(kind, colour, size, texture, x, y, radius, 0)


@pytest.mark.parametrize(
    'occluder, parts, form',
    [
        (shape('triangle', 'red', 64, 56.6, 27), 2, list),  # cuts the square behind it in two
        (shape('circle', 'red', 64, 48, 10), 1, dict),  # leaves a hole, which polygons cannot say
        (shape('circle', 'red', 20, 20, 8), 1, list),
    ],
)
def test_hidden_shapes(occluder: Shape, parts: int, form: type) -> None:
    scene = Scene(96, 128, (shape('square', 'blue', 64, 48, 28), occluder))
    view = look(scene)
    assert view is not None
    for seed in range(5):  # some seeds choose RLE for variety
        segmentation = describe_picture('a.jpg', 'val', scene, view, {}, np.random.default_rng(seed))['annotations'][0][
            'segmentation'
        ]
        mask = decode(segmentation, 96, 128)
        assert (mask & view.masks[0]).sum() / (mask | view.masks[0]).sum() > 0.95
        assert cv2.connectedComponents(mask.astype(np.uint8))[0] - 1 == parts
    assert isinstance(segmentation, form)


def test_a_shape_that_a_viewer_could_miss_spoils_the_scene() -> None:
    assert look(Scene(96, 128, (shape('circle', 'blue', 64, 48), shape('circle', 'red', 70, 48)))) is None


# ---- the meaning of sentences, read a second time --------------------------------------------------------------------

WAYS = {
    'left': (-1, 0),
    'right': (1, 0),
    'above': (0, -1),
    'below': (0, 1),
    'under': (0, 1),
    'top': (0, -1),
    'bottom': (0, 1),
}
NOUN_PHRASE = rf'((?:(?:large|big|small|{"|".join([*TEXTURES, *COLOURS])}) )*(?:{"|".join(KINDS)}|shape|object|thing))'
RELATION = re.compile(rf'(?:the )?{NOUN_PHRASE} (?:(?:to the )?(left|right) of|(above|below|under)) the {NOUN_PHRASE}')
POSITIONS = [
    re.compile(pattern)
    for pattern in (
        rf'(?:the )?(?P<v>top|bottom) (?P<h>left|right) (?P<noun>{NOUN_PHRASE})',
        rf'(?:the )?(?P<noun>{NOUN_PHRASE}) in the (?P<v>top|bottom) (?P<h>left|right)',
        rf'(?:the )?(?P<h>left|right)most (?P<noun>{NOUN_PHRASE})',
        rf'(?:the )?(?P<v>top|bottom|topmost|lowest) (?P<noun>{NOUN_PHRASE})',
        rf'the (?P<noun>{NOUN_PHRASE}) on the far (?P<h>left|right)',
        rf'the (?P<noun>{NOUN_PHRASE}) at the (?P<v>top|bottom)',
    )
]


class Item(NamedTuple):
    """An annotated shape: the words that are, or for a half hidden one may be, true of it; its centre as shares of the
    sides and in pixels.
    """

    ann_id: int
    words: set[str]
    place: np.ndarray
    centre: np.ndarray


def items_by_image(made: Made) -> dict[int, list[Item]]:
    images = {image['id']: image for image in made.instances['images']}
    items: dict[int, list[Item]] = {}
    for annotation in made.instances['annotations']:
        image, look_of = images[annotation['image_id']], annotation['attributes']
        words = {
            KINDS[annotation['category_id'] - 1],
            look_of['colour'],
            look_of['size'],
            look_of['texture'],
            'shape',
            'object',
            'thing',
        }
        if look_of['visible'] < CLEAR_SHARE:
            words |= {*KINDS, *SIZES, *TEXTURES}
        rows, columns = np.nonzero(decode(annotation['segmentation'], image['height'], image['width']))
        centre = np.array([columns.mean(), rows.mean()]) + 0.5
        items.setdefault(image['id'], []).append(
            Item(annotation['id'], words, centre / (image['width'], image['height']), centre)
        )
    return items


def fitting(phrase: str, items: list[Item]) -> list[Item]:
    return [item for item in items if set(phrase.replace('big', 'large').split()) <= item.words]


def read_sentence(sentence: str, items: list[Item]) -> tuple[str, list[int]]:
    """(kind of expression, the annotations that the sentence is true of), by plain rules; a decoded mask may be off by
    half a pixel.
    """
    if match := RELATION.fullmatch(sentence):
        noun, sideways, updown, anchor_noun = match.groups()
        (anchor,) = fitting(anchor_noun, items)
        way = np.array(WAYS[sideways or updown])
        others = [item for item in fitting(noun, items) if item is not anchor]
        return 'relation', [item.ann_id for item in others if way @ (item.centre - anchor.centre) > 0.5]
    for pattern in POSITIONS:
        if match := pattern.fullmatch(sentence):
            found = match.groupdict()
            candidates = fitting(found['noun'], items)
            assert len(candidates) > 1, f'{sentence!r} says a place where none is needed'
            ways = [
                np.array(WAYS[{'topmost': 'top', 'lowest': 'bottom'}.get(found[axis], found[axis])])
                for axis in 'vh'
                if found.get(axis)
            ]
            if len(ways) == 2:
                return 'position', [
                    item.ann_id for item in candidates if all(way @ (item.place - 0.5) > 0 for way in ways)
                ]
            best = max(ways[0] @ item.place for item in candidates)
            return 'position', [item.ann_id for item in candidates if ways[0] @ item.place >= best - 0.01]
    match = re.fullmatch(rf'(?:the )?{NOUN_PHRASE}', sentence)
    assert match, f'nobody can read {sentence!r}'
    return 'attribute', [item.ann_id for item in fitting(match[1], items)]


def test_every_sentence_is_true_of_its_ref_alone(made: Made) -> None:
    items = items_by_image(made)
    shares = {annotation['id']: annotation['attributes']['visible'] for annotation in made.instances['annotations']}
    kinds: Counter[tuple[str, str]] = Counter()
    for ref, sentence in made.sentences:
        kind, meant = read_sentence(sentence, items[ref['image_id']])
        assert meant == [ref['ann_id']], sentence
        assert shares[ref['ann_id']] >= CLEAR_SHARE
        kinds[ref['split'], kind] += 1
    assert {kind for split, kind in kinds if split == 'testA'} == {'attribute'}
    assert {kind for split, kind in kinds if split == 'testB'} == {'position', 'relation'}
    for split in ('train', 'val'):
        assert {kind for other, kind in kinds if other == split} == {'attribute', 'position', 'relation'}
    assert sum(kinds.values()) == len(made.sentences) > 2 * NUM_IMAGES


def test_one_word_is_often_not_enough(made: Made) -> None:
    """What makes the language needed: the colour, or the kind, of many refs is that of another shape in the picture
    too.
    """
    items = items_by_image(made)
    for words in (set(COLOURS), set(KINDS)):
        shared = [
            sum(item.words & words == own.words & words for item in items[ref['image_id']]) > 1
            for ref in made.refs
            for own in items[ref['image_id']]
            if own.ann_id == ref['ann_id']
        ]
        assert len(shared) == len(made.refs) and np.mean(shared) > 0.4


def test_sentences_fit_into_15_tokens(made: Made) -> None:
    tokenize = open_clip.get_tokenizer('ViT-B-16-quickgelu')
    lengths = (tokenize([sentence for _, sentence in made.sentences]) != 0).sum(dim=1)
    assert lengths.min() >= 3 and lengths.max() <= 15


# ---- making the folder -----------------------------------------------------------------------------------------------


def test_the_set_depends_on_its_parameters_alone(made: Made, tmp_path: Path) -> None:
    """The command with two processes, and a call with one, in this process, give the same bytes; fewer pictures give a
    prefix; seeds differ.
    """
    command = [
        sys.executable,
        '-m',
        'cmmasksd.datasets.refshapes',
        str(tmp_path / 'a'),
        '--num-images',
        '24',
        '--seed',
        '5',
        '--num-workers',
        '2',
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    assert '100 %' in done.stdout and 'train: 18 images' in done.stdout
    make_refshapes(tmp_path / 'b', 24, seed=5)
    assert contents(tmp_path / 'a') == contents(tmp_path / 'b')
    shorter = read(tmp_path / 'a')
    assert len(shorter.refs) > 40 and shorter.refs == made.refs[: len(shorter.refs)]
    for key in ('images', 'annotations'):
        assert shorter.instances[key] == made.instances[key][: len(shorter.instances[key])]
    name = shorter.instances['images'][23]['file_name']
    assert (tmp_path / 'a' / 'images/train2014' / name).read_bytes() == (
        made.root / 'images/train2014' / name
    ).read_bytes()
    make_refshapes(tmp_path / 'c', 4, seed=6)
    assert read(tmp_path / 'c').refs != shorter.refs[: len(read(tmp_path / 'c').refs)]


def test_a_second_call_changes_nothing(tmp_path: Path) -> None:
    stranger = tmp_path / 'images' / 'train2014' / 'COCO_train2014_000000000001.jpg'
    stranger.parent.mkdir(parents=True)
    stranger.write_bytes(b'not ours')
    make_refshapes(tmp_path, 4, image_sizes=[(64, 96)])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')}
    lines: list[str] = []
    make_refshapes(tmp_path, 4, image_sizes=[(64, 96)], report=lines.append)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')} == before and 'nothing to do' in lines[0]
    assert stranger.read_bytes() == b'not ours' and {path.name for path in tmp_path.iterdir()} == {
        'images',
        'refshapes',
    }
    with pytest.raises(FileExistsError, match='num_images 4 instead of 5, seed 0 instead of 1'):
        make_refshapes(tmp_path, 5, seed=1, image_sizes=[(64, 96)])
    next(stranger.parent.glob('refshapes_*')).unlink()
    with pytest.raises(FileExistsError, match='1 of its pictures are not in'):
        make_refshapes(tmp_path, 4, image_sizes=[(64, 96)])


@pytest.mark.parametrize(
    'manifest, message', [(None, 'has no manifest.json'), ('{', 'is not a manifest'), ('[]', 'is not a manifest')]
)
def test_a_foreign_folder_is_refused(tmp_path: Path, manifest: str | None, message: str) -> None:
    (tmp_path / 'refshapes').mkdir()
    if manifest is not None:
        (tmp_path / 'refshapes' / 'manifest.json').write_text(manifest)
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match=message):
        make_refshapes(tmp_path, 4)
    assert contents(tmp_path) == before


def test_an_interrupted_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def interrupted(index: int, parameters: dict, folder: Path) -> dict:
        calls.append(index)
        if index == 2:
            raise KeyboardInterrupt
        return whole(index, parameters, folder)

    whole = making.make_picture
    monkeypatch.setattr(making, 'make_picture', interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_refshapes(tmp_path, 4)
    assert calls == [0, 1, 2] and not list(tmp_path.iterdir())


KILLED = """
import os, signal, sys
from cmmasksd.datasets.refshapes import make_refshapes, making
whole = making.make_picture
def killed(index, parameters, folder):
    if index == 2:
        print(flush=True)
        os.kill(os.getpid(), signal.SIGKILL) if sys.argv[2] == 'dies' else sys.stdin.read()
    return whole(index, parameters, folder)
making.make_picture = killed
make_refshapes(sys.argv[1], 4)
"""


@pytest.mark.slow
def test_drafts_of_killed_processes_are_removed_and_those_of_living_ones_kept(tmp_path: Path) -> None:
    def start(root: Path, ending: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, '-c', KILLED, root, ending], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        process.stdout.readline()
        return process

    def drafts(root: Path) -> list[str]:
        return sorted(path.name for path in root.glob('.refshapes-*'))

    dead, shared = tmp_path / 'dead', tmp_path / 'shared'
    start(dead, 'dies').wait()
    assert len(drafts(dead)) == 1
    make_refshapes(dead, 4)
    assert drafts(dead) == [] and (dead / 'refshapes').is_dir()

    living = start(shared, 'waits')
    (of_the_living,) = drafts(shared)
    make_refshapes(shared, 4)
    assert drafts(shared) == [of_the_living]
    living.communicate()
    assert living.returncode == 0 and drafts(shared) == [] and contents(shared) == contents(dead)


@pytest.mark.parametrize(
    'parameters, message',
    [
        ({'num_images': 0}, 'num_images >= 1'),
        ({'seed': -1}, 'seed >= 0'),
        ({'num_workers': 0}, 'num_workers >= 1'),
        ({'image_sizes': []}, 'image_sizes is empty'),
        ({'image_sizes': [(96, 32)]}, 'at most 2:1'),
        ({'image_sizes': [(64, 200)]}, 'at most 2:1'),
        ({'image_sizes': [(96,)]}, 'height, width'),
    ],
)
def test_parameters_out_of_range(tmp_path: Path, parameters: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_refshapes(tmp_path / 'out', **parameters)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    'arguments, message', [(['--image-size', '96'], 'HEIGHTxWIDTH'), (['--num-images', '0'], 'Error: RefShapes needs')]
)
def test_the_command_explains_a_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, arguments: list[str], message: str
) -> None:
    from cmmasksd.datasets.refshapes.__main__ import main

    monkeypatch.setattr(sys, 'argv', ['refshapes', str(tmp_path / 'out'), *arguments])
    with pytest.raises(SystemExit) as error:
        main()
    assert message in f'{error.value}{capsys.readouterr().err}'


def test_the_command_explains_a_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cmmasksd.datasets.refshapes.__main__ import main

    (tmp_path / 'file').write_text('')
    monkeypatch.setattr(sys, 'argv', ['refshapes', str(tmp_path / 'file' / 'out')])
    with pytest.raises(SystemExit, match='^Error: .*Not a directory.*file/out'):
        main()
