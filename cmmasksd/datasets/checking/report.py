"""What the checks find, kept by kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cmmasksd.datasets.refer.errors import ErrorHandler
from cmmasksd.datasets.refer.published import PUBLISHED_COUNTS

LEVELS = ('error', 'warning', 'info')
# findings of one kind that are kept in full; a hostile file can have millions, which are only counted
MAX_KEPT = 100_000


@dataclass(frozen=True)
class Kind:
    """What is wrong. An error stops training or spoils it, a warning may be meant, an info is worth knowing.

    Attributes:
        name: how JSON calls it.
        level: one of ``LEVELS``.
        title: how people call it, in the plural.
    """

    name: str
    level: str
    title: str


@dataclass(frozen=True)
class Finding:
    """One problem: the file and record, what is the matter and how to mend it, and the ids of what it concerns."""

    place: str
    message: str
    ids: dict[str, int]

    @property
    def text(self) -> str:
        """Place and message in one line; errors of a whole file name it themselves."""
        return self.message if self.message.startswith(self.place) else f'{self.place}: {self.message}'


@dataclass
class Group:
    """The findings of one kind: how many there are, and the first ``MAX_KEPT``."""

    kind: Kind
    count: int = 0
    findings: list[Finding] = field(default_factory=list)


class Report:
    """All findings of one set.

    Attributes:
        counts: (refs, images, sentences) of each split.
        images_decoded: how many pictures were looked at.
    """

    def __init__(self, root: str, dataset: str, split_by: str) -> None:
        self.root, self.dataset, self.split_by = root, dataset, split_by
        self.counts: dict[str, tuple[int, int, int]] = {}
        self.images_decoded = 0
        self._groups: dict[Kind, Group] = {}

    def add(self, kind: Kind, place: str, message: str, **ids: int) -> None:
        """Adds one finding; ``ids`` are ``ref_id``, ``ann_id``, ``image_id``, ``sent_id`` where they are known."""
        group = self._groups.setdefault(kind, Group(kind))
        group.count += 1
        if len(group.findings) < MAX_KEPT:
            group.findings.append(Finding(place, message, ids))

    def handler(self, kind: Kind, **ids: int) -> ErrorHandler:
        """What the reader's checks may hand their errors to."""
        return lambda place, error: self.add(kind, place, str(error), **ids)

    @property
    def groups(self) -> list[Group]:
        """Errors first, then warnings, then infos; each in the order of their first appearance."""
        return sorted(self._groups.values(), key=lambda group: LEVELS.index(group.kind.level))

    def number(self, level: str) -> int:
        """How many findings there are of one level."""
        return sum(group.count for group in self._groups.values() if group.kind.level == level)

    @property
    def published(self) -> dict[str, tuple[int, int, int | None]]:
        """The published (refs, images, sentences) of each split; empty for a set that nobody published."""
        return PUBLISHED_COUNTS.get((self.dataset, self.split_by), {})

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            'root': self.root,
            'dataset': self.dataset,
            'split_by': self.split_by,
            'summary': {level: self.number(level) for level in LEVELS},
            'splits': {split: self._split_to_dict(split) for split in {**self.counts, **self.published}},
            'images_decoded': self.images_decoded,
            'groups': [_group_to_dict(group) for group in self.groups],
        }

    def _split_to_dict(self, split: str) -> dict[str, Any]:
        names = ('refs', 'images', 'sentences')
        published = dict(zip(names, self.published[split], strict=True)) if split in self.published else None
        return {**dict(zip(names, self.counts.get(split, (0, 0, 0)), strict=True)), 'published': published}


def _group_to_dict(group: Group) -> dict[str, Any]:
    kind = group.kind
    findings = [{'place': finding.place, 'message': finding.message, **finding.ids} for finding in group.findings]
    return {'level': kind.level, 'kind': kind.name, 'title': kind.title, 'count': group.count, 'findings': findings}
