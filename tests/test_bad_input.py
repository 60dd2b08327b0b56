"""Bad input in training and evaluation: the shipped pipelines and a small model on folders that are broken in
every known way.

Each case is (how the folder is broken, what is raised, what it says); a case that raises nothing trains and evaluates.
What concerns inference is in tests/test_apis/test_inferencer_bad_input.py, the files of strangers in
tests/test_datasets and tests/test_checkpoints/test_reading.py.
"""

from __future__ import annotations

import json
import pickle
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

from cmmasksd.datasets.refer import ReferError, ReferWarning
from cmmasksd.datasets.refer.pickles import UnsafePickleError
from cmmasksd.datasets.refshapes import make_refshapes
from cmmasksd.datasets.transforms import text as text_module
from cmmasksd.registry import DATASETS, METRICS, MODELS

CONFIG = Path(__file__).resolve().parents[1] / 'configs/cm_masksd/vit-tiny_refshapes.py'
STAGES = {'training': ('train_dataloader', 'train'), 'evaluation': ('val_dataloader', 'val')}
Break = Callable[[Path], Any]


@pytest.fixture(scope='module')
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('sound')
    make_refshapes(root, num_images=20, seed=1, image_sizes=[(64, 96)])
    return root


@pytest.fixture
def root(sound: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sound, tmp_path / 'data')


@pytest.fixture(scope='module')
def model() -> nn.Module:
    cfg = Config.fromfile(CONFIG)
    with DefaultScope.overwrite_default_scope('cmmasksd'):
        return MODELS.build(cfg.model)


def run(stage: str, root: Path, model: nn.Module, workers: int = 0, **dataset_options: Any) -> int:
    """At most two items through data set, data loader and model, as the Runner does it; results must be sound. Gives
    the number of items.
    """
    loader, split = STAGES[stage]
    cfg = Config.fromfile(CONFIG)
    cfg[loader].dataset.update(
        dict(data_root=str(root), split=split, indices=2, serialize_data=False, **dataset_options)
    )
    with DefaultScope.overwrite_default_scope('cmmasksd'), warnings.catch_warnings():
        warnings.simplefilter('ignore', ReferWarning)
        dataset = DATASETS.build(cfg[loader].dataset)
        metric = METRICS.build(dict(type='ReferringIoUMetric'))
    items = 0
    for batch in DataLoader(dataset, batch_size=2, collate_fn=pseudo_collate, num_workers=workers):
        items += len(batch['inputs'])
        if stage == 'training':
            losses = model.train()(**model.data_preprocessor(batch, True), mode='loss')
            assert len(losses) == 3 and all(torch.isfinite(loss) for loss in losses.values())
            continue
        with torch.no_grad():
            samples = model.eval().val_step(batch)
        metric.process(batch, [sample.to_dict() for sample in samples])
        for sample in samples:
            assert sample.predictions.masks.shape == sample.expressions.masks.shape
    if stage == 'evaluation':
        metrics = metric.compute_metrics(metric.results)
        assert metrics['num_expressions'] > 0 and 0 <= metrics['mIoU'] <= 100
    assert items > 0
    return items


def pictures(root: Path) -> list[Path]:
    found = sorted((root / 'images/train2014').iterdir())
    assert len(found) == 20
    return found


def each_picture(change: Callable[[Path], Any]) -> Break:
    return lambda root: [change(path) for path in pictures(root)]


def reencode(ending: str, change: Callable[[Image.Image], Image.Image | np.ndarray], **options: Any) -> Break:
    """Every picture again, in another form, under its old name."""

    def apply(path: Path) -> None:
        changed = change(Image.open(path).convert('RGB'))
        if isinstance(changed, np.ndarray):
            path.write_bytes(cv2.imencode(f'.{ending}', changed)[1].tobytes())
        else:
            changed.save(path, format=ending, **options)

    return each_picture(apply)


def resize(height: int, width: int) -> Break:
    """A set of pictures of that size, all of each belonging to its object."""

    def apply(root: Path) -> None:
        for path in pictures(root):
            Image.new('RGB', (width, height), (200, 30, 30)).save(path, format='png')
        edit_instances(lambda instances: [image.update(height=height, width=width) for image in instances['images']])(
            root
        )
        segment({'size': [height, width], 'counts': [0, height * width]})(root)

    return apply


def edit_instances(change: Callable[[dict], Any]) -> Break:
    def apply(root: Path) -> None:
        path = root / 'refshapes/instances.json'
        instances = json.loads(path.read_text())
        change(instances)
        path.write_text(json.dumps(instances))

    return apply


def segment(segmentation: Any) -> Break:
    return edit_instances(
        lambda instances: [annotation.update(segmentation=segmentation) for annotation in instances['annotations']]
    )


def edit_refs(change: Callable[[dict], Any]) -> Break:
    def apply(root: Path) -> None:
        path = root / 'refshapes/refs(unc).p'
        refs = pickle.loads(path.read_bytes())
        for ref in refs:
            change(ref)
        path.write_bytes(pickle.dumps(refs, protocol=2))

    return apply


def say(text: str) -> Break:
    return edit_refs(lambda ref: [sentence.update(sent=text) for sentence in ref['sentences']])


def overwrite(name: str, content: bytes) -> Break:
    return lambda root: (root / name).write_bytes(content)


def cut(name: str) -> Break:
    return lambda root: (root / name).write_bytes((root / name).read_bytes()[:-40])


def exif() -> Image.Exif:
    turned = Image.Exif()
    turned[0x0112] = 6
    return turned


def to_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


IN_PICTURE = r'images/train2014/refshapes_\w+\.jpg \(ref \d+.*'
IN_MASK = r'images/train2014/refshapes_\w+\.jpg: ref \d+ \(annotation \d+\): '
IN_SENTENCE = r'refshapes/refs\(unc\)\.p, ref 0: sentence \d+ '
IN_ANNOTATION = r'refs\(unc\)\.p, ref 0: annotation \d+ of .*refshapes/instances\.json: '
REFS, INSTANCES = 'refshapes/refs(unc).p', 'refshapes/instances.json'

RAISING: dict[str, tuple[Break, type[Exception], str]] = {
    'picture missing': (each_picture(Path.unlink), FileNotFoundError, IN_PICTURE + 'no such picture; check data_root'),
    'picture a folder': (each_picture(to_folder), OSError, IN_PICTURE + 'cannot be opened .*give the path of a file'),
    'picture empty': (
        each_picture(lambda path: path.write_bytes(b'')),
        ValueError,
        IN_PICTURE + 'truncated or no picture.*fetch it again',
    ),
    'picture truncated': (
        each_picture(lambda path: path.write_bytes(path.read_bytes()[:-100])),
        ValueError,
        IN_PICTURE + 'truncated',
    ),
    'picture a web page': (
        each_picture(lambda path: path.write_bytes(b'<html>')),
        ValueError,
        IN_PICTURE + 'no picture',
    ),
    'picture of 32 bits': (
        reencode('tiff', lambda image: image.convert('F')),
        ValueError,
        IN_PICTURE + 'no picture of 8 or 16 bits',
    ),
    'picture of another size': (
        reencode('png', lambda image: image.resize((90, 64))),
        ValueError,
        IN_PICTURE + '64 x 90 .*says 64 x 96',
    ),
    'no image folder': (
        lambda root: shutil.rmtree(root / 'images'),
        ReferError,
        'no image folder: looked for .*put or link the pictures',
    ),
    'no annotations': (
        lambda root: shutil.rmtree(root / 'refshapes'),
        ReferError,
        r'refs\(unc\)\.p .*not found .*check data_root',
    ),
    'refs missing': (lambda root: (root / REFS).unlink(), ReferError, r'refs\(unc\)\.p not found'),
    'refs empty': (overwrite(REFS, b''), ReferError, r'refs\(unc\)\.p is empty; get it anew'),
    'refs cut off': (cut(REFS), UnsafePickleError, r'refs\(unc\)\.p.*cut off.*get the file anew'),
    'refs that call': (
        overwrite(REFS, b'cos\nsystem\n(Vtrue\ntR.'),
        UnsafePickleError,
        r'refs\(unc\)\.p: GLOBAL at byte 0',
    ),
    'refs that ask for memory': (
        overwrite(REFS, b'Nr\xff\xff\xff\x0f0.'),
        UnsafePickleError,
        r'refs\(unc\)\.p: LONG_BINPUT at byte 1',
    ),
    'instances cut off': (cut(INSTANCES), ReferError, r'instances\.json is not valid JSON .*get it anew'),
    'refs without a target': (edit_refs(lambda ref: ref.update(ann_id=[-1])), ReferError, 'as in gRefCOCO'),
    'ref without a sentence': (
        edit_refs(lambda ref: ref.update(sentences=[])),
        ReferError,
        r'refs\(unc\)\.p, record 0: it has no sentence; leave',
    ),
    'annotation of another set': (
        edit_refs(lambda ref: ref.update(ann_id=10**6)),
        ReferError,
        'ref 0: its annotation 1000000 is not in',
    ),
    'picture of another set': (
        edit_refs(lambda ref: ref.update(image_id=10**6)),
        ReferError,
        'ref 0: its image 1000000 is not in',
    ),
    'empty expression': (say(''), ReferError, IN_SENTENCE + 'is empty .*write it anew'),
    'blank expression': (say(' \t '), ReferError, IN_SENTENCE + 'is empty'),
    'endless expression': (say('a' * 10_001), ReferError, IN_SENTENCE + '.*at most 10000 characters'),
    'half of a surrogate pair': (say('red \ud800'), ReferError, IN_SENTENCE + '.*is not text'),
    'expression of no word': (
        say('&nbsp;'),
        ValueError,
        IN_PICTURE + "expression '&nbsp;' is empty: give at least one word",
    ),
    'NaN in a polygon': (segment([[1, 1, float('nan'), 9, 9, 9]]), ReferError, IN_ANNOTATION + 'a polygon has NaN'),
    'polygon far outside': (
        segment([[1, 1, 5000, 9, 9, 9]]),
        ReferError,
        IN_ANNOTATION + 'a polygon reaches far outside .*swapped',
    ),
    'degenerate polygons alone': (
        segment([[1, 1, 5, 5]]),
        ReferError,
        IN_ANNOTATION + 'none of its polygon parts .*redraw',
    ),
    'mask of the wrong size': (
        segment({'size': [96, 64], 'counts': [0, 6144]}),
        ReferError,
        IN_ANNOTATION + r'its RLE has size \[96, 64\]',
    ),
    'runs that do not fit': (
        segment({'size': [64, 96], 'counts': [0, 6145]}),
        ReferError,
        IN_ANNOTATION + 'the runs of its RLE do not add up',
    ),
    'no segmentation': (segment(None), ReferError, IN_ANNOTATION + 'its segmentation is empty'),
    'empty mask': (
        segment({'size': [64, 96], 'counts': [6144]}),
        ReferError,
        IN_MASK + 'its mask covers no pixel .*redraw',
    ),
    'object beside its picture': (
        segment([[-20, -20, -5, -20, -5, -5]]),
        ReferError,
        IN_MASK + 'its mask covers no pixel',
    ),
}


@pytest.mark.parametrize('stage', STAGES)
@pytest.mark.parametrize('case', RAISING)
def test_it_is_said_with_file_record_and_mend(root: Path, model: nn.Module, case: str, stage: str) -> None:
    damage, kind, message = RAISING[case]
    damage(root)
    with pytest.raises(kind, match=message) as caught:
        run(stage, root, model)
    assert str(root) in str(caught.value) and '\n' not in str(caught.value)


SOUND: dict[str, Break] = {
    'as made': lambda root: None,
    'grey pictures': reencode('png', lambda image: image.convert('L')),
    'grey and transparent': reencode('png', lambda image: image.convert('LA')),
    'RGBA': reencode('png', lambda image: image.convert('RGBA')),
    'palette': reencode('png', lambda image: image.quantize(32)),
    'GIF': reencode('gif', lambda image: image.quantize(32)),
    'black and white': reencode('png', lambda image: image.convert('1')),
    'CMYK': reencode('jpeg', lambda image: image.convert('CMYK')),
    '16 bits': reencode('png', lambda image: np.asarray(image).astype(np.uint16) * 257),
    'EXIF orientation, which annotations ignore': reencode('jpeg', lambda image: image, exif=exif()),
    'one pixel': resize(1, 1),
    'one row': resize(1, 900),
    'one column': resize(900, 1),
    '300 words': say('zebra ' * 300),
    'emoji': say('🦓🦓 ☃'),
    'another alphabet': say('左のシマウマ'),
    'control characters': say('red\0 \x07circle\u200d'),
    'degenerate parts beside a sound one': segment([[1, 1, 5, 5], [1, 1, 5, 5, 9, 9], [1, 1, 30, 1, 30, 30, 1, 30]]),
    'several RLEs': segment(
        [{'size': [64, 96], 'counts': [0, 64, 6080]}, {'size': [64, 96], 'counts': [100, 0, 100, 64, 5880]}]
    ),
    'a polygon over the edge': segment([[-10, -10, 30, -10, 30, 30]]),
}


@pytest.mark.parametrize('stage', STAGES)
@pytest.mark.parametrize('case', SOUND)
def test_it_is_unusual_but_sound(root: Path, model: nn.Module, case: str, stage: str) -> None:
    SOUND[case](root)
    # the val split of the set has one picture
    assert run(stage, root, model) == {'training': 2, 'evaluation': 1}[stage]


@pytest.mark.parametrize('stage', STAGES)
def test_a_split_that_does_not_exist(root: Path, model: nn.Module, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STAGES, stage, (STAGES[stage][0], 'testC'))
    with pytest.raises(ReferError, match="has no split 'testC'; use one of: train, val, testA, testB"):
        run(stage, root, model)


@pytest.mark.slow
def test_worker_processes_hand_the_message_on(root: Path, model: nn.Module) -> None:
    RAISING['picture truncated'][0](root)
    with pytest.raises(ValueError, match=f'(?s).*ValueError: {root}/{IN_PICTURE}truncated'):
        run('training', root, model, workers=1)


@pytest.mark.parametrize('stage', STAGES)
def test_a_long_expression_is_cut_and_that_is_said_once(
    root: Path, model: nn.Module, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(text_module, 'print_log', lambda message, **options: said.append(message))
    text_module._say_that_sentences_are_cut.cache_clear()
    say('zebra ' * 300)(root)
    run(stage, root, model)
    run(stage, root, model)
    assert len(said) == 1 and '17 tokens' in said[0]


@pytest.mark.parametrize('stage', STAGES)
@pytest.mark.parametrize(('published', 'warned'), [('refcoco', True), ('refshapes', False)])
def test_counts_that_are_not_the_published_ones_are_named(root: Path, stage: str, published: str, warned: bool) -> None:
    (root / 'refshapes').rename(root / published)
    loader, split = STAGES[stage]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        DATASETS.build(dict(type='RefCOCODataset', data_root=str(root), dataset=published, split=split))
    told = [str(warning.message) for warning in caught if issubclass(warning.category, ReferWarning)]
    assert len(told) == warned and all(
        'train has ' in text and 'published are 42404' in text and str(root) in text for text in told
    )


# --- configs ----------------------------------------------------------------------------------------------------------


def build(cfg: Config) -> nn.Module:
    with DefaultScope.overwrite_default_scope('cmmasksd'):
        return MODELS.build(cfg.model)


def pipeline_with(loader: str, kind: str, **options: Any) -> list[dict]:
    steps = Config.fromfile(CONFIG)[loader].dataset.pipeline
    assert kind in [step['type'] for step in steps]
    return [dict(step, **options) if step['type'] == kind else step for step in steps]


@pytest.mark.parametrize('stage', STAGES)
def test_a_token_length_that_the_tower_has_not(root: Path, stage: str) -> None:
    cfg = Config.fromfile(CONFIG)
    cfg.model.text_encoder.architecture.text_cfg.context_length = 16
    with pytest.raises(
        ValueError,
        match="17 tokens, but the text tower has 16 positions: lower the pipeline's TokenizeExpressions.token_length",
    ):
        run(stage, root, build(cfg))


@pytest.mark.parametrize('stage', STAGES)
@pytest.mark.parametrize(
    ('kind', 'options', 'error', 'message'),
    [
        (
            'TokenizeExpressions',
            dict(token_length=78),
            ValueError,
            'token_length must be a whole number from 3 to 77, got 78',
        ),
        (
            'LetterboxResize',
            dict(size=(128, 0)),
            ValueError,
            'size must be .height, width., two whole numbers of at least 1',
        ),
        (
            'LetterboxResize',
            dict(size=(64, 64)),
            ValueError,
            r"built for inputs of \(128, 128\), got \(64, 64\): let the pipeline's LetterboxResize",
        ),
        ('SelectSentences', dict(mode='last'), ValueError, "mode must be one of .*'last'"),
        ('LetterboxResize', dict(type='LetterBox'), KeyError, 'LetterBox is not in the .*transform'),
    ],
    ids=['too many tokens', 'no size', 'another size than the tower', 'no such mode', 'no such class'],
)
def test_a_pipeline_that_cannot_be(
    root: Path, model: nn.Module, stage: str, kind: str, options: dict, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        run(stage, root, model, pipeline=pipeline_with(STAGES[stage][0], kind, **options))


@pytest.mark.parametrize(
    ('path', 'value', 'error', 'message'),
    [
        ('backbone.type', 'NoSuchTower', KeyError, 'NoSuchTower is not in the .*model registry'),
        ('backbone.image_size', (100, 128), ValueError, r'image_size \(100, 128\) is no multiple of the patch size 16'),
        (
            'backbone.architecture',
            'ViT-X-99',
            ValueError,
            "open_clip has no architecture 'ViT-X-99'; see open_clip.list_models",
        ),
        (
            'backbone.architecture.vision_cfg.layers',
            2,
            ValueError,
            r'from blocks \(-1, 0\), but the image tower has 2.*at least three blocks',
        ),
        (
            'backbone.out_indices',
            (1, 4),
            ValueError,
            r'from blocks \(1, 4\), but the image tower has 4, counted from 0: give out_indices',
        ),
        ('backbone.out_indices', (2, 1), ValueError, r'from blocks \(2, 1\).*with i < j'),
        ('backbone.out_indices', (1,), ValueError, r'from blocks \(1,\)'),
        ('expressions_per_chunk', 0, ValueError, 'expressions_per_chunk must be at least 1'),
    ],
)
def test_a_model_that_cannot_be(path: str, value: Any, error: type[Exception], message: str) -> None:
    cfg = Config.fromfile(CONFIG)
    cfg.merge_from_dict({f'model.{path}': value})
    with pytest.raises(error, match=message):
        build(cfg)


@pytest.mark.parametrize('part', ['backbone', 'text_encoder'])
def test_a_tag_needs_the_name_of_an_architecture(part: str) -> None:
    cfg = Config.fromfile(CONFIG)
    cfg.model[part].pretrained = 'openai'
    model = build(cfg)
    with pytest.raises(
        ValueError,
        match="pretrained='openai' is no file, and as a tag it needs open_clip's name of the arch.*or give a file",
    ) as caught:
        getattr(model, part).init_weights()
    assert len(str(caught.value)) < 300
