"""Gradio's components, as this page wants them to take what people hand in."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
from gradio.data_classes import ImageData

ADDRESSES = ('http:', 'https:', 'data:')


def picture_input(**options: object) -> gr.Image:
    """An image component that hands on the file as it was uploaded, nothing decoded: what is wrong with it is then said
    by the one who reads it.
    """
    picture = gr.Image(type='filepath', sources=['upload', 'clipboard'], **options)  # type: ignore[arg-type]
    # On the object: for a subclass Gradio would write a .pyi file into this folder.
    picture.preprocess = _path_of  # type: ignore[method-assign]
    take_no_addresses(picture)
    return picture


def take_no_addresses(component: gr.components.Component) -> None:
    """Has a component refuse addresses in place of files: Gradio would fetch them."""
    move = component.async_move_resource_to_block_cache

    async def move_file(path: str | Path | None) -> str | None:
        if str(path).lower().startswith(ADDRESSES):
            raise gr.Error('Addresses are not fetched here: give a file of this machine.', print_exception=False)
        return await move(path)

    component.async_move_resource_to_block_cache = move_file  # type: ignore[method-assign, assignment]


def _path_of(payload: ImageData | None) -> str | None:
    return payload.path if payload else None
