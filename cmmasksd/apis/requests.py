"""What is asked: pictures paired with expressions, and read a little ahead of the model."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice, repeat
from pathlib import Path
from typing import Any

from cmmasksd.apis.pictures import Picture, list_pictures
from cmmasksd.apis.prepared import PreparedPicture

Expressions = str | Sequence[str]


def pair(
    images: Picture | Iterable[Picture], expressions: Expressions | Sequence[Expressions]
) -> tuple[Iterable[tuple[Picture, Expressions]], int | None]:
    """Pictures with what each of them is asked, and how many there are, where that is known. All expressions are
    looked at before the first picture is.
    """
    if isinstance(images, (str, Path)) and images != '' and Path(images).is_dir():
        images = list_pictures(images)
    elif isinstance(images, (list, tuple)):
        if isinstance(expressions, str) or not hasattr(expressions, '__len__') or len(expressions) != len(images):
            raise ValueError(
                f'{len(images)} images need a list of {len(images)} expressions (or lists of expressions).'
            )
        return list(zip(images, [as_texts(each) for each in expressions])), len(images)
    elif not isinstance(images, Iterator):
        images = [images]  # type: ignore[list-item]  # whatever is no picture is refused there
    texts = as_texts(expressions)  # type: ignore[arg-type]  # likewise
    return zip(images, repeat(texts)), len(images) if isinstance(images, list) else None


def read_ahead(
    prepare: Callable[[Picture, Expressions], PreparedPicture],
    pairs: Iterable[tuple[Picture, Expressions]],
    batch_size: int,
) -> Iterator[list[PreparedPicture]]:
    """Prepares pairs in a thread, a batch ahead of the one that is given."""
    pairs, waiting = iter(pairs), deque[Future[PreparedPicture]]()
    with ThreadPoolExecutor(max_workers=1) as reader:
        try:
            while True:
                wanted = 2 * batch_size - len(waiting)
                waiting.extend(reader.submit(prepare, *pair) for pair in islice(pairs, wanted))
                if not waiting:
                    return
                yield [waiting.popleft().result() for _ in range(min(batch_size, len(waiting)))]
        finally:
            reader.shutdown(cancel_futures=True)


def as_texts(expressions: Expressions) -> list[str]:
    """One expression or several as a list."""
    listed = not isinstance(expressions, (str, bytes, Mapping)) and isinstance(expressions, Iterable)
    texts: list[Any] = list(expressions) if listed else [expressions]
    if not texts:
        raise ValueError('Ask for at least one expression.')
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(
                f'An expression must be a string, or a list of strings for several of one image; got {text!r:.80}.'
            )
    return texts
