"""Writes an exported model: two ONNX graphs, the tokenizer, a manifest and the runtime, in one folder."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import onnx
import onnxruntime
import torch

from cmmasksd import __version__
from cmmasksd.apis import ReferringInferencer
from cmmasksd.datasets.transforms import LetterboxResize, TokenizeExpressions
from cmmasksd.datasets.transforms.geometry import BORDER
from cmmasksd.deployment import runtime
from cmmasksd.deployment.graphs import trace
from cmmasksd.deployment.tokenizing import convert_tokenizer

Precision = Literal['float32', 'float16', 'int8']
GRAPHS = ('image.onnx', 'expressions.onnx')
OPSETS = (18, 22)  # 23 has an Attention that ONNX Runtime 1.23 to 1.32 refused for our masks
TOLERANCE = 1e-3  # of probabilities, of a float32 export against torch
OF_THE_RUNTIME = ('LoadReferringImage', 'LetterboxResize', 'TokenizeExpressions', 'PackReferringInputs')


def export_onnx(
    inferencer: ReferringInferencer, folder: str | Path, precision: Precision = 'float32', opset: int = 18
) -> Path:
    """Exports a model. The folder appears when all is written and, in float32, its masks agree with torch's.

    Args:
        inferencer: the model, on the CPU.
        folder: to be made.
        precision: of the graphs' weights: ``float16`` computes in it too, ``int8`` quantises matrix products
            dynamically.
        opset: ONNX's, 18 to 22.

    Returns:
        The folder.

    Raises:
        FileExistsError: the folder is there.
        ValueError: a pipeline or tokenizer that the runtime has not, or an unknown precision or opset.
        RuntimeError: the exported graphs give other probabilities than torch.
    """
    folder = Path(folder)
    if folder.exists():
        raise FileExistsError(f'{folder} is there already: name a new folder, or delete it.')
    if precision not in get_args(Precision):
        raise ValueError(f'precision is one of {", ".join(get_args(Precision))}, got {precision!r}.')
    if not OPSETS[0] <= opset <= OPSETS[1]:
        raise ValueError(f'opset must be from {OPSETS[0]} to {OPSETS[1]}, got {opset}.')
    letterbox, tokens = _steps(inferencer)
    tokenizer = convert_tokenizer(tokens)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f'.{folder.name}-', dir=folder.parent) as name:
        draft = Path(name) / folder.name
        draft.mkdir()
        _write_graphs(inferencer, draft, letterbox.size, opset)
        tokenizer.save(str(draft / 'tokenizer.json'))
        shutil.copy(runtime.__file__, draft / 'runtime.py')
        _write_manifest(inferencer, draft, letterbox.size, 'float32', opset)
        _compare(inferencer, draft)
        if precision != 'float32':
            _convert(draft, precision)
            _write_manifest(inferencer, draft, letterbox.size, precision, opset)
        draft.rename(folder)
    return folder


def _steps(inferencer: ReferringInferencer) -> tuple[LetterboxResize, TokenizeExpressions]:
    """The steps of the pipeline that the runtime has to do.

    Raises:
        ValueError: it has others, which the runtime does not know.
    """
    steps = {type(step).__name__: step for step in inferencer.pipeline.transforms}
    if others := sorted(steps.keys() - set(OF_THE_RUNTIME)):
        raise ValueError(f'The runtime cannot do {others[0]} of the test pipeline: take it out of the config.')
    letterbox, tokens = steps['LetterboxResize'], steps['TokenizeExpressions']
    if getattr(letterbox, 'scale', 1) != 1:
        raise ValueError('The runtime fills the whole input: leave LetterboxResize.scale at 1.')
    if not letterbox.keep_ratio or letterbox.resampling != 'opencv':
        raise ValueError(
            'The runtime keeps the aspect ratio and resizes by OpenCV: leave LetterboxResize.keep_ratio and resampling '
            'as they are by default.'
        )
    return letterbox, tokens


def _write_graphs(inferencer: ReferringInferencer, folder: Path, size: tuple[int, int], opset: int) -> None:
    images = torch.zeros(2, 3, *size, dtype=torch.uint8)
    black = np.zeros((*size, 3), np.uint8)
    asked = inferencer.prepare(black, ['left zebra', 'the tree', 'a man'])
    programs = trace(inferencer.model, images, asked.data_sample.expressions.input_ids, opset)
    for name, program in zip(GRAPHS, programs):
        program.save(folder / name)


def _write_manifest(
    inferencer: ReferringInferencer, folder: Path, size: tuple[int, int], precision: str, opset: int
) -> None:
    model = inferencer.model
    mean, std = (getattr(model.data_preprocessor, name).flatten().tolist() for name in ('mean', 'std'))
    files = sorted(path.name for path in folder.iterdir() if path.name != 'manifest.json')
    manifest = dict(
        made_by=f'cmmasksd {__version__}',
        size=list(size),
        border=list(BORDER),
        mean_and_std_in_the_graph=[mean, std],
        threshold=model.threshold,
        align_corners=model.mask_alignment == 'cris',
        precision=precision,
        opset=opset,
        sha256={name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files},
    )
    (folder / 'manifest.json').write_text(json.dumps(manifest, indent=2) + '\n')


def _compare(inferencer: ReferringInferencer, folder: Path) -> None:
    """Asks both about a picture of noise."""
    rng, (height, width) = np.random.default_rng(0), (97, 128)
    picture = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    prepared = inferencer.prepare(picture, ['left zebra', 'the tree'])
    (expected,) = inferencer.segment([prepared])
    exported = runtime.Segmentor(folder)
    features = exported.image.run(None, dict(images=prepared.inputs[None].numpy()))
    _, found = exported.ask((features, (height, width)), prepared.expressions)
    difference = float(np.abs(found - expected.probabilities).max())
    if not difference <= TOLERANCE:
        raise RuntimeError(
            f'The exported graphs give probabilities that differ from those of torch by {difference:.3g}: this model '
            'cannot be exported as it is.'
        )


def _convert(folder: Path, precision: Precision) -> None:
    for name in GRAPHS:
        path = folder / name
        if precision == 'int8':
            from onnxruntime.quantization import QuantType, quantize_dynamic

            quantize_dynamic(path, path, op_types_to_quantize=['MatMul', 'Gemm'], weight_type=QuantType.QInt8)
        else:
            from onnxruntime.transformers.float16 import convert_float_to_float16

            onnx.save(convert_float_to_float16(onnx.load(path), keep_io_types=True), path)
        onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])  # raises where it is no graph
