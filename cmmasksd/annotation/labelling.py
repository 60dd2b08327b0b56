"""A project's labelling config, Label Studio's XML: where its picture is, where masks go, and where sentences stand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

SENTENCE_FIELDS = ('sentences', 'sentence')  # of a task's data
LABELS_FIELD = 'sentences'

SENTENCES_AS_LABELS = f"""<View>
  <Header value="Paint what each sentence means."/>
  <BrushLabels name="mask" toName="image" value="${LABELS_FIELD}" showInline="false"/>
  <Image name="image" value="$image" zoom="true" zoomControl="true"/>
</View>
"""

TYPED_SENTENCES = """<View>
  <Style>.lsf-main-content.lsf-requesting .prompt::before { content: ' looking ...'; color: #808080; }</Style>
  <View className="prompt">
    <Header value="Write what is meant, such as: left zebra, and press Enter."/>
    <TextArea name="prompt" toName="image" editable="true" rows="1" showSubmitButton="false"/>
  </View>
  <Image name="image" value="$image" zoom="true" zoomControl="true"/>
  <BrushLabels name="mask" toName="image">
    <Label value="object"/>
  </BrushLabels>
  <TextArea name="sentence" toName="image" perRegion="true" editable="true" displayMode="region-list"/>
</View>
"""
SHIPPED = {'labels': SENTENCES_AS_LABELS, 'typed': TYPED_SENTENCES}


class LabellingError(ValueError):
    """A labelling config, task or annotation that cannot be used; the message says what is wanted."""


@dataclass(frozen=True)
class Labelling:
    """What a config says.

    Attributes:
        image: name of the Image tag.
        image_field: of a task's data, that holds the picture's address.
        mask: name of the BrushLabels tag.
        labels: its fixed labels, as results name them.
        labels_field: of a task's data, that lists labels of its own; None: there are none.
        sentence: name of the text area that belongs to each region; None: there is none.
        has_prompt: whether there is a text area of the whole task, to type sentences into.
    """

    image: str
    image_field: str
    mask: str
    labels: tuple[str, ...]
    labels_field: str | None
    sentence: str | None
    has_prompt: bool

    def label_of(self, sentence: str) -> str:
        """The label of a mask: the sentence itself where labels are the task's own or it is one of them."""
        return sentence if self.labels_field or sentence in self.labels or not self.labels else self.labels[0]


def read_labelling(xml: Any) -> Labelling:
    """Reads a config.

    Raises:
        LabellingError: no XML, or none with a BrushLabels tag that belongs to an Image tag.
    """
    if not isinstance(xml, str) or '<!' in xml.replace('<!--', ''):
        raise LabellingError('The labelling config must be XML text without a document type.')
    try:
        root = ElementTree.fromstring(xml)
    except (ElementTree.ParseError, ValueError) as error:
        raise LabellingError(f'The labelling config is no XML ({error}).') from None
    images = {tag.get('name', ''): tag for tag in root.iter('Image')}
    brush = next((tag for tag in root.iter('BrushLabels') if tag.get('toName') in images), None)
    if brush is None:
        raise LabellingError(
            'The labelling config needs <Image name="image" value="$image"/> and <BrushLabels name="mask" '
            'toName="image">; `cmmasksd label-studio --labelling labels` prints one.'
        )
    image = brush.get('toName', '')
    areas = [tag for tag in root.iter('TextArea') if tag.get('toName') == image]
    return Labelling(
        image,
        _field(images[image]) or 'image',
        brush.get('name', ''),
        tuple(tag.get('alias') or tag.get('value', '') for tag in brush.iter('Label')),
        _field(brush),
        next((tag.get('name') for tag in areas if tag.get('perRegion') == 'true'), None),
        any(tag.get('perRegion') != 'true' for tag in areas),
    )


def _field(tag: ElementTree.Element) -> str | None:
    value = tag.get('value') or ''
    return value[1:] if value.startswith('$') else None


def find_sentences(task: Mapping[str, Any], labelling: Labelling, context: Any = None) -> list[str]:
    """What is asked of a task's picture.

    Typed sentences count where there are any, but for those whose regions were taken over. Else those are asked that
    the task lists as its labels or in its field ``sentences`` or ``sentence``, or else the config's fixed labels,
    unless a text area says what regions mean.

    Args:
        task: with its ``data``.
        labelling: the project's.
        context: what the annotator has just done, in Label Studio's auto-annotation; None: nothing.

    Returns:
        Sentences, without doubles; none where none is typed yet.

    Raises:
        LabellingError: the task has none, or something else in their place.
    """
    if context is not None:
        answered = _drawn(task, labelling)
        return [sentence for sentence in _clean(_typed(context)) if sentence not in answered]
    data = task.get('data')
    given = data if isinstance(data, Mapping) else {}
    for field in filter(None, (labelling.labels_field, *SENTENCE_FIELDS)):
        if field in given:
            return _clean(_listed(given[field], field))
    if labelling.labels and not labelling.sentence:
        return _clean(list(labelling.labels))
    if labelling.has_prompt:
        return []
    raise LabellingError(
        f'The task has no sentences: list them in its data as "{labelling.labels_field or SENTENCE_FIELDS[0]}".'
    )


def _typed(context: Any) -> list[str]:
    """The texts of all text areas in what an annotator did."""
    results = context.get('result') if isinstance(context, Mapping) else None
    if not isinstance(results, list):
        raise LabellingError('The context of a prediction must have a list of results.')
    values = [each.get('value') for each in results if isinstance(each, Mapping) and each.get('type') == 'textarea']
    texts: list[str] = []
    for value in values:
        texts += texts_of(value)
    return [line for text in texts for line in text.splitlines()]


def _drawn(task: Mapping[str, Any], labelling: Labelling) -> set[str]:
    """The sentences of regions in the annotator's draft: what was typed before is told again each time."""
    drafts = task.get('drafts')
    results = [
        each
        for draft in (drafts if isinstance(drafts, list) else [])
        if isinstance(draft, Mapping) and isinstance(draft.get('result'), list)
        for each in draft['result']
        if isinstance(each, Mapping) and labelling.sentence and each.get('from_name') == labelling.sentence
    ]
    return set(_clean([text for each in results for text in texts_of(each.get('value'))]))


def texts_of(value: Any) -> list[str]:
    """The texts of a text area's value: it has one, or a list of them."""
    text = value.get('text') if isinstance(value, Mapping) else None
    texts = [text] if isinstance(text, str) else text
    if not isinstance(texts, list) or not all(isinstance(each, str) for each in texts):
        raise LabellingError('A text area must hold text.')
    return texts


def _listed(given: Any, field: str) -> list[str]:
    texts = listed_texts(given)
    if texts is None:
        raise LabellingError(f'The field "{field}" of the task must be a sentence or a list of them.')
    return texts


def listed_texts(given: Any) -> list[str] | None:
    """The texts of a field of a task's data: one, a list of them, or a list of labels; None: something else."""
    listed = given if isinstance(given, list) else [given]
    texts: list[Any] = [each.get('value') if isinstance(each, Mapping) else each for each in listed]
    return texts if all(isinstance(text, str) for text in texts) else None


def _clean(texts: list[str]) -> list[str]:
    return list(dict.fromkeys(text.strip() for text in texts if text.strip()))
