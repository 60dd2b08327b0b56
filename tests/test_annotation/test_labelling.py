"""Labelling configs, and the sentences of tasks."""

from __future__ import annotations

from typing import Any

import pytest

from cmmasksd.annotation.labelling import (
    SENTENCES_AS_LABELS,
    SHIPPED,
    TYPED_SENTENCES,
    Labelling,
    LabellingError,
    find_sentences,
    read_labelling,
)

FIXED = """<View><Image name="img" value="$photo"/>
<BrushLabels name="tag" toName="img"><Label value="Cat"/><Label value="Dog" alias="dog"/></BrushLabels></View>"""
WITH_TEXT = FIXED.replace('</View>', '<TextArea name="t" toName="img" perRegion="true"/></View>')


def typed(*texts: Any) -> dict[str, Any]:
    """What the editor tells of typed sentences."""
    value = dict(text=list(texts))
    return dict(result=[dict(id='x', from_name='prompt', to_name='image', type='textarea', value=value)])


def test_configs_are_read() -> None:
    assert read_labelling(SENTENCES_AS_LABELS) == Labelling('image', 'image', 'mask', (), 'sentences', None, False)
    assert read_labelling(TYPED_SENTENCES) == Labelling('image', 'image', 'mask', ('object',), None, 'sentence', True)
    assert read_labelling(FIXED) == Labelling('img', 'photo', 'tag', ('Cat', 'dog'), None, None, False)
    assert len(SHIPPED) == 2


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (None, 'must be XML text'),
        ('<View>', 'no XML'),
        ('<View></View>', 'needs <Image'),
        ('<View><BrushLabels name="m" toName="image"/></View>', 'needs <Image'),
        ('<!DOCTYPE a [<!ENTITY b "c">]><View>&b;</View>', 'without a document type'),
    ],
)
def test_configs_without_masks_are_refused(config: Any, message: str) -> None:
    with pytest.raises(LabellingError, match=message):
        read_labelling(config)


@pytest.mark.parametrize(
    ('config', 'data', 'context', 'expected'),
    [
        (SENTENCES_AS_LABELS, {'sentences': [{'value': 'left zebra'}, 'the tree', ' the tree ']}, None, 2),
        (SENTENCES_AS_LABELS, {'sentence': 'left zebra'}, None, ['left zebra']),
        (FIXED, {'sentence': 'left zebra'}, None, ['left zebra']),
        (FIXED, {}, None, ['Cat', 'dog']),
        (TYPED_SENTENCES, {}, None, []),
        (TYPED_SENTENCES, {'sentences': ['left zebra']}, None, ['left zebra']),
        (TYPED_SENTENCES, {'sentences': ['left zebra']}, typed('the tree\nleft zebra', 'the tree'), 2),
        (TYPED_SENTENCES, {}, dict(result=[dict(type='keypointlabels', value={})]), []),
        (TYPED_SENTENCES, {}, dict(result=[dict(type='textarea', value=dict(text='one'))]), ['one']),
    ],
)
def test_sentences_are_found(config: str, data: Any, context: Any, expected: list[str] | int) -> None:
    found = find_sentences(dict(data=data), read_labelling(config), context)
    assert (len(found) if isinstance(expected, int) else found) == expected


def test_sentences_whose_regions_were_taken_over_are_not_asked_again() -> None:
    region = dict(id='r', from_name='sentence', to_name='image', type='textarea', value=dict(text=['left zebra']))
    prompt = typed('left zebra')['result'][0]  # in the draft as well, but no region
    labelling = read_labelling(TYPED_SENTENCES)
    context = typed('left zebra', 'the tree')
    task = dict(data={}, drafts=[dict(result=[prompt, region])])
    assert find_sentences(task, labelling, context) == ['the tree']
    assert len(find_sentences(dict(data={}, drafts=[dict(result=[prompt])]), labelling, context)) == 2


@pytest.mark.parametrize(
    ('config', 'data', 'context', 'message'),
    [
        (SENTENCES_AS_LABELS, {}, None, 'has no sentences: list them in its data as "sentences"'),
        (WITH_TEXT, {}, None, 'has no sentences'),
        (SENTENCES_AS_LABELS, {'sentences': 7}, None, 'must be a sentence or a list'),
        (SENTENCES_AS_LABELS, {'sentences': [{'text': 'a'}]}, None, 'must be a sentence or a list'),
        (TYPED_SENTENCES, {}, typed(7), 'must hold text'),
        (TYPED_SENTENCES, {}, 'left zebra', 'must have a list of results'),
    ],
)
def test_tasks_without_sentences_are_refused(config: str, data: Any, context: Any, message: str) -> None:
    with pytest.raises(LabellingError, match=message):
        find_sentences(dict(data=data), read_labelling(config), context)


def test_labels_of_masks() -> None:
    assert read_labelling(SENTENCES_AS_LABELS).label_of('left zebra') == 'left zebra'
    assert read_labelling(FIXED).label_of('dog') == 'dog'
    assert read_labelling(FIXED).label_of('left zebra') == 'Cat'
