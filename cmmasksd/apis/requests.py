"""What is asked: pictures paired with expressions, and read a little ahead of the model."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice, repeat
from numbers import Integral
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image
from torch import Tensor

from cmmasksd.apis.pictures import Picture, list_pictures
from cmmasksd.apis.prepared import PreparedPicture

Expressions = str | Sequence[str]
# what can be iterated over, but is one picture or none
SINGLE = (str, bytes, Path, Image.Image, np.ndarray, Tensor, Mapping)
Given = TypeVar('Given')
Made = TypeVar('Made')


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
    elif isinstance(images, SINGLE) or not isinstance(images, Iterable):
        images = [images]  # type: ignore[list-item]  # whatever is no picture is refused there
    texts = as_texts(expressions)  # type: ignore[arg-type]  # likewise
    return zip(images, repeat(texts)), len(images) if isinstance(images, list) else None


def read_ahead(
    prepare: Callable[[Picture, Expressions], PreparedPicture],
    pairs: Iterable[tuple[Picture, Expressions]],
    batch_size: int,
) -> Iterator[list[PreparedPicture]]:
    """Prepares pairs in a thread, a batch ahead of the one that is given.

    Raises:
        ValueError: a batch size that is no whole number of at least 1.
        TypeError: what is no pair, when its turn comes.
    """
    if not isinstance(batch_size, Integral) or batch_size < 1:
        raise ValueError(f'batch_size must be at least 1 and whole, got {batch_size!r}.')
    return _batches(map_ahead(lambda pair: prepare(*_check_pair(pair)), pairs, ahead=2 * batch_size), batch_size)


def _batches(prepared: Iterator[PreparedPicture], batch_size: int) -> Iterator[list[PreparedPicture]]:
    while batch := list(islice(prepared, batch_size)):
        yield batch


def _check_pair(pair: Any) -> tuple[Picture, Expressions]:
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        raise TypeError(f'Give pairs, (picture, expression or expressions), to stream; got {pair!r:.80}.')
    return pair[0], pair[1]


def map_ahead(
    function: Callable[[Given], Made], items: Iterable[Given], ahead: int, threads: int = 1
) -> Iterator[Made]:
    """``map`` in threads, in order, for the next ``ahead`` items while one is looked at."""
    items, waiting = iter(items), deque[Future[Made]]()
    with ThreadPoolExecutor(threads) as pool:
        try:
            while True:
                waiting.extend(pool.submit(function, item) for item in islice(items, ahead - len(waiting)))
                if not waiting:
                    return
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


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
