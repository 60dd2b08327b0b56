"""Safe reading of checkpoints: files of strangers are data, nothing in them is run, and there is no way around it."""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.dist import barrier, get_dist_info
from mmengine.runner import CheckpointLoader
from mmengine.utils import digit_version
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cmmasksd.checkpoints.state_dicts import brief, unwrap_checkpoint
from cmmasksd.compat import checkpoint_globals, checkpoint_schemes


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or that holds more than data; the message names the file and the mend."""


def load_checkpoint_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads a checkpoint: a training checkpoint of mmengine (either flavour), a plain state dict, or safetensors.

    Weights that lie under another usual key (``model``, ``model_state_dict`` ...) come under ``state_dict``, and
    wrappers' prefixes (``module.``, ``_orig_mod.``) are taken off their names, so that every reader finds them.
    ``torch.load(weights_only=True)`` with mmengine's own types allowed by name. All tensors stay on the CPU; loading
    them into a model or an optimiser moves them to where these are.

    Raises:
        CheckpointError: missing, cut off, not a checkpoint, or it asks for anything else than data.
    """
    path = find_file(path)
    kind = identify(path)
    if kind == 'torchscript':
        raise CheckpointError(
            f'{path} is a TorchScript archive, not a checkpoint; if it is one of CLIP, give it as `pretrained` of the '
            'towers'
        )
    content = _load_safetensors(path) if kind == 'safetensors' else _load_torch(path)
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path} holds a {type(content).__name__}, but a checkpoint is a dict; save the model's state_dict()"
        )
    return unwrap_checkpoint(content)


def register_safe_loader() -> None:
    """Makes mmengine read every checkpoint (``load_from``, ``resume``, ``load_checkpoint``) by
    ``load_checkpoint_file``.

    Local files and http(s) are read; all other schemes of mmengine are refused, since its own readers fall back to
    unsafe loading. Readers that a user registered are left alone. Called by the import of this module, and so whenever
    a type of ours that reads weights takes part in a run, by our tools or, through ``custom_imports``, by another
    project's.
    """
    loaders: dict[str, Callable] = {'': load_from_local, 'http://': load_from_http, 'https://': load_from_http}
    for scheme in {*checkpoint_schemes(), *loaders}:
        CheckpointLoader.register_scheme(scheme, loaders.get(scheme, load_from_refused), force=True)


def load_from_local(filename: str, map_location: Any = None) -> dict[str, Any]:
    """mmengine's loader of local files; ``map_location`` is left aside, see ``load_checkpoint_file``."""
    return load_from_refused(filename) if '://' in filename else load_checkpoint_file(filename)


def load_from_http(filename: str, map_location: Any = None) -> dict[str, Any]:
    """mmengine's loader of web addresses: downloaded once a machine into torch.hub's folder, then read as any file."""
    return load_checkpoint_file(first_of_machine(lambda: _download_url(filename)))


def load_from_refused(filename: str, map_location: Any = None) -> dict[str, Any]:
    """mmengine's loader of all other schemes."""
    raise CheckpointError(
        f'{filename}: checkpoints are read from local files and http(s) addresses only; download it and give the path '
        'of the file'
    )


def find_file(path: str | os.PathLike[str]) -> Path:
    """The path of a file that is there; raises CheckpointError."""
    found = Path(path).expanduser()
    if not found.is_file():
        what = 'is a folder; name the file in it' if found.is_dir() else 'does not exist; check the path'
        raise CheckpointError(f'{path} {what}')
    return found


def identify(path: Path) -> str:
    """'torchscript', 'safetensors' or 'torch', by the file's first bytes; raises CheckpointError for what is none of
    them.
    """
    with open(path, 'rb') as file:
        head = file.read(512)
    if head.startswith(b'PK'):
        return _identify_zip(path)
    if head[8:9] == b'{' or (path.suffix == '.safetensors' and head):
        return 'safetensors'
    if head.startswith(b'\x80'):
        return 'torch'
    if not head:
        what = 'is empty; download or copy it anew'
    elif head.lstrip().startswith(b'<'):
        what = 'is a web page, not weights: the download needed a log-in or a confirmation; download it in a browser'
    elif head.startswith(b'version https://git-lfs'):
        what = 'is a pointer of git-lfs, not weights; run `git lfs pull` where it was cloned'
    else:
        what = 'is no checkpoint of torch or safetensors; download or copy it anew'
    raise CheckpointError(f'{path} {what}')


def _identify_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise CheckpointError(f'{path} is cut off or damaged ({brief(error)}); download or copy it anew') from error
    if any(record.filename.endswith('/constants.pkl') for record in records):
        return 'torchscript'
    # torch.save stores its records as they are; compressed or overlapping ones could unfold to any size
    if (
        any(record.compress_type != zipfile.ZIP_STORED for record in records)
        or sum(record.file_size for record in records) > path.stat().st_size
    ):
        raise CheckpointError(
            f'{path} is a zip archive, but not one that torch wrote; if it was packed after saving, unpack it'
        )
    return 'torch'


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f'{path} is cut off or no safetensors file ({brief(error)}); download or copy it anew'
        ) from error


def _load_torch(path: Path) -> Any:
    if digit_version(torch.__version__) < digit_version('2.6.0'):
        raise CheckpointError(
            f'{path} was not read: before torch 2.6 a file can get around weights_only (CVE-2025-32434); install a '
            'newer torch'
        )
    try:
        with torch.serialization.safe_globals(checkpoint_globals()):
            return torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r'GLOBAL ([\w.]+)', str(error))
        reason = (
            f'it asks for {wanted[1]:.80}' if wanted else 'it holds more than tensors and plain data, or is damaged'
        )
        # torch's message is left out: it advises to switch the safety off
        raise CheckpointError(
            f'{path} was refused and nothing in it was run: {reason}. Ask for a file with the plain state_dict()'
        ) from None
    except Exception as error:  # a damaged file can fail anywhere inside torch, with any exception
        raise CheckpointError(
            f'{path} is damaged or cut off ({type(error).__name__}: {brief(error)}); download or copy it anew'
        ) from error


def _download_url(url: str) -> Path:
    folder, name = Path(torch.hub.get_dir()) / 'checkpoints', Path(urlparse(url).path).name
    if name in ('', '..'):
        raise CheckpointError(f'{url} names no file')
    if not (folder / name).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(folder / name), progress=True)
        except (OSError, RuntimeError, HTTPException) as error:
            raise CheckpointError(
                f'{url} could not be downloaded ({brief(error)}); check the address and the network'
            ) from error
    return folder / name


def first_of_machine(download: Callable[[], Path]) -> Path:
    """Runs ``download`` in one process of each machine first, so that the others find the file in the cache."""
    rank, _ = get_dist_info()
    is_first = int(os.environ.get('LOCAL_RANK', rank)) == 0
    try:
        if is_first:
            return download()
    finally:
        barrier()
    return download()


register_safe_loader()
