"""Label Studio's protocol for machine learning backends, over HTTP."""

from __future__ import annotations

import base64
import hmac
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cmmasksd.annotation.backend import Backend
from cmmasksd.annotation.labelling import LabellingError, read_labelling

MOST_BYTES = 256 * 2**20  # of a request; pictures in it are base64, masks lists of numbers
TRAINING = 'START_TRAINING'
NO_TRAINING = 'This backend does not train: export the annotations, and see docs/annotation.md of cmmasksd.'
logger = logging.getLogger(__name__)
Reply = dict[str, Any]


def make_app(backend: Backend, credentials: tuple[str, str] | None = None) -> Starlette:
    """The application.

    Args:
        backend: answers.
        credentials: user and password that every request must bring (basic authentication); None: nobody is asked.
    """

    def health(_: Reply) -> Reply:
        return dict(status='UP', model_class='cmmasksd', model_version=backend.version)

    def setup(body: Reply) -> Reply:
        try:
            read_labelling(body.get('schema'))
        except LabellingError as error:
            logger.warning('Project %s: %s', body.get('project'), error)  # it may get its config later
        return dict(model_version=backend.version)

    def predict(body: Reply) -> Reply:
        tasks, params = body.get('tasks'), body.get('params') or {}
        if not isinstance(tasks, list) or not tasks or not isinstance(params, dict):
            raise LabellingError('A request must have a list of tasks; params, where they are there, are an object.')
        results = backend.predict(tasks, body.get('label_config'), params.get('context'))
        return dict(results=results, model_version=backend.version)

    def webhook(body: Reply) -> Reply:
        if body.get('action') == TRAINING:
            raise NotImplementedError(NO_TRAINING)
        return dict(status='ok')

    def train(_: Reply) -> Reply:
        raise NotImplementedError(NO_TRAINING)

    def versions(_: Reply) -> Reply:
        return dict(versions=[backend.version])

    def route(path: str, answer: Callable[[Reply], Reply], *methods: str) -> Route:
        return Route(path, _endpoint(answer, credentials), methods=list(methods))

    return Starlette(
        routes=[
            route('/', health, 'GET'),
            route('/health', health, 'GET'),
            route('/setup', setup, 'POST'),
            route('/predict', predict, 'POST'),
            route('/webhook', webhook, 'POST'),
            route('/train', train, 'POST'),
            route('/versions', versions, 'GET', 'POST'),
            route('/metrics', lambda _: {}, 'GET'),
        ]
    )


def _endpoint(answer: Callable[[Reply], Reply], credentials: tuple[str, str] | None) -> Callable[[Request], Any]:
    """Reads a request and answers in a thread; what is wrong with it is said, and logged: Label Studio shows no more
    than the status.
    """

    async def respond(request: Request) -> Response:
        if credentials and not _is_let_in(request.headers.get('authorization', ''), credentials):
            headers = {'WWW-Authenticate': 'Basic realm="cmmasksd"'}
            return JSONResponse(dict(error='Give user and password.'), 401, headers)
        try:
            body = await _read_body(request)
            return JSONResponse(await run_in_threadpool(answer, body))
        except LabellingError as error:
            return _refuse(request, str(error), 400)
        except NotImplementedError as error:
            return _refuse(request, str(error), 501)

    return respond


def _refuse(request: Request, error: str, status: int) -> Response:
    logger.warning('%s: %s', request.url.path, error)
    return JSONResponse(dict(error=error), status)


async def _read_body(request: Request) -> Reply:
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > MOST_BYTES:
            raise LabellingError(f'The request is larger than {MOST_BYTES >> 20} MiB: ask for fewer tasks at once.')
    if not content:
        return {}
    try:
        body = json.loads(bytes(content))
    except (ValueError, RecursionError) as error:
        raise LabellingError(f'The request is no JSON ({error}).') from None
    if not isinstance(body, dict):
        raise LabellingError('The request must be a JSON object.')
    return body


def _is_let_in(given: str, credentials: tuple[str, str]) -> bool:
    wanted = base64.b64encode(':'.join(credentials).encode()).decode()
    scheme, _, code = given.partition(' ')
    return scheme.lower() == 'basic' and hmac.compare_digest(code.strip().encode(), wanted.encode())


def listen(host: str, port: int) -> socket.socket:
    """A socket that nobody else has; port 0: a free one.

    Raises:
        OSError: the address is in use, or none of this machine's.
    """
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    return socket.create_server((host, port), family=family)


def serve(app: Starlette, listener: socket.socket) -> None:
    """Serves until Ctrl+C."""
    uvicorn.Server(uvicorn.Config(app, log_level='warning')).run(sockets=[listener])


@contextmanager
def started(app: Starlette, host: str = '127.0.0.1', port: int = 0) -> Iterator[str]:
    """Serves in a thread for as long as the block runs; gives the address."""
    listener = listen(host, port)
    server = uvicorn.Server(uvicorn.Config(app, log_level='warning'))
    thread = threading.Thread(target=server.run, kwargs=dict(sockets=[listener]))
    thread.start()
    try:
        yield f'http://{host}:{listener.getsockname()[1]}'
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
