"""The page: what stands where, and which button does what."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

import gradio as gr

from cmmasksd.web.components import picture_input, take_no_addresses
from cmmasksd.web.folders import MOST_PICTURES
from cmmasksd.web.handlers import Handlers

TITLE = 'Which one do you mean?'
ABOUT = 'Give a picture and write what you mean, a sentence a line. Each sentence gets the mask of that one object.'
WAITING = """<p><strong>The masks will appear here</strong>Choose a picture, write a sentence and press Segment, or
start with one of the examples.</p>"""
PLACEHOLDER = 'the small red circle\nleftmost star'
SAVE = """(file) => {
  const link = document.createElement('a');
  link.href = file.url;
  link.download = file.orig_name || file.path.split('/').pop();
  document.body.append(link);
  link.click();
  link.remove();
}"""
MODEL = dict(concurrency_id='model', concurrency_limit=1)
QUICK: dict[str, Any] = dict(concurrency_id='quick', concurrency_limit=4, show_progress='hidden')
HOUR = 3600


@dataclass(frozen=True)
class Parts:
    """The components that events take and give."""

    picture: gr.Image
    sentences: gr.Textbox
    segment: gr.Button
    examples: gr.Gallery
    waiting: gr.HTML
    results: gr.Column
    masks: gr.AnnotatedImage
    correlation: gr.Image
    threshold: gr.Slider
    sentence: gr.Dropdown
    save: dict[str, gr.Button]
    file: gr.File


def make_page(handlers: Handlers, model: str) -> gr.Blocks:
    """The page as a Gradio app, not yet served.

    Args:
        handlers: what the buttons do.
        model: said at the foot of the page.
    """
    with gr.Blocks(title=f'{TITLE} · cmmasksd', analytics_enabled=False, delete_cache=(HOUR, 24 * HOUR)) as page:
        gr.HTML(f'<h1>{TITLE}</h1><p>{ABOUT}</p>', elem_id='top', padding=False)
        with gr.Tab('One picture'):
            parts = _lay_out_one(handlers)
            _connect_one(parts, handlers)
        with gr.Tab('Many pictures'):
            _lay_out_many(handlers)
        gr.HTML(f'<p>{html.escape(model)}</p>', elem_id='bottom', padding=False)
    return page.queue(max_size=32)


def _lay_out_one(handlers: Handlers) -> Parts:
    with gr.Row():
        with gr.Column(scale=4, min_width=300):
            asked = _lay_out_question(handlers)
        with gr.Column(scale=8, min_width=300):
            waiting = gr.HTML(WAITING, elem_id='waiting')
            with gr.Column(visible=False) as results:
                answered = _lay_out_answer(handlers)
    return Parts(**asked, waiting=waiting, results=results, **answered)


def _lay_out_question(handlers: Handlers) -> dict[str, Any]:
    picture = picture_input(label='Picture', height=280, buttons=['fullscreen'], elem_id='picture')
    sentences = gr.Textbox(
        label='What do you mean? A sentence a line', lines=3, max_lines=8, placeholder=PLACEHOLDER, elem_id='sentences'
    )
    segment = gr.Button('Segment', variant='primary', elem_id='segment')
    examples = gr.Gallery(
        [example.path for example in handlers.examples],
        label='Examples',
        columns=3,
        height='auto',
        allow_preview=False,
        object_fit='cover',
        interactive=False,
        buttons=[],
        elem_id='examples',
    )
    return dict(picture=picture, sentences=sentences, segment=segment, examples=examples)


def _lay_out_answer(handlers: Handlers) -> dict[str, Any]:
    with gr.Row():
        masks = gr.AnnotatedImage(label='Masks', color_map={}, elem_id='masks', min_width=280)
        correlation = gr.Image(
            label='Correlation of sentence and patches',
            interactive=False,
            buttons=['fullscreen'],
            elem_id='correlation',
            min_width=280,
        )
    with gr.Row():
        threshold = gr.Slider(
            0,
            0.95,
            handlers.answers.threshold,
            step=0.01,
            label='Threshold',
            info='A pixel belongs to the object if its probability is above it.',
            buttons=['reset'],
            min_width=260,
            elem_id='threshold',
        )
        sentence = gr.Dropdown(
            [],
            label='Chosen sentence',
            info='Of the correlation, and of the mask as PNG.',
            min_width=260,
            elem_id='sentence',
        )
    with gr.Row(elem_id='downloads'):
        titles = dict(mask='Mask (PNG)', coco_rle='COCO RLE', report='JSON', all='All (zip)')
        save = {
            name: gr.Button(title, size='sm', min_width=120, elem_id=f'save-{name}') for name, title in titles.items()
        }
    shown = dict(masks=masks, correlation=correlation, threshold=threshold, sentence=sentence)
    return dict(shown, save=save, file=gr.File(visible=False))


def _connect_one(parts: Parts, handlers: Handlers) -> None:
    question = gr.State()
    asked = [parts.picture, parts.sentences, parts.threshold]
    shown = [question, parts.masks, parts.sentence, parts.correlation, parts.waiting, parts.results]
    asking: dict[str, Any] = dict(MODEL, show_progress_on=[parts.waiting, parts.masks])
    gr.on([parts.segment.click, parts.sentences.submit], handlers.ask, asked, shown, api_name='ask', **asking)
    parts.examples.select(
        handlers.take_example, None, [parts.picture, parts.sentences], api_visibility='private', **QUICK
    ).success(handlers.ask, asked, shown, api_visibility='private', **asking)
    gr.on(
        [parts.picture.upload, parts.picture.clear],
        handlers.reset,
        None,
        [question, parts.waiting, parts.results],
        api_visibility='private',
        **QUICK,
    )
    parts.threshold.change(
        handlers.rethreshold,
        [question, parts.threshold],
        parts.masks,
        trigger_mode='always_last',
        api_name='threshold',
        **QUICK,
    )
    parts.sentence.input(
        handlers.correlate, [question, parts.sentence], parts.correlation, api_name='correlation', **QUICK
    )
    _connect_downloads(parts, question, handlers)


def _connect_downloads(parts: Parts, question: gr.State, handlers: Handlers) -> None:
    inputs = [question, parts.threshold]
    making = dict(QUICK, show_progress='minimal', show_progress_on=[parts.masks])
    actions: dict[str, tuple[Any, list[Any]]] = dict(
        mask=(handlers.save_mask, [*inputs, parts.sentence]),
        coco_rle=(handlers.save_coco_rle, inputs),
        report=(handlers.save_report, inputs),
        all=(handlers.save_all, inputs),
    )
    for name, (save, given) in actions.items():
        made = parts.save[name].click(save, given, parts.file, api_name=f'save_{name}', **making)
        made.success(None, parts.file, None, js=SAVE)


def _lay_out_many(handlers: Handlers) -> None:
    with gr.Row():
        with gr.Column(scale=4, min_width=300):
            files = gr.File(
                file_count='multiple', label=f'Pictures, at most {MOST_PICTURES}', height=220, elem_id='pictures'
            )
            take_no_addresses(files)
            folder = gr.UploadButton('Choose a folder', file_count='directory', size='sm')
            take_no_addresses(folder)
        with gr.Column(scale=8, min_width=300):
            sentences = gr.Textbox(
                label='What do you mean in each of them? A sentence a line',
                lines=3,
                max_lines=8,
                placeholder=PLACEHOLDER,
                elem_id='sentences-many',
            )
            threshold = gr.Slider(0, 0.95, handlers.answers.threshold, step=0.01, label='Threshold', buttons=['reset'])
            segment = gr.Button('Segment all', variant='primary', elem_id='segment-many')
            archive = gr.File(label='Masks (zip)', interactive=False, height=140, elem_id='archive')
    folder.upload(lambda paths: paths, folder, files, api_visibility='private', **QUICK)
    segment.click(
        handlers.segment_pictures,
        [files, sentences, threshold],
        archive,
        api_name='pictures',
        concurrency_id='many',
        concurrency_limit=1,
    )
