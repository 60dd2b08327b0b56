"""Many requests to one model; one that cannot be answered does not stop the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from cmmasksd.apis.inferencer import ReferringInferencer
from cmmasksd.apis.pictures import Picture
from cmmasksd.apis.prepared import PreparedPicture
from cmmasksd.apis.requests import map_ahead
from cmmasksd.apis.results import ReferringResult

THREADS = 2  # that read pictures while the model works


@dataclass(frozen=True, eq=False)
class Request:
    """What is asked of one picture.

    Attributes:
        row: where it stands among the others.
        image: the picture as its asker names it, which answers repeat.
        picture: the picture.
        sentences: the expressions.
    """

    row: int
    image: str
    picture: Picture
    sentences: Sequence[str]


@dataclass(frozen=True)
class Failure:
    """A request that cannot be answered, and why."""

    row: int
    image: str
    reason: str


Answer = tuple[Request, ReferringResult]
Prepared = tuple[Request, PreparedPicture]


def answer(
    inferencer: ReferringInferencer,
    requests: Iterable[Request | Failure],
    batch_size: int = 1,
    threads: int = THREADS,
    threshold: float | None = None,
) -> Iterator[Answer | Failure]:
    """Segments request after request, holding two batches of pictures at most.

    Args:
        inferencer: with the model.
        requests: read lazily; failures among them are passed on.
        batch_size: pictures that are encoded together.
        threads: that read pictures while the model works.
        threshold: of the masks; None: the model's.

    Yields:
        For each request, in order, itself with its result, or why there is none.
    """
    tried = map_ahead(lambda request: _try_out(inferencer, request), requests, 2 * batch_size, threads)
    while batch := list(islice(tried, batch_size)):
        sound = [each for each in batch if not isinstance(each, Failure)]
        results = iter(inferencer.segment([prepared for _, prepared in sound]))
        for each in batch:
            if isinstance(each, Failure):
                yield each
            else:
                result = replace(next(results), name=each[0].image)
                yield each[0], result if threshold is None else result.at(threshold)


def _try_out(inferencer: ReferringInferencer, request: Request | Failure) -> Prepared | Failure:
    if isinstance(request, Failure):
        return request
    try:
        return request, inferencer.prepare(request.picture, list(request.sentences))
    except (ValueError, TypeError, OSError) as error:
        return Failure(request.row, request.image, str(error))
