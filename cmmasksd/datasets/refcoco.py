"""RefCOCODataset: any data set in REFER's format (RefCOCO, RefCOCO+, RefCOCOg, refclef, RefShapes, one's own) as
mmengine's Runner wants it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import BaseDataset

from cmmasksd.datasets.refer.garbage_collection import paused_collector
from cmmasksd.datasets.refer.objects import read_objects
from cmmasksd.datasets.refer.reader import load_refer
from cmmasksd.datasets.refer.records import Image, Ref
from cmmasksd.datasets.transforms.building import build_pipeline
from cmmasksd.registry import DATASETS

SENTENCE_FIELDS = ('sent', 'raw')


class DrawState:
    """What items draw from. (seed, epoch) is in shared memory: a value set in the main process is seen by workers that
    run already, forked or spawned. ``item``, the whole key of the next item, is of this process alone.

    Worker processes that persist keep their own copy of the data set, so a plain attribute would stay at the epoch of
    their start.
    """

    def __init__(self, seed: int = 0, epoch: int = 0) -> None:
        self._shared = torch.zeros(2, dtype=torch.int64).share_memory_()
        self.item: tuple[int, int, int] | None = None
        self.set(seed, epoch)

    def set(self, seed: int, epoch: int) -> None:
        """Stores a new pair; both must be at least 0, as numpy's generators demand."""
        if seed < 0 or epoch < 0:
            raise ValueError(f'seed and epoch must be at least 0, got seed {seed} and epoch {epoch}.')
        self._shared.copy_(torch.tensor([seed, epoch]))

    def generator(self, index: int) -> np.random.Generator:
        """The generator of one item: a function of (seed, epoch, index) and of nothing else; of ``item`` instead,
        where it is set.
        """
        return np.random.default_rng(self.item or (*self._shared.tolist(), index))

    def __deepcopy__(self, memo: dict) -> DrawState:
        """A copied data set (``get_subset``) gets a pair of its own, in shared memory again: torch's deep copy would
        leave it private.
        """
        return DrawState(*self._shared.tolist())


@DATASETS.register_module()
class RefCOCODataset(BaseDataset):
    """Items of one split of a REFER data set.

    A training item is one ref, or with ``by_image`` one image with all its refs of the split, as an evaluation item
    (``test_mode=True``) is; images are in the order in which the refs name them first. Before the pipeline an item is::

        dict(img_path: str, img_id: int, height: int, width: int,
             refs=[dict(ref_id, ann_id, segmentation, sentences=[str, ...], sent_ids=[int, ...]), ...],
             sample_idx: int, rng: np.random.Generator)

    and with ``all_objects`` also ``objects=[segmentation, ...]``.
    ``rng`` depends on (seed, epoch, index) alone; transforms that draw must draw from it, so that the number of
    workers changes nothing. Nothing is ever replaced by another sample: a record that cannot be loaded raises.

    Args:
        data_root: folder that holds ``<dataset>/instances.json`` and the images.
        dataset: folder name of the annotations, e.g. ``refcoco+``.
        split_by: who made the split, e.g. ``unc``, ``umd``, ``google``: the part of ``refs(<split_by>).p`` in brackets.
        split: ``train``, ``val``, ``testA`` ...
        sentence_field: ``sent`` (cleaned, what CRIS reads) or ``raw`` (as typed, what LAVT reads); it changes published
            numbers.
        pipeline: transforms, or configs of them, of other projects too (:class:`AugmentPicture`).
        test_mode: group by image.
        metainfo: metadata; none of its own, so that mmengine's ``ConcatDataset`` joins any of these sets (what this one
            holds is in the attributes ``dataset``, ``split_by`` and ``split``).
        indices: the first n items (int) or the items of these positions only.
        serialize_data: keep the records as bytes that worker processes share.
        lazy_init: read the annotations at first use.
        by_image: training items are images too. An image is then encoded once for all of its refs, and sentences that
            differ over one picture meet in a batch; ``SelectSentences(max_refs=...)`` bounds their number. A batch
            counts images.
        all_objects: evaluation items also hold every annotated object of their picture, spoken of or not, among which
            ``ReferringIoUMetric(localisation=True)`` looks for the right one.

    Raises:
        ValueError: unknown ``sentence_field``, ``all_objects`` in training, ``indices`` of nothing, or what
            ``load_refer`` refuses.
    """

    def __init__(
        self,
        data_root: str,
        dataset: str = 'refcoco',
        split_by: str = 'unc',
        split: str = 'train',
        sentence_field: str = 'sent',
        pipeline: Sequence[dict | Callable] = (),
        test_mode: bool = False,
        metainfo: Mapping | None = None,
        indices: int | Sequence[int] | None = None,
        serialize_data: bool = True,
        lazy_init: bool = False,
        all_objects: bool = False,
        by_image: bool = False,
    ) -> None:
        if indices is not None and not isinstance(indices, bool) and indices in (0, [], ()):
            raise ValueError(f'indices={indices!r} leaves no item: give a number of items, or their positions.')
        if sentence_field not in SENTENCE_FIELDS:
            raise ValueError(f'sentence_field must be one of {SENTENCE_FIELDS}, got {sentence_field!r}.')
        if all_objects and not test_mode:
            raise ValueError('all_objects serves evaluation only: set test_mode=True, or leave all_objects out.')
        self.all_objects = all_objects
        self.by_image = by_image or test_mode
        self.dataset = dataset
        self.split_by = split_by
        self.split = split
        self.sentence_field = sentence_field
        self._draws = DrawState()
        super().__init__(
            metainfo=metainfo,
            data_root=str(data_root),
            data_prefix={},
            indices=indices,
            serialize_data=serialize_data,
            # built by our own registry, so that bare names work without a default scope too
            pipeline=build_pipeline(pipeline),
            test_mode=test_mode,
            lazy_init=lazy_init,
            max_refetch=0,
        )

    def set_epoch(self, epoch: int, seed: int = 0) -> None:
        """Makes the draws of the coming epoch; call it before the data loader is iterated. Seen by workers that run
        already.
        """
        self._draws.set(seed, epoch)

    def draw_as(self, key: tuple[int, int, int] | None) -> None:
        """Makes the items that are asked for next, in this process, draw by (seed, epoch, index) as given, not by their
        own; None ends that. ``EpochSeedHook`` does so in training, where the index is that of the outermost data set:
        ``RepeatDataset`` then draws anew at each repetition.
        """
        self._draws.item = key

    def load_data_list(self) -> list[dict]:
        """Reads the split; one record per ref, or per image."""
        with paused_collector():
            data = load_refer(self.data_root, self.dataset, self.split_by, self.split)
            groups: dict[int, list[Ref]] = {}
            for ref in data.refs:
                key = ref.image_id if self.by_image else ref.ref_id
                groups.setdefault(key, []).append(ref)
            records = [self._record(data.images[refs[0].image_id], refs) for refs in groups.values()]
            if self.all_objects:
                path = Path(self.data_root).expanduser() / self.dataset / 'instances.json'
                objects = read_objects(path, data.images)
                for record in records:
                    record['objects'] = objects[record['img_id']]
            return records

    def _record(self, image: Image, refs: list[Ref]) -> dict:
        return dict(
            img_path=image.path,
            img_id=image.image_id,
            height=image.height,
            width=image.width,
            refs=[
                dict(
                    ref_id=ref.ref_id,
                    ann_id=ref.ann_id,
                    segmentation=ref.segmentation,
                    sentences=[getattr(sentence, self.sentence_field) for sentence in ref.sentences],
                    sent_ids=[sentence.sent_id for sentence in ref.sentences],
                )
                for ref in refs
            ],
        )

    def prepare_data(self, idx: int) -> Any:
        """The item after the pipeline, with its generator.

        Raises:
            ValueError: the pipeline gave None, which BaseDataset would answer by another sample drawn at random.
        """
        record = self.get_data_info(idx)
        record['rng'] = self._draws.generator(record['sample_idx'])
        item = self.pipeline(record)
        if item is None:
            refs = ', '.join(str(ref['ref_id']) for ref in record['refs'])
            raise ValueError(
                f'{record["img_path"]} (ref {refs}): a transform of the pipeline gave None; no sample may be skipped.'
            )
        return item
