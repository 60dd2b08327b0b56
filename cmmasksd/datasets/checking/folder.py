"""All checks of one set, one after another."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from cmmasksd.datasets.checking.annotations import FILE, CheckedSet, check_annotations
from cmmasksd.datasets.checking.decoding import hears_damage
from cmmasksd.datasets.checking.images import examine_all
from cmmasksd.datasets.checking.overlap import check_overlap_across, check_overlap_within
from cmmasksd.datasets.checking.report import Kind, Report
from cmmasksd.datasets.checking.sentences import check_sentences
from cmmasksd.datasets.refer.errors import ReferError
from cmmasksd.datasets.refer.published import compare_counts
from cmmasksd.datasets.refer.reader import find_images
from cmmasksd.datasets.refer.records import Image, count_splits
from cmmasksd.datasets.transforms.tokenizers import get_tokenizer

COUNTS = Kind('published-counts', 'warning', 'numbers that differ from the published ones')
DEAF = Kind('damage-unseen', 'warning', 'checks that could not be made')


def check_refer(
    root: str | os.PathLike[str],
    dataset: str,
    split_by: str,
    *,
    images: bool = True,
    across: bool = True,
    sentence_field: str = 'sent',
    token_lengths: Sequence[int] = (17, 22),
    tokenizer: str | None = None,
    jobs: int | None = None,
    show_progress: bool = False,
) -> Report:
    """Checks one set in REFER's format, whose source files are read even where a converted form of them lies beside.

    Args:
        root: folder that holds ``<dataset>/`` and the pictures.
        dataset: folder name of the annotations.
        split_by: the part of ``refs(<split_by>).p`` in brackets.
        images: decode every picture that a ref names; else no picture is looked for.
        across: compare the splits with those of RefCOCO, RefCOCO+ and RefCOCOg where they lie in the same root and this
            set is one of them.
        sentence_field: ``sent`` or ``raw``, whichever is to be trained on.
        token_lengths: L of the models in question.
        tokenizer: their tokenizer, as TokenizeExpressions takes it; None: CLIP's.
        jobs: worker processes that decode; one per core by default, 0 works in this process.
        show_progress: draw a bar on standard error.
    """
    root = Path(root).expanduser()
    report = Report(str(root), dataset, split_by)
    console = Console(stderr=True, quiet=not show_progress)
    with console.status('Checking the annotations'):
        checked = check_annotations(root, dataset, split_by, report)
        if checked is None:
            return report
        _check_counts(checked, report)
        check_sentences(checked, sentence_field, token_lengths, report, get_tokenizer(tokenizer))
        check_overlap_within(checked, report)
        if across:
            check_overlap_across(checked, root, dataset, split_by, report)
    if images:
        _check_images(
            _list_images(checked, root, report), (os.cpu_count() or 1) if jobs is None else jobs, console, report
        )
    return report


def _check_counts(checked: CheckedSet, report: Report) -> None:
    report.counts = count_splits((ref.split, ref.image_id, ref.num_sentences) for ref in checked.refs)
    for difference in compare_counts(report.counts, report.dataset, report.split_by):
        report.add(COUNTS, str(checked.refs_path), difference)


def _list_images(checked: CheckedSet, root: Path, report: Report) -> list[Image]:
    image_ids = [
        image_id for image_id in dict.fromkeys(ref.image_id for ref in checked.refs) if image_id in checked.pictures
    ]
    if not image_ids:
        return []
    try:
        folder = find_images(root, report.dataset, checked.pictures[image_ids[0]][0])
    except ReferError as error:
        report.add(FILE, str(root), str(error))
        return []
    paths = {image_id: str(folder / checked.pictures[image_id][0]) for image_id in image_ids}
    return [Image(image_id, path, *checked.pictures[image_id][1:]) for image_id, path in paths.items()]


def _check_images(images: list[Image], jobs: int, console: Console, report: Report) -> None:
    results = examine_all(images, min(jobs, len(images)))
    for image, problems in track(
        results, 'Decoding pictures', len(images), console=console, transient=True, disable=console.quiet
    ):
        report.images_decoded += 1
        for kind, message in problems:
            report.add(kind, image.path, message, image_id=image.image_id)
    if images and not hears_damage():
        report.add(
            DEAF,
            'OpenCV',
            "the one that is installed keeps libjpeg's warnings to itself: damage in the middle of a JPEG goes unseen",
        )
