"""What people take away: PNG, COCO RLE, JSON, and all of it as one zip."""

from __future__ import annotations

import io
import shutil
import tempfile
import zipfile
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cmmasksd.apis import ReferringResult
from cmmasksd.strict_json import to_json
from cmmasksd.web.answers import resized, shrink

KEPT = 32  # Gradio takes a copy of each file at once


class Outbox:
    """Files that were made for somebody: the newest ones, each in a folder of its own.

    Args:
        home: the folder that holds them.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._folders: deque[Path] = deque()

    def make_folder(self) -> Path:
        """A new, empty folder; it goes when many others were made since."""
        self._folders.append(Path(tempfile.mkdtemp(dir=self._home)))
        while len(self._folders) > KEPT:
            shutil.rmtree(self._folders.popleft())
        return self._folders[-1]


def write_mask(result: ReferringResult, sentence: str, folder: Path) -> Path:
    """The mask of one sentence, of 0 and 255."""
    index = result.expressions.index(sentence)
    path = folder / f'{stem_of(result)}_{index + 1}.png'
    path.write_bytes(_to_png(list(singles(result))[index].masks[0]))
    return path


def write_coco_rle(result: ReferringResult, folder: Path) -> Path:
    """The masks as a list of COCO's compressed run lengths."""
    path = folder / f'{stem_of(result)}_coco_rle.json'
    path.write_text(_to_text([single.to_coco_rle()[0] for single in singles(result)]))
    return path


def write_report(result: ReferringResult, folder: Path) -> Path:
    """All that JSON can hold of a result; see ReferringResult.to_dict."""
    path = folder / f'{stem_of(result)}.json'
    path.write_text(_to_text(_join([single.to_dict() for single in singles(result)])))
    return path


def write_zip(result: ReferringResult, folder: Path) -> Path:
    """All of a result as one file."""
    path = folder / f'{stem_of(result)}.zip'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        add_all(archive, result, stem_of(result))
    return path


def add_all(archive: zipfile.ZipFile, result: ReferringResult, stem: str) -> None:
    """Puts STEM.json, STEM_coco_rle.json, STEM_panel.png and a mask a sentence, STEM_1.png ..., into an archive."""
    reports = []
    for number, single in enumerate(singles(result), start=1):
        archive.writestr(f'{stem}_{number}.png', _to_png(single.masks[0]), zipfile.ZIP_STORED)
        reports.append(single.to_dict())
    report = _join(reports)
    archive.writestr(f'{stem}_panel.png', _to_png(resized(result, shrink(result.image)).draw()), zipfile.ZIP_STORED)
    archive.writestr(f'{stem}_coco_rle.json', _to_text([each['segmentation'] for each in report['objects']]))
    archive.writestr(f'{stem}.json', _to_text(report))


def singles(result: ReferringResult) -> Iterator[ReferringResult]:
    """The answers one by one: masks of a large picture are then not all held at once."""
    for index, expression in enumerate(result.expressions):
        yield replace(result, expressions=[expression], maps=result.maps[index : index + 1])


def stem_of(result: ReferringResult) -> str:
    """What the files of a result begin with."""
    return Path(result.name).stem or 'result'


def _join(reports: list[dict[str, Any]]) -> dict[str, Any]:
    """The reports of single sentences as one."""
    return dict(reports[0], objects=[each for report in reports for each in report['objects']])


def _to_text(content: Any) -> str:
    return to_json(content, indent=2) + '\n'


def _to_png(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, 'PNG')
    return buffer.getvalue()
