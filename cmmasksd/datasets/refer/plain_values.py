"""What to write instead of values that are not plain: for people who make annotation files of their own."""

from __future__ import annotations

from typing import Any

# Beginnings of what a pickle asks for -> what that is, and the plain form of it.
_OBJECTS = {
    'numpy.core.multiarray.scalar': ('a number of numpy', 'int(x), float(x) or x.item()'),
    'numpy._core.multiarray.scalar': ('a number of numpy', 'int(x), float(x) or x.item()'),
    'numpy': ('an array of numpy', 'x.tolist()'),
    'torch': ('a tensor', 'x.tolist() or x.item()'),
    'pandas': ('an object of pandas', "table.to_dict('records'), int(x), float(x) or str(x)"),
    'collections.OrderedDict': ('an OrderedDict', 'dict(x)'),
    'collections.defaultdict': ('a defaultdict', 'dict(x)'),
    'collections.Counter': ('a Counter', 'dict(x)'),
    'collections.deque': ('a deque', 'list(x)'),
    'array': ('an array', 'x.tolist()'),
    'pathlib': ('a path', 'str(x)'),
    'datetime': ('a date or time', 'str(x)'),
    'uuid': ('a UUID', 'str(x)'),
    'decimal': ('a decimal number', 'float(x) or str(x)'),
    'fractions': ('a fraction', 'float(x) or str(x)'),
    '_codecs.encode': ('bytes', 'x.decode()'),
    **{
        f'{module}.{name}': made
        for module in ('builtins', '__builtin__')
        for name, made in (
            ('set', ('a set', 'sorted(x)')),
            ('frozenset', ('a set', 'sorted(x)')),
            ('bytearray', ('bytes', 'x.decode()')),
            ('complex', ('a complex number', 'x.real')),
            ('range', ('a range', 'list(x)')),
            ('xrange', ('a range', 'list(x)')),
        )
    },
}
_OPCODES = {
    **dict.fromkeys(('TUPLE', 'TUPLE1', 'TUPLE2', 'TUPLE3', 'EMPTY_TUPLE'), ('a tuple', 'list(x)')),
    **dict.fromkeys(('EMPTY_SET', 'ADDITEMS', 'FROZENSET'), ('a set', 'sorted(x)')),
    **dict.fromkeys(('BINBYTES', 'SHORT_BINBYTES', 'BINBYTES8', 'BYTEARRAY8'), ('bytes', 'x.decode()')),
    'LONG4': ('a whole number beyond 64 bits', 'a smaller one'),
}
_OTHER_FILES = {  # how files begin that are neither pickles nor JSON, or the one in place of the other
    b'\x1f\x8b': 'is compressed by gzip; unpack it (gunzip)',
    b'BZh': 'is compressed by bzip2; unpack it (bunzip2)',
    b'\xfd7zXZ': 'is compressed by xz; unpack it (unxz)',
    b'PK\x03\x04': 'is a zip archive, such as torch.save writes; unpack it, or save the content by pickle.dump',
    b'\x93NUMPY': 'is a file of numpy.save; save a list of dicts by pickle.dump',
    b'version https://git-lfs': 'is a pointer of git-lfs; run `git lfs pull` where it was cloned',
    b'<': 'is a web page: the download needed a log-in or a confirmation; download it in a browser',
    b'[': 'is JSON; read it by json.load and save the list by pickle.dump',
    b'{': 'is JSON; read it by json.load and save the list of its refs by pickle.dump',
}
_FIELDS = {int: 'a whole number', str: 'text', list: 'a list'}


def describe_object(wanted: str) -> tuple[str, str]:
    """(what it is, the plain form to write) for the dotted name that a pickle asks for."""
    for beginning in sorted(_OBJECTS, key=len, reverse=True):
        if wanted == beginning or wanted.startswith(f'{beginning}.'):
            return _OBJECTS[beginning]
    return f'an object ({wanted:.80})', 'a dict of its plain values, vars(x) or dataclasses.asdict(x)'


def describe_opcode(name: str) -> tuple[str, str] | None:
    """The same for an opcode that builds something by itself; None for all others."""
    return _OPCODES.get(name)


def describe_other_file(data: bytes) -> str:
    """What a file is that begins so, and what to do; '' where nothing is known of it."""
    start = data[:256].removeprefix(b'\xef\xbb\xbf').lstrip()
    return next((told for beginning, told in _OTHER_FILES.items() if start.startswith(beginning)), '')


def describe_mismatch(value: Any, kind: type) -> str:
    """What a field's value is that should be a whole number, text or a list, and what to write.

    Such as ``is '12' (str), but must be a whole number: write int(x)``.
    """
    if value is None:
        return f'is empty (null), but must be {_FIELDS[kind]}: fill it in, or leave the record out'
    nested = isinstance(value, (list, dict))
    # a list or dict is not shown: strangers' ones may share parts, and be endless when walked
    shown = f'a {type(value).__name__}' if nested else f'{value!r:.40} ({type(value).__name__})'
    plain = {
        int: 'one number' if nested else 'int(x)',
        str: 'one string' if nested else 'str(x)',
        list: 'list(x.values())' if isinstance(value, dict) else '[x]',
    }
    return f'is {shown}, but must be {_FIELDS[kind]}: write {plain[kind]}'
