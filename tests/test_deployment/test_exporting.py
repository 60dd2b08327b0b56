"""Exported models against torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cmmasksd.apis import ReferringInferencer
from cmmasksd.deployment.graphs import trace
from tests.published_models import SIZE, make_config, save_checkpoint
from tests.test_models.test_detris import segmentor as detris
from tests.test_models.test_etris import IDS
from tests.test_models.test_etris import segmentor as etris

onnx = pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')
exporting = pytest.importorskip('cmmasksd.deployment.exporting', exc_type=ImportError)

ASKED = ['left zebra', 'the tree behind the man', 'red']
PICTURES = [(40, 30), (20, 61), SIZE]
pytestmark = pytest.mark.slow  # an export takes seconds


@pytest.fixture(scope='module')
def inferencer(tmp_path_factory: pytest.TempPathFactory) -> ReferringInferencer:
    cfg, path = make_config(), tmp_path_factory.mktemp('run') / 'epoch_1.pth'
    save_checkpoint(cfg, path)
    return ReferringInferencer(cfg, path, device='cpu')


@pytest.fixture(scope='module')
def folder(inferencer: ReferringInferencer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exporting.export_onnx(inferencer, tmp_path_factory.mktemp('export') / 'model')


def make_picture(size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(sum(size)).integers(0, 256, (*size, 3), dtype=np.uint8)


@pytest.mark.parametrize('size', PICTURES)
def test_masks_are_those_of_torch(inferencer: ReferringInferencer, folder: Path, size: tuple[int, int]) -> None:
    picture = make_picture(size)
    (expected,) = inferencer(picture, ASKED)
    masks, probabilities = exporting.runtime.Segmentor(folder)(picture, ASKED)
    assert masks.shape == expected.masks.shape and masks.dtype == bool
    np.testing.assert_allclose(probabilities, expected.probabilities, rtol=0, atol=2e-3)  # OpenCV's rounding of pixels
    off_the_threshold = np.abs(expected.probabilities - 0.25) > 5e-3
    assert off_the_threshold.any() and np.array_equal(masks[off_the_threshold], expected.masks[off_the_threshold])


def test_numbers_of_images_and_expressions_are_free(inferencer: ReferringInferencer, folder: Path) -> None:
    image, expressions = (onnx.load(folder / name) for name in exporting.GRAPHS)
    assert [dim.dim_param or dim.dim_value for dim in shape(image.graph.input[0])] == ['images', 3, *SIZE]
    ids, index = image_inputs(expressions)
    assert [dim.dim_param or dim.dim_value for dim in ids] == ['expressions', 9]
    assert [dim.dim_param for dim in index] == ['expressions']
    assert {opset.version for opset in image.opset_import if not opset.domain} == {18}
    segmentor = exporting.runtime.Segmentor(folder)
    for images, count in ((1, 1), (1, 5), (3, 4)):
        prepared = [inferencer.prepare(make_picture((20 + each, 30)), ASKED[each % 3]) for each in range(images)]
        inputs = torch.stack([each.inputs for each in prepared])
        features = segmentor.image.run(None, dict(images=inputs.numpy()))
        tokens = segmentor.tokenize([ASKED[each % 3] for each in range(count)])
        given = dict(zip(names(segmentor), [*features, tokens, np.arange(count) % images]))
        (maps,) = segmentor.expressions.run(None, given)
        encoded = inferencer.model.encode_images(
            (inputs.float() - inferencer.model.data_preprocessor.mean) / inferencer.model.data_preprocessor.std
        )
        chunks = inferencer.model.segment_images(encoded, torch.from_numpy(tokens), torch.arange(count) % images)
        expected = torch.cat([logits.sigmoid()[:, 0] for _, logits in chunks]).detach().numpy()
        np.testing.assert_allclose(maps, expected, atol=1e-4)


def shape(value: Any) -> Any:
    return value.type.tensor_type.shape.dim


def image_inputs(expressions: Any) -> tuple[Any, Any]:
    return shape(expressions.graph.input[-2]), shape(expressions.graph.input[-1])


def names(segmentor: Any) -> list[str]:
    return [each.name for each in segmentor.expressions.get_inputs()]


def test_the_folder_runs_where_nothing_of_ours_is(
    inferencer: ReferringInferencer, folder: Path, tmp_path: Path
) -> None:
    picture = make_picture((40, 30))
    Image.fromarray(picture).save(tmp_path / 'picture.png')
    script = f"""
import runpy, sys
for name in ('torch', 'cmmasksd', 'cv2', 'mmengine', 'mmseg', 'mmcv', 'open_clip', 'transformers', 'ftfy', 'regex'):
    sys.modules[name] = None
sys.argv = ['runtime.py', 'picture.png', 'left zebra', 'red']
runpy.run_path({str(folder / 'runtime.py')!r}, run_name='__main__')
"""
    done = subprocess.run([sys.executable, '-c', script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 'picture.1.png: left zebra' in done.stdout
    (expected,) = inferencer(picture, ['left zebra', 'red'])
    for number, (mask, probability) in enumerate(zip(expected.masks, expected.probabilities), start=1):
        found = np.asarray(Image.open(tmp_path / f'picture.{number}.png').convert('1'))
        assert (found != mask)[np.abs(probability - 0.25) > 5e-3].sum() == 0


def test_tokens_are_those_of_the_pipeline(inferencer: ReferringInferencer, folder: Path) -> None:
    texts = ['dog &amp;amp; cat', 'it&#39;s  RED', ' left’s ', 'zebra ' * 40]
    expected = inferencer.prepare(make_picture((20, 30)), texts).data_sample.expressions.input_ids.numpy()
    assert np.array_equal(exporting.runtime.Segmentor(folder).tokenize(texts), expected)


def test_a_file_that_was_changed_is_refused(folder: Path, tmp_path: Path) -> None:
    manifest = json.loads((folder / 'manifest.json').read_text())
    assert set(manifest['sha256']) == {'image.onnx', 'expressions.onnx', 'tokenizer.json', 'runtime.py'}
    assert manifest['size'] == list(SIZE) and manifest['threshold'] == 0.25 and manifest['precision'] == 'float32'
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    data = bytearray((tmp_path / 'image.onnx').read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / 'image.onnx').write_bytes(data)
    with pytest.raises(ValueError, match='image.onnx is not the file that was exported'):
        exporting.runtime.Segmentor(tmp_path)


@pytest.mark.parametrize(('precision', 'least'), [('float16', 0.9999), ('int8', 0.99)])
def test_smaller_graphs_are_near(folder: Path, tmp_path: Path, precision: Any, least: float) -> None:
    for name in exporting.GRAPHS:
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    exporting._convert(tmp_path, precision)
    full, small = (exporting.runtime.Segmentor(folder), exporting.runtime.Segmentor(folder))
    small.image, small.expressions = (
        onnxruntime.InferenceSession(tmp_path / name, providers=['CPUExecutionProvider']) for name in exporting.GRAPHS
    )
    picture = make_picture((40, 30))
    one, other = full(picture, ASKED)[1], small(picture, ASKED)[1]
    assert not np.array_equal(one, other) and np.corrcoef(one.ravel(), other.ravel())[0, 1] > least
    sizes = [sum((where / name).stat().st_size for name in exporting.GRAPHS) for where in (folder, tmp_path)]
    assert sizes[1] < sizes[0]


@pytest.mark.parametrize('expressions', ['red', [], [' '], ['red', '']])
def test_nothing_asked_is_refused(folder: Path, expressions: Any) -> None:
    with pytest.raises(ValueError, match='Give a list of expressions, each of at least a word'):
        exporting.runtime.Segmentor(folder).tokenize(expressions)


def test_what_cannot_be_exported_is_refused(inferencer: ReferringInferencer, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match='is there already'):
        exporting.export_onnx(inferencer, folder)
    with pytest.raises(ValueError, match='precision is one of'):
        exporting.export_onnx(inferencer, tmp_path / 'new', 'int4')
    with pytest.raises(ValueError, match='opset must be from 18 to 22, got 23'):
        exporting.export_onnx(inferencer, tmp_path / 'new', opset=23)
    cfg = make_config()
    cfg.test_dataloader.dataset.pipeline.insert(1, dict(type='mmcv.RandomGrayscale', prob=1.0))
    with pytest.raises(ValueError, match='cannot do AugmentPicture of the test pipeline'):
        exporting.export_onnx(ReferringInferencer(cfg, device='cpu'), tmp_path / 'new')
    cfg = make_config()
    cfg.test_dataloader.dataset.pipeline[3].keep_ratio = False
    with pytest.raises(ValueError, match='leave LetterboxResize.keep_ratio and resampling'):
        exporting.export_onnx(ReferringInferencer(cfg, device='cpu'), tmp_path / 'new')
    assert not list(tmp_path.iterdir())


def test_graphs_that_answer_otherwise_are_not_written(
    inferencer: ReferringInferencer, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_others(other: Any, draft: Path, size: Any, opset: int) -> None:
        for name in exporting.GRAPHS:
            (draft / name).write_bytes((folder / name).read_bytes())

    monkeypatch.setattr(exporting, '_write_graphs', write_others)
    other = ReferringInferencer(make_config(), device='cpu')  # of other weights
    with pytest.raises(RuntimeError, match='differ from those of torch by'):
        exporting.export_onnx(other, tmp_path / 'model')
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('kind', ['etris on resnet', 'etris on vit', 'detris'])
@torch.no_grad()
def test_encoders_that_need_the_sentence(kind: str, tmp_path: Path) -> None:
    """Their images' graph gives embeddings; encoders and bridge run in the expressions'."""
    model = detris() if kind == 'detris' else etris(kind.split()[-1])
    model.eval()
    images = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
    ids, index = IDS[[0, 1, 2, 0]], torch.tensor([0, 2, 1, 1])
    expected = model((images.float() - model.data_preprocessor.mean) / model.data_preprocessor.std, ids, index)
    sessions = []
    for name, program in zip(exporting.GRAPHS, trace(model, images[:2], ids[:3], opset=18), strict=True):
        program.save(tmp_path / name)
        sessions.append(onnxruntime.InferenceSession(tmp_path / name, providers=['CPUExecutionProvider']))
    image, expressions = sessions
    (embeddings,) = image.run(None, dict(images=images.numpy()))
    given = dict(features_0=embeddings, input_ids=ids.numpy(), image_index=index.numpy())
    (maps,) = expressions.run(None, given)
    np.testing.assert_allclose(maps, expected.sigmoid()[:, 0].numpy(), atol=1e-4)
