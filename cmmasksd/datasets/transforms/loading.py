"""Pictures and masks from disk."""

from __future__ import annotations

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio

from cmmasksd.datasets.refer.segmentation import Segmentation, decode_mask
from cmmasksd.datasets.transforms.orientation import (
    JPEG_START,
    START_OF_SCAN,
    TurnedPictures,
    describe_turn,
    jpeg_segments,
    read_orientation,
)
from cmmasksd.registry import TRANSFORMS

JPEG_END = b'\xff\xd9'

READS_RGB = hasattr(cv2, 'IMREAD_COLOR_RGB')  # OpenCV 4.11 and later
COLOUR = cv2.IMREAD_COLOR_RGB if READS_RGB else cv2.IMREAD_COLOR


def name_record(results: dict) -> str:
    """How errors name a record: the picture's file, and the refs that are asked of it."""
    picture = results.get('img_path') or 'the given picture'
    refs = ', '.join(str(ref['ref_id']) for ref in results.get('refs', ()))
    return f'{picture} (ref {refs})' if refs else picture


def is_cut_jpeg(data: bytes) -> bool:
    """Whether a JPEG lacks its end-of-image marker after the start of the scan.

    OpenCV before 5 fills what is missing of a baseline JPEG with grey and says nothing. The header's segments are
    stepped over, since a thumbnail in them has an end marker of its own; bytes after the end marker are allowed, as
    some cameras append data.
    """
    for marker, start, _ in jpeg_segments(data):
        if marker == START_OF_SCAN:
            return data.rfind(JPEG_END, start) < 0
    return True


@TRANSFORMS.register_module()
class LoadReferringImage(BaseTransform):
    """Reads the picture: ``results['img']`` becomes (height, width, 3) uint8 RGB.

    An ``img`` that is there already is used as it is. Else ``img_path`` is read; grey, RGBA, palette and 16-bit
    pictures become 8-bit RGB. EXIF orientation is ignored where the record states the picture's ``height`` (annotations
    are in stored pixels) and honoured where it does not. Sets ``height`` and ``width`` where absent.

    Args:
        backend_args: storage backend of ``mmengine.fileio``; None means by the path's prefix.
        name_turned: warn of annotated pictures whose orientation is ignored, by name, the first ones of a run.

    Raises:
        FileNotFoundError: no such file.
        OSError: it cannot be opened: a folder, no permission, no connection.
        ValueError: truncated or no picture, or its size is not the annotated one. A JPEG damaged inside its scan that
            still ends as it should is no error: the decoder reads on, with wrong colours from there.
        TypeError: a given ``img`` is not uint8 of shape (height, width, 3).
    """

    def __init__(self, backend_args: dict | None = None, name_turned: bool = True) -> None:
        self.backend_args = backend_args
        self._turned = TurnedPictures() if name_turned else None

    def transform(self, results: dict) -> dict:
        """Adds ``img``."""
        if 'img' in results:
            image, orientation = self._check_given(results), 1
        else:
            data = self._fetch(results)
            orientation = read_orientation(data) if 'height' in results else 1
            image = self._decode(data, results)
        height, width = image.shape[:2]
        stated = results.setdefault('height', height), results.setdefault('width', width)
        if stated != (height, width):
            turn = describe_turn(orientation) if stated == (width, height) else ''
            raise ValueError(
                f'{name_record(results)}: the picture is {height} x {width} pixels but its annotation says '
                f'{stated[0]} x {stated[1]} (height x width); '
                f'{turn or "put the picture that was annotated in its place"}.'
            )
        if orientation != 1 and self._turned is not None:
            self._turned.note(results['img_path'], orientation, height, width)
        results['img'] = image
        return results

    @staticmethod
    def _check_given(results: dict) -> np.ndarray:
        image = results['img']
        if (
            not isinstance(image, np.ndarray)
            or image.dtype != np.uint8
            or image.ndim != 3
            or image.shape[2] != 3
            or not image.size
        ):
            found = f'{image.dtype} of shape {image.shape}' if isinstance(image, np.ndarray) else type(image).__name__
            raise TypeError(
                f'{name_record(results)}: a picture must be a uint8 RGB array of shape (height, width, 3), got {found}.'
            )
        return image

    def _fetch(self, results: dict) -> bytes:
        try:
            return fileio.get(results['img_path'], backend_args=self.backend_args)
        except FileNotFoundError as error:
            mend = 'data_root and the image folder' if 'refs' in results else 'the path'
            raise FileNotFoundError(f'{name_record(results)}: there is no such picture; check {mend}.') from error
        except OSError as error:
            raise OSError(
                f'{name_record(results)}: the picture cannot be opened ({error}); give the path of a file that can be '
                'read.'
            ) from error

    @staticmethod
    def _decode(data: bytes, results: dict) -> np.ndarray:
        """(height, width, 3) uint8 RGB; stored pixels where the record is annotated, upright ones where it is not."""
        flags = COLOUR | (cv2.IMREAD_IGNORE_ORIENTATION if 'height' in results else 0)
        image = None
        if data and not (data.startswith(JPEG_START) and is_cut_jpeg(data)):
            try:
                image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
            except cv2.error:  # what some decoders do instead of giving None, e.g. for sizes beyond OpenCV's bounds
                image = None
        if image is None:
            raise ValueError(
                f'{name_record(results)}: the file is truncated or no picture of 8 or 16 bits ({len(data)} bytes); '
                'fetch it again.'
            )
        return image if READS_RGB else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


@TRANSFORMS.register_module()
class LoadReferringMasks(BaseTransform):
    """Decodes the mask of every ref once: ``results['masks']`` becomes (R, height, width) bool; ``mask_index`` (K,)
    says which belongs to a sentence. Where the item has ``objects``, theirs become ``results['object_masks']`` (O,
    height, width) bool.

    Raises:
        ReferError: a malformed segmentation, or a mask without any pixel; names the picture and the ref.
        ValueError: the picture is mirrored already.
    """

    def transform(self, results: dict) -> dict:
        """Adds ``masks``."""
        if results.get('flip'):
            raise ValueError(
                f'{name_record(results)}: the picture is mirrored and its masks would not be: put LoadReferringMasks '
                'before the flip in the pipeline.'
            )
        refs = [
            (f'{results["img_path"]}: ref {ref["ref_id"]} (annotation {ref["ann_id"]})', ref['segmentation'])
            for ref in results['refs']
        ]
        results['masks'] = self._decode(refs, results)
        if 'objects' in results:
            objects = [(f'{results["img_path"]}: an object', segmentation) for segmentation in results['objects']]
            results['object_masks'] = self._decode(objects, results)
        return results

    @staticmethod
    def _decode(named: list[tuple[str, Segmentation]], results: dict) -> np.ndarray:
        """Masks (R, height, width) bool of segmentations with their names."""
        height, width = results['height'], results['width']
        masks = np.empty((len(named), height, width), dtype=bool)
        for mask, (name, segmentation) in zip(masks, named, strict=True):
            # column by column, as COCO's run lengths go
            decoded = decode_mask(segmentation, height, width, name)
            cv2.transpose(decoded.T.view(np.uint8), mask.view(np.uint8))
        return masks
