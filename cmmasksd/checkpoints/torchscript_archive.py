"""Reads the tensors out of a TorchScript archive, such as OpenAI's CLIP files, without running any of it.

The archive is a zip: ``data.pkl`` describes a tree of modules, ``data/<key>`` holds the bytes of each storage. The
pickle is not unpickled: its opcodes are followed symbolically, classes and functions stay names, and only the handful
of forms that torch.jit.save writes are understood.
"""

from __future__ import annotations

import math
import os
import pickletools
import sys
import zipfile
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_MAX_PICKLE_BYTES = 4 * 2**20
_MAX_DEPTH = 64
_DTYPES = {
    'torch HalfStorage': torch.float16,
    'torch BFloat16Storage': torch.bfloat16,
    'torch FloatStorage': torch.float32,
    'torch DoubleStorage': torch.float64,
    'torch LongStorage': torch.int64,
    'torch IntStorage': torch.int32,
    'torch ShortStorage': torch.int16,
    'torch CharStorage': torch.int8,
    'torch ByteStorage': torch.uint8,
    'torch BoolStorage': torch.bool,
}
_MARK = object()


class ArchiveError(ValueError):
    """An archive that is broken, or holds more than modules with tensors."""


@dataclass(frozen=True)
class _Global:
    """A class or function by name only: 'module name'."""

    name: str


@dataclass(frozen=True)
class _Storage:
    """``numel`` numbers of ``dtype`` in the record ``data/<key>``."""

    key: str
    dtype: torch.dtype
    numel: int


@dataclass(frozen=True)
class _StoredTensor:
    """A view of a storage, in elements."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def read_torchscript_tensors(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of all modules by their dotted names, parameters, buffers and tensor attributes alike, in the dtype
    that is stored.

    Args:
        path: a file written by ``torch.jit.save``.

    Raises:
        ArchiveError: broken, or not what torch.jit.save writes for modules with tensors; the message does not name the
            file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            records = {info.filename.partition('/')[2]: info for info in archive.infolist()}
            if 'data.pkl' not in records or records['data.pkl'].file_size > _MAX_PICKLE_BYTES:
                raise ArchiveError('it has no data.pkl, or one of a size that no module needs')
            if 'byteorder' in records and archive.read(records['byteorder']) != sys.byteorder.encode():
                raise ArchiveError('it was written on a machine of another byte order')
            pickled = archive.read(records['data.pkl'])
            stored = _flatten(_Machine().run(pickled), limit=len(pickled))
            needed = {tensor.storage for tensor in stored.values()}
            if sum(storage.numel * storage.dtype.itemsize for storage in needed) > os.path.getsize(path):
                raise ArchiveError('its storages together are larger than the file')
            storages = {storage: _read_storage(archive, records, storage) for storage in needed}
    except (
        zipfile.BadZipFile,
        EOFError,
        LookupError,
        TypeError,
        ValueError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise ArchiveError(f'{error}') from error
    return {name: _view(storages[tensor.storage], tensor) for name, tensor in stored.items()}


class _Machine:
    """Follows the opcodes of a ``data.pkl``: modules become dicts of their attributes, tensors _StoredTensor, all else
    is refused.
    """

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, pickled: bytes) -> Any:
        """The object that the pickle describes."""
        for opcode, argument, position in pickletools.genops(pickled):
            try:
                self._step(opcode.name, argument)
            except (LookupError, TypeError, ValueError) as error:
                raise ArchiveError(f'data.pkl, {opcode.name} at byte {position}: {error}') from error
        return self.stack[-1]

    def _step(self, opcode: str, argument: Any) -> None:
        stack = self.stack
        match opcode:
            case 'PROTO' | 'STOP':
                pass
            case 'BININT' | 'BININT1' | 'BININT2' | 'LONG1' | 'BINFLOAT' | 'BINUNICODE':
                stack.append(argument)
            case 'NONE' | 'NEWTRUE' | 'NEWFALSE':
                stack.append({'NONE': None, 'NEWTRUE': True, 'NEWFALSE': False}[opcode])
            case 'EMPTY_TUPLE' | 'EMPTY_DICT' | 'EMPTY_LIST':
                stack.append({'EMPTY_TUPLE': tuple, 'EMPTY_DICT': dict, 'EMPTY_LIST': list}[opcode]())
            case 'MARK':
                stack.append(_MARK)
            case 'GLOBAL':
                stack.append(_Global(argument))
            case 'BINPUT' | 'LONG_BINPUT':
                self.memo[argument] = stack[-1]
            case 'BINGET' | 'LONG_BINGET':
                stack.append(self.memo[argument])
            case 'TUPLE':
                stack.append(tuple(self._pop_marked()))
            case 'APPENDS':
                items = self._pop_marked()
                _expect(stack[-1], list).extend(items)
            case 'SETITEMS':
                items = self._pop_marked()
                _expect(stack[-1], dict).update(
                    (_expect(key, str), value) for key, value in zip(items[::2], items[1::2], strict=True)
                )
            case 'BINPERSID':
                stack.append(_make_storage(*_expect(stack.pop(), tuple)))
            case 'NEWOBJ' | 'REDUCE':
                arguments, function = _expect(stack.pop(), tuple), _expect(stack.pop(), _Global)
                stack.append({} if opcode == 'NEWOBJ' else _call(function.name, arguments))
            case 'BUILD':
                state = _expect(stack.pop(), dict)
                _expect(stack[-1], dict).update(state)
            case _:
                raise ValueError('not among the opcodes of modules and tensors')

    def _pop_marked(self) -> list[Any]:
        for start in range(len(self.stack) - 1, -1, -1):
            if self.stack[start] is _MARK:
                items = self.stack[start + 1 :]
                del self.stack[start:]
                return items
        raise ValueError('there is no mark')


def _expect(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f'{kind.__name__} expected, not {type(value).__name__}')
    return value


def _call(function: str, arguments: tuple[Any, ...]) -> Any:
    """What the few functions of an archive give; lists of plain values (``build_intlist`` ...) are of no use to a
    reader of tensors.
    """
    if function == 'torch._utils _rebuild_tensor_v2':
        storage, offset, size, stride = arguments[:4]
        return _make_tensor(_expect(storage, _Storage), offset, _expect(size, tuple), _expect(stride, tuple))
    if function == 'collections OrderedDict' and not arguments:
        return {}
    if function.startswith('torch.jit._pickle '):
        return None
    raise ValueError(f'{function[:80]} is not among the functions of an archive of modules')


def _make_storage(kind: Any, storage_type: Any, key: Any, location: Any, numel: Any) -> _Storage:
    if kind != 'storage' or _expect(storage_type, _Global).name not in _DTYPES:
        raise ValueError('unknown kind of storage')
    return _Storage(_expect(key, str), _DTYPES[storage_type.name], _expect(numel, int))


def _make_tensor(storage: _Storage, offset: Any, size: tuple[Any, ...], stride: tuple[Any, ...]) -> _StoredTensor:
    if any(type(number) is not int or number < 0 for number in (offset, *size, *stride)):
        raise ValueError('a tensor has a negative or no number for a size')
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    numel = math.prod(size)
    if numel > storage.numel or (numel and last >= storage.numel):
        raise ValueError('a tensor is larger than its storage')
    return _StoredTensor(storage, offset, size, stride)


def _flatten(root: Any, limit: int) -> dict[str, _StoredTensor]:
    """Dotted names of all tensors. Modules may be shared, so that a small pickle can hold endlessly many: ``limit``
    bounds the visits.
    """
    tensors: dict[str, _StoredTensor] = {}
    pending = [('', _expect(root, dict), 0)]
    while pending:
        prefix, module, depth = pending.pop()
        limit -= len(module)
        if limit < 0 or depth > _MAX_DEPTH:
            raise ValueError('its modules contain one another')
        for name, value in module.items():
            if isinstance(value, _StoredTensor):
                tensors[prefix + name] = value
            elif isinstance(value, dict):
                pending.append((f'{prefix}{name}.', value, depth + 1))
    return tensors


def _read_storage(archive: zipfile.ZipFile, records: dict[str, zipfile.ZipInfo], storage: _Storage) -> Tensor:
    record = records.get(f'data/{storage.key}')
    if (
        record is None
        or record.compress_type != zipfile.ZIP_STORED
        or record.file_size != storage.numel * storage.dtype.itemsize
    ):
        raise ValueError(f'storage {storage.key[:80]} is missing, compressed or not of the size that data.pkl says')
    content = bytearray(archive.read(record))  # the zip's checksum is verified here
    return torch.frombuffer(content, dtype=storage.dtype) if content else torch.empty(0, dtype=storage.dtype)


def _view(storage: Tensor, tensor: _StoredTensor) -> Tensor:
    return storage.as_strided(tensor.size, tensor.stride, tensor.offset)
