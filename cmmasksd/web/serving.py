"""Serves the page."""

from __future__ import annotations

import ipaddress
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import gradio as gr

from cmmasksd.apis import ReferringInferencer
from cmmasksd.web.answers import Answers
from cmmasksd.web.examples import make_examples
from cmmasksd.web.files import Outbox
from cmmasksd.web.handlers import Handlers
from cmmasksd.web.page import make_page
from cmmasksd.web.style import CSS, make_theme

MOST_UPLOADED = '200mb'  # a file


def serve(inferencer: ReferringInferencer, name: str, host: str, port: int | None) -> None:
    """Serves the page until it is stopped.

    Args:
        inferencer: the model.
        name: of the model, for people.
        host: address to listen at.
        port: to listen at; None: the first free one from 7860 on.

    Raises:
        OSError: the address cannot be listened at.
    """
    with started(inferencer, name, host, port) as address:
        print(f'The page is at {address} ; Ctrl+C ends it.', flush=True)
        if not is_local(host):
            print('Whoever reaches this machine can use it: there is no password.', flush=True)
        wait()


@contextmanager
def started(inferencer: ReferringInferencer, name: str, host: str, port: int | None) -> Iterator[str]:
    """Serves the page in a thread for as long as the block runs; gives its address.

    Raises:
        OSError: the address cannot be listened at.
    """
    with tempfile.TemporaryDirectory(prefix='cmmasksd_web_') as home:
        handlers = Handlers(Answers(inferencer), Outbox(Path(home)), make_examples(Path(home, 'examples')))
        page = make_page(handlers, f'Model: {name}, on {inferencer.device}, in {inferencer.model.precision}')
        try:
            yield launch(page, host, port)
        finally:
            page.close(verbose=False)


def launch(page: gr.Blocks, host: str, port: int | None) -> str:
    """Starts the server, with all that reaches out of this machine turned off; gives its address."""
    _, address, _ = page.launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=True,
        share=False,
        quiet=True,
        inbrowser=False,
        show_error=True,
        max_file_size=MOST_UPLOADED,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        theme=make_theme(),
        css=CSS,
    )
    return address


def wait() -> None:
    """Until Ctrl+C."""
    with suppress(KeyboardInterrupt):
        threading.Event().wait()


def is_local(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return host == 'localhost' or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
