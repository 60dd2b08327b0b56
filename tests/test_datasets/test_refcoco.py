"""RefCOCODataset on sets in REFER's own format, written on the fly."""

import json
import pickle

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import DefaultScope
from torch.utils.data import DataLoader

from cmmasksd.datasets.refcoco import RefCOCODataset
from cmmasksd.registry import DATASETS

SENTENCES = 4
IMAGES = {'train': (1, 2, 3), 'val': (4, 5)}
REFS_PER_IMAGE = {1: 2, 2: 1, 3: 3, 4: 2, 5: 3}
SIZE = (40, 60)  # height, width

DRAWING = [dict(type='SelectSentences', mode='random')]
TRAINING = [
    dict(type='LoadReferringImage'),
    dict(type='SelectSentences', mode='random'),
    dict(type='LoadReferringMasks'),
    dict(type='FlipWithSentence', prob=0.5),
    dict(type='LetterboxResize', size=(32, 48)),
    dict(type='TokenizeExpressions', token_length=17),
    dict(type='PackReferringInputs'),
]
EVALUATION = [
    dict(type='LoadReferringImage'),
    dict(type='SelectSentences', mode='all'),
    dict(type='LoadReferringMasks'),
    dict(type='LetterboxResize', size=(32, 48), resize_masks=False),
    dict(type='TokenizeExpressions', token_length=17),
    dict(type='PackReferringInputs'),
]


def write_set(root, name: str = 'toyset', split_by: str = 'unc') -> str:
    """Two splits, refs of every image not in a row, four sentences each."""
    pictures = root / 'images' / 'train2014'
    pictures.mkdir(parents=True, exist_ok=True)
    annotations, refs, height, width = [], [], *SIZE
    for split, image_ids in IMAGES.items():
        pairs = sorted((number, image_id) for image_id in image_ids for number in range(REFS_PER_IMAGE[image_id]))
        for number, image_id in pairs:
            key, x = 10 * image_id + number, 4 + 16 * number
            polygon = [x, 5, x + 12, 5, x + 12, 30, x, 30]
            annotations.append(
                dict(
                    id=key,
                    image_id=image_id,
                    category_id=1,
                    segmentation=[polygon],
                    area=300,
                    bbox=[x, 5, 12, 25],
                    iscrowd=0,
                )
            )
            sentences = [
                dict(sent_id=10 * key + n, sent=f'thing {key} left {n}', raw=f'Thing {key} LEFT {n}', tokens=['thing'])
                for n in range(SENTENCES)
            ]
            sent_ids = [sentence['sent_id'] for sentence in sentences]
            ids = dict(ref_id=key, ann_id=key, image_id=image_id, category_id=1, sent_ids=sent_ids)
            refs.append(dict(ids, split=split, file_name='x_1.jpg', sentences=sentences))
    images = [dict(id=image_id, file_name=f'{image_id}.png', height=height, width=width) for image_id in REFS_PER_IMAGE]
    for image_id in REFS_PER_IMAGE:
        cv2.imwrite(
            str(pictures / f'{image_id}.png'),
            np.random.default_rng(image_id).integers(0, 255, (height, width, 3), dtype=np.uint8),
        )
    folder = root / name
    folder.mkdir()
    categories = [dict(id=1, name='thing', supercategory='thing')]
    (folder / 'instances.json').write_text(
        json.dumps(dict(images=images, annotations=annotations, categories=categories))
    )
    (folder / f'refs({split_by}).p').write_bytes(pickle.dumps(refs, protocol=2))
    return str(root)


@pytest.fixture(scope='module')
def data_root(tmp_path_factory) -> str:
    return write_set(tmp_path_factory.mktemp('refer'))


def make(data_root: str, serialize_data: bool = False, **kwargs) -> RefCOCODataset:
    """Not serialized unless asked to: mmengine then collects garbage, which is slow beside a tiny set."""
    return RefCOCODataset(data_root, dataset='toyset', serialize_data=serialize_data, **kwargs)


def epochs_of_texts(dataset: RefCOCODataset, epochs=(0, 1), **loader_args) -> list[list[str]]:
    """The sentences drawn in each epoch, in the order of the data set."""
    loader = DataLoader(dataset, batch_size=2, collate_fn=pseudo_collate, **loader_args)
    drawn = []
    for epoch in epochs:
        dataset.set_epoch(epoch, seed=7)
        drawn.append([text for batch in loader for texts in batch['texts'] for text in texts])
    return drawn


def test_a_training_item_is_one_ref(data_root):
    dataset = make(data_root)
    assert len(dataset) == 6
    items = [dataset.get_data_info(index) for index in range(len(dataset))]
    assert [item['refs'][0]['ref_id'] for item in items] == [10, 20, 30, 11, 31, 32]
    assert all(len(item['refs']) == 1 for item in items)
    item = items[0]
    assert item['img_path'].endswith('1.png') and item['img_id'] == 1 and (item['height'], item['width']) == SIZE
    assert item['refs'][0]['sentences'] == [f'thing 10 left {n}' for n in range(SENTENCES)]
    assert item['refs'][0]['sent_ids'] == [100, 101, 102, 103]


def test_an_evaluation_item_is_one_image_with_all_its_refs(data_root):
    dataset = make(data_root, split='val', test_mode=True)
    assert len(dataset) == 2
    assert [[ref['ref_id'] for ref in dataset.get_data_info(index)['refs']] for index in range(2)] == [
        [40, 41],
        [50, 51, 52],
    ]


def test_a_training_item_can_be_one_image_with_all_its_refs(data_root):
    dataset = make(data_root, pipeline=TRAINING, by_image=True)
    assert [[ref['ref_id'] for ref in dataset.get_data_info(index)['refs']] for index in range(len(dataset))] == [
        [10, 11],
        [20],
        [30, 31, 32],
    ]
    for index, count in enumerate((2, 1, 3)):
        expressions = dataset[index]['data_samples'].expressions
        assert len(expressions.texts) == len(expressions.input_ids) == count
        assert expressions.masks.shape == (count, 32, 48) and expressions.masks.flatten(1).any(1).all()


def test_raw_sentences(data_root):
    assert make(data_root, sentence_field='raw').get_data_info(0)['refs'][0]['sentences'][0] == 'Thing 10 LEFT 0'
    with pytest.raises(ValueError, match='sentence_field'):
        make(data_root, sentence_field='tokens')


def test_an_unknown_split_lists_those_that_exist(data_root):
    with pytest.raises(ValueError, match='train.*val'):
        make(data_root, split='testC')


@pytest.mark.parametrize('serialize', [True, False])
@pytest.mark.parametrize('lazy', [True, False])
def test_lazy_serialized_and_subset(data_root, serialize, lazy):
    dataset = make(data_root, serialize_data=serialize, lazy_init=lazy, indices=[4, 1], pipeline=DRAWING)
    dataset.full_init()
    assert [dataset[index]['refs'][0]['ref_id'] for index in range(len(dataset))] == [31, 20]
    assert dataset[-1]['sample_idx'] == 1
    assert len(make(data_root, indices=2)) == 2


def test_metainfo(data_root, tmp_path, monkeypatch):
    (tmp_path / 'toyset').mkdir()  # a folder that is called as the data set, where it is run
    monkeypatch.chdir(tmp_path)
    dataset = make(data_root, split='val', lazy_init=True, metainfo=dict(note=1))
    assert dataset.metainfo == dict(note=1)
    assert (dataset.dataset, dataset.split_by, dataset.split) == ('toyset', 'unc', 'val')


def test_draws_are_a_function_of_seed_epoch_and_index(data_root):
    dataset = make(data_root, pipeline=DRAWING)

    def draw(seed, epoch, count=20):
        dataset.set_epoch(epoch, seed)
        return [
            dataset[index]['rng'].random() for _ in range(count // len(dataset) + 1) for index in range(len(dataset))
        ]

    assert draw(0, 0) == draw(0, 0)
    different = [draw(seed, epoch)[0] for seed in range(3) for epoch in range(3)]
    assert len(set(different)) == 9
    assert len(set(draw(0, 0)[: len(dataset)])) == len(dataset)
    expected = np.random.default_rng((5, 2, 3))
    dataset.set_epoch(2, 5)
    assert dataset[3]['texts'][0].endswith(str(expected.integers(SENTENCES)))
    with pytest.raises(ValueError, match='at least 0'):
        dataset.set_epoch(-1)


def test_all_sentences_are_drawn_in_time(data_root):
    dataset = make(data_root, pipeline=DRAWING)
    seen = {text for epoch in epochs_of_texts(dataset, range(40)) for text in epoch}
    assert len(seen) == 6 * SENTENCES


@pytest.mark.parametrize(
    'loader_args',
    [
        dict(num_workers=1),
        dict(num_workers=2),
        dict(num_workers=1, persistent_workers=True),
        dict(num_workers=2, persistent_workers=True),
        dict(num_workers=1, persistent_workers=True, multiprocessing_context='spawn'),
    ],
    ids=['1', '2', '1 persistent', '2 persistent', '1 spawned persistent'],
)
def test_workers_change_no_draw(data_root, loader_args):
    alone = epochs_of_texts(make(data_root, pipeline=DRAWING))
    assert len(alone[0]) == 6 and alone[0] != alone[1]
    assert epochs_of_texts(make(data_root, serialize_data=True, pipeline=DRAWING), **loader_args) == alone


def test_a_copied_subset_still_reaches_running_workers(data_root):
    subset = make(data_root, pipeline=DRAWING).get_subset([0, 1, 2])
    alone = epochs_of_texts(subset, range(4))
    assert epochs_of_texts(subset, range(4), num_workers=1, persistent_workers=True) == alone
    assert len({tuple(epoch) for epoch in alone}) > 1


def test_the_whole_training_pipeline_with_and_without_workers(data_root):
    dataset = make(data_root, pipeline=TRAINING)

    def run(**loader_args):
        loader = DataLoader(dataset, batch_size=2, collate_fn=pseudo_collate, **loader_args)
        for epoch in range(2):
            dataset.set_epoch(epoch, seed=1)
            yield from loader

    compared = 0
    for one, other in zip(run(), run(num_workers=2, persistent_workers=True), strict=True):
        for first, second in zip(one['inputs'], other['inputs'], strict=True):
            assert first.shape == (3, 32, 48) and first.dtype == torch.uint8
            assert torch.equal(first, second)
        for first, second in zip(one['data_samples'], other['data_samples'], strict=True):
            assert first.expressions.texts == second.expressions.texts
            assert torch.equal(first.expressions.masks, second.expressions.masks)
            assert torch.equal(first.expressions.input_ids, second.expressions.input_ids)
            assert first.expressions.masks.shape == (1, 32, 48) and first.expressions.masks.dtype == torch.float32
            compared += 1
    assert compared == 12


FOREIGN = [
    dict(type='mmcv.RandomFlip', prob=0.5),
    dict(type='AugmentPicture', transforms=[dict(type='mmcv.RandomGrayscale', prob=0.5)]),
    dict(type='mmcv.RandomResize', scale=(60, 40), ratio_range=(0.5, 1.5), keep_ratio=True),
]


@pytest.mark.parametrize('loader_args', [dict(num_workers=2), dict(num_workers=1, multiprocessing_context='spawn')])
def test_other_projects_transforms_draw_alike_with_and_without_workers(data_root, loader_args):
    """Wherever the global generators stand, and anew in each epoch."""
    dataset = make(data_root, pipeline=[*TRAINING[:3], *FOREIGN, *TRAINING[4:]])
    seen = []
    for epoch, options in ((0, {}), (0, loader_args), (1, {})):
        torch.manual_seed(len(seen))  # which worker processes are seeded by
        dataset.set_epoch(epoch, seed=5)
        loader = DataLoader(dataset, batch_size=2, collate_fn=pseudo_collate, **options)
        seen.append([pair for batch in loader for pair in zip(batch['inputs'], batch['data_samples'])])
    same = [torch.equal(one, other) for (one, _), (other, _) in zip(seen[0], seen[1])]
    assert all(same) and len(same) == len(dataset)
    for (_, one), (_, other) in zip(seen[0], seen[1]):
        assert one.expressions.texts == other.expressions.texts and one.get('flip') == other.get('flip')
        assert torch.equal(one.expressions.masks, other.expressions.masks)
    assert not all(torch.equal(one, other) for (one, _), (other, _) in zip(seen[0], seen[2]))


def test_the_whole_evaluation_pipeline(data_root):
    sample = make(data_root, split='val', test_mode=True, pipeline=EVALUATION)[1]['data_samples']
    expressions = sample.expressions
    assert expressions.masks.shape == (3 * SENTENCES, *SIZE) and expressions.masks.dtype == torch.bool
    assert expressions.ref_ids.tolist() == [50] * 4 + [51] * 4 + [52] * 4
    assert expressions.sent_ids.tolist() == [10 * ref + n for ref in (50, 51, 52) for n in range(4)]
    for index, ref in enumerate(expressions.ref_ids.tolist()):
        columns = torch.nonzero(expressions.masks[index].any(0)).flatten()
        assert abs(columns[0].item() - (4 + 16 * (ref - 50))) <= 1
    assert sample.ori_shape == SIZE and sample.img_shape == (32, 48) and sample.img_id == 5


@pytest.mark.parametrize('test_mode', [False, True])
@pytest.mark.parametrize('damage', ['missing', 'truncated', 'no picture', 'another size'])
def test_a_broken_picture_is_never_skipped(tmp_path, damage, test_mode):
    root = write_set(tmp_path)
    picture = tmp_path / 'images/train2014/2.png'
    content = picture.read_bytes()
    if damage == 'missing':
        picture.unlink()
    elif damage == 'another size':
        cv2.imwrite(str(picture), np.zeros((41, 60, 3), np.uint8))
    else:
        picture.write_bytes(content[: len(content) // 2] if damage == 'truncated' else b'not found')
    dataset = make(root, pipeline=TRAINING, test_mode=test_mode)
    dataset[0]
    with pytest.raises((ValueError, FileNotFoundError), match=r'2\.png \(ref 20\)'):
        dataset[1]


@pytest.mark.parametrize('test_mode', [False, True])
def test_a_transform_that_gives_none_is_an_error(data_root, test_mode):
    dataset = make(data_root, pipeline=[lambda results: None], test_mode=test_mode)
    with pytest.raises(ValueError, match=r'1\.png \(ref 10.*None'):
        dataset[0]


def test_two_sets_concatenate(tmp_path):
    root = write_set(tmp_path)
    write_set(tmp_path, 'otherset', 'umd')
    sets = [
        dict(
            type='cmmasksd.RefCOCODataset',
            data_root=root,
            dataset=name,
            split_by=split_by,
            serialize_data=False,
            pipeline=DRAWING,
        )
        for name, split_by in (('toyset', 'unc'), ('otherset', 'umd'))
    ]
    joined = DATASETS.build(dict(type='ConcatDataset', datasets=sets))
    assert len(joined) == 12
    assert joined[0]['refs'][0]['ref_id'] == joined[6]['refs'][0]['ref_id'] == 10


@pytest.mark.parametrize('scope', [None, 'cmmasksd', 'mmengine', 'a third'])
def test_it_is_built_from_every_scope(data_root, scope):
    # a bare name inside the pipeline is looked up in the default scope where one is set, as everywhere in mmengine
    inner = DRAWING if scope in (None, 'cmmasksd') else [dict(DRAWING[0], type='cmmasksd.SelectSentences')]
    config = dict(
        type='cmmasksd.RefCOCODataset', data_root=data_root, dataset='toyset', serialize_data=False, pipeline=inner
    )
    with DefaultScope.overwrite_default_scope(scope):
        for registry in (MMENGINE_DATASETS, DATASETS):
            assert len(registry.build(dict(config))[0]['texts']) == 1


@pytest.mark.parametrize('indices', [0, []])
def test_indices_of_nothing_are_refused(indices, tmp_path) -> None:
    with pytest.raises(ValueError, match='leaves no item: give a number of items, or their positions'):
        RefCOCODataset(str(tmp_path), indices=indices)
