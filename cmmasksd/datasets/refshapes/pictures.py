"""One picture of RefShapes, from its number: its scene, what is said of it, its JPEG and its records."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from cmmasksd.datasets.refer.files import Record
from cmmasksd.datasets.refshapes.painting import paint
from cmmasksd.datasets.refshapes.records import describe_picture
from cmmasksd.datasets.refshapes.scenes import Scene, draw_scene
from cmmasksd.datasets.refshapes.speaking import speak
from cmmasksd.datasets.refshapes.viewing import View, look

SPLITS = ('train', 'val', 'testA', 'testB', *('train',) * 16)  # of pictures 0 to 19, of 20 to 39, ...

_JPEG_QUALITY = 92
_SCENE_TRIES = 200


def make_picture(index: int, parameters: Record, folder: Path) -> Record:
    """Draws picture ``index``, writes its JPEG and returns its records. All draws depend on (seed, index) alone."""
    rng = np.random.default_rng([parameters['seed'], index])
    height, width = parameters['image_sizes'][rng.integers(len(parameters['image_sizes']))]
    split = SPLITS[index % len(SPLITS)]
    scene, view, spoken = draw_content(
        lambda: draw_scene(rng, height, width), lambda view: _speak_of_several(view, split, rng)
    )
    path = folder / picture_name(index, parameters)
    write_jpeg(path, paint(scene, view, rng), _JPEG_QUALITY)
    return describe_picture(path.name, split, scene, view, spoken, rng)


def draw_content(
    draw: Callable[[], Scene | None], speak_of: Callable[[View], dict[int, list[Record]]]
) -> tuple[Scene, View, dict[int, list[Record]]]:
    """Draws scenes until there is one of whose view at least two things are spoken of.

    Args:
        draw: gives a scene, or None where it came to nothing.
        speak_of: gives the sentences of each thing spoken of, see :func:`describe_picture`.
    """
    for _ in range(_SCENE_TRIES):
        scene = draw()
        view = look(scene) if scene is not None else None
        if scene is None or view is None:
            continue
        spoken = speak_of(view)
        if len(spoken) >= 2:
            return scene, view, spoken
    raise RuntimeError(f'RefShapes: no picture with two refs in {_SCENE_TRIES} tries.')


def write_jpeg(path: Path, picture: np.ndarray, quality: int) -> None:
    """Writes a picture (height, width, 3) uint8 RGB; raises OSError where it cannot."""
    if not cv2.imwrite(str(path), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality]):
        raise OSError(f'RefShapes: could not write {path}; is the disk full?')


def _speak_of_several(view: View, split: str, rng: np.random.Generator) -> dict[int, list[Record]]:
    """Sentences about two to four of the things in clear view, by the thing's number: about fewer where there is no
    more to say.
    """
    wanted = rng.integers(2, 5)
    spoken: dict[int, list[Record]] = {}
    for number in rng.permutation(len(view.things)).tolist():
        sentences = speak(number, view, split, rng) if view.things[number].clear else []
        if sentences:
            spoken[number] = [{'sent': sentence} for sentence in sentences]
        if len(spoken) == wanted:
            break
    return spoken


def picture_name(index: int, parameters: Record) -> str:
    """Names carry a digest of all that pictures depend on, so that two sets in one image folder never take each
    other's pictures.
    """
    content = json.dumps({name: value for name, value in parameters.items() if name != 'num_images'}, sort_keys=True)
    return f'refshapes_{hashlib.sha256(content.encode()).hexdigest()[:8]}_{index:09d}.jpg'
