"""All annotated objects of pictures, spoken of or not."""

from __future__ import annotations

import sys
from collections.abc import Container
from pathlib import Path

from cmmasksd.datasets.refer.errors import ReferError
from cmmasksd.datasets.refer.instances import Instances
from cmmasksd.datasets.refer.segmentation import Segmentation

_ANY = range(sys.maxsize)  # any id of COCO


def read_objects(path: Path, image_ids: Container[int]) -> dict[int, list[Segmentation]]:
    """The segmentations of all objects of some pictures, by the picture's id; COCO's crowds are left out.

    Args:
        path: a set's ``instances.json``.
        image_ids: the pictures that are wanted.

    Raises:
        ReferError: no such file, or an annotation that cannot be used.
    """
    if not path.is_file():
        raise ReferError(f'{path} not found, and the other objects of a picture stand nowhere else; put it there')
    return Instances(path, image_ids, _ANY).objects()
