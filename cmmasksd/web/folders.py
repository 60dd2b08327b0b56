"""Many pictures, asked the same."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from cmmasksd.web.answers import Answers
from cmmasksd.web.asking import read_sentences
from cmmasksd.web.files import add_all

MOST_PICTURES = 500
ARCHIVE, PROBLEMS = 'masks.zip', 'problems.txt'


def segment_pictures(
    answers: Answers,
    paths: Sequence[str] | None,
    text: str,
    threshold: float,
    folder: Path,
    report: Callable[[int, int, str], None],
) -> tuple[Path, list[str]]:
    """Asks the same of several pictures and puts all answers into one zip. A picture that cannot be read is left out;
    ``problems.txt`` in the zip then tells why.

    Args:
        answers: the model.
        paths: the pictures' files.
        text: sentences, a line each.
        threshold: of the masks.
        folder: where the zip is written.
        report: called with how many pictures are done, how many there are, and the next one's name.

    Returns:
        The zip, and a line about each picture that was left out.

    Raises:
        ValueError: no picture or too many, no sentence, or none of the files is a picture.
    """
    paths, sentences = _check(paths), read_sentences(text)
    archive_path, problems, stems = folder / ARCHIVE, [], _unique_stems(paths)
    with zipfile.ZipFile(archive_path, 'w', zipfile.ZIP_DEFLATED) as archive:
        for done, (path, stem) in enumerate(zip(paths, stems)):
            name = Path(path).name
            report(done, len(paths), name)
            try:
                add_all(archive, answers.answer_once(path, sentences, name).at(threshold), stem)
            except ValueError as error:
                problems.append(str(error))
        if problems:
            archive.writestr(PROBLEMS, '\n'.join(problems) + '\n')
    if len(problems) == len(paths):
        raise ValueError(f'None of the {len(paths)} files could be used. {problems[0]}')
    return archive_path, problems


def _check(paths: Sequence[str] | None) -> Sequence[str]:
    if not paths:
        raise ValueError('There are no pictures yet: drop some on the left, or choose files.')
    if len(paths) > MOST_PICTURES:
        raise ValueError(
            f'{len(paths)} pictures are too many at once: give at most {MOST_PICTURES} here. '
            '`cmmasksd segment` takes whole folders.'
        )
    return paths


def _unique_stems(paths: Sequence[str]) -> list[str]:
    """What the files of each picture begin with; pictures of one name get a number."""
    stems: list[str] = []
    for stem in (Path(path).stem for path in paths):
        number, unique = 2, stem
        while unique in stems:
            unique, number = f'{stem}-{number}', number + 1
        stems.append(unique)
    return stems
