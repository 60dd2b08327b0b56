"""What people put into annotation files of their own, and what they are told to write instead."""

import array
import bz2
import collections
import dataclasses
import datetime
import decimal
import fractions
import gzip
import io
import json
import lzma
import pathlib
import pickle
import re
import uuid

import numpy as np
import pytest
import torch

from cmmasksd.datasets.refer.fields import ReferError, read_field
from cmmasksd.datasets.refer.pickles import UnsafePickleError, load_plain_pickle
from cmmasksd.datasets.refer.plain_values import describe_object


@dataclasses.dataclass
class Record:
    ref_id: int = 1


NUMPY = ('a number of numpy', 'int(x), float(x) or x.item()')
ARRAY = ('an array of numpy', 'x.tolist()')
VALUES = {
    'int64': (np.int64(3), *NUMPY),
    'float32': (np.float32(0.5), *NUMPY),
    'bool_': (np.bool_(True), *NUMPY),
    'str_': (np.str_('a'), *NUMPY),
    'array': (np.arange(3), *ARRAY),
    'array of objects': (np.array(['a', None], object), *ARRAY),
    'tuple': ((1, 2), 'a tuple', 'list(x)'),
    'tuple of one': ((1,), 'a tuple', 'list(x)'),
    'empty tuple': ((), 'a tuple', 'list(x)'),
    'long tuple': (tuple(range(9)), 'a tuple', 'list(x)'),
    'set': ({1, 2}, 'a set', 'sorted(x)'),
    'frozenset': (frozenset([1]), 'a set', 'sorted(x)'),
    'OrderedDict': (collections.OrderedDict(a=1), 'an OrderedDict', 'dict(x)'),
    'defaultdict': (collections.defaultdict(list, a=[1]), 'a defaultdict', 'dict(x)'),
    'Counter': (collections.Counter('ab'), 'a Counter', 'dict(x)'),
    'path': (pathlib.PurePosixPath('/a'), 'a path', 'str(x)'),
    'bytes': (b'ab', 'bytes', 'x.decode()'),
    'bytearray': (bytearray(b'ab'), 'bytes', 'x.decode()'),
    'date': (datetime.date(2020, 1, 1), 'a date or time', 'str(x)'),
    'Decimal': (decimal.Decimal('0.5'), 'a decimal number', 'float(x) or str(x)'),
    'Fraction': (fractions.Fraction(1, 2), 'a fraction', 'float(x) or str(x)'),
    'UUID': (uuid.UUID(int=1), 'a UUID', 'str(x)'),
    'tensor': (torch.tensor(3), 'a tensor', 'x.tolist() or x.item()'),
    'array.array': (array.array('i', [1]), 'an array', 'x.tolist()'),
    'range': (range(3), 'a range', 'list(x)'),
    'complex': (1j, 'a complex number', 'x.real'),
    'dataclass': (Record(), f'an object ({__name__}.Record)', 'vars(x) or dataclasses.asdict(x)'),
}


@pytest.mark.parametrize('name', VALUES)
@pytest.mark.parametrize('protocol', [2, 3, 4, 5])
def test_the_mend_of_a_value_that_is_not_plain(tmp_path, name, protocol):
    value, what, plain = VALUES[name]
    path = tmp_path / 'refs(my).p'
    path.write_bytes(pickle.dumps([{'ref_id': value, 'ann_id': value}], protocol=protocol))
    with pytest.raises(UnsafePickleError) as caught:
        load_plain_pickle(path)
    told = str(caught.value)
    assert told.startswith(f'{path}: ') and len(told) - len(str(path)) < 400
    assert f"(near 'ref_id') makes {what};" in told and f'write {plain}' in told.replace(
        'a dict of its plain values, ', ''
    )
    assert 'nothing in the file was run' in told and 'get it anew from a source you trust' in told


@pytest.mark.parametrize('protocol', [0, 1])
@pytest.mark.parametrize('name', ['int64', 'array', 'tuple', 'set', 'OrderedDict', 'path', 'bytes'])
def test_the_same_in_the_oldest_protocols(tmp_path, name, protocol):
    value, what, plain = VALUES[name]
    (tmp_path / 'refs(my).p').write_bytes(pickle.dumps([{'ref_id': value}], protocol=protocol))
    with pytest.raises(UnsafePickleError, match=re.escape(f"(near 'ref_id') makes {what};")):
        load_plain_pickle(tmp_path / 'refs(my).p')


@pytest.mark.parametrize('protocol', range(6))
@pytest.mark.parametrize('number', [2**80, -(2**200)])
def test_a_number_beyond_64_bits(tmp_path, number, protocol):
    (tmp_path / 'refs(my).p').write_bytes(pickle.dumps([{'ref_id': number}], protocol=protocol))
    with pytest.raises(UnsafePickleError, match='is a number beyond 64 bits; write a smaller one'):
        load_plain_pickle(tmp_path / 'refs(my).p')


@pytest.mark.parametrize(
    'wanted', ['pandas.core.frame.DataFrame', 'pandas._libs.tslibs.timestamps._unpickle_timestamp']
)
def test_objects_of_pandas(wanted):
    assert describe_object(wanted) == ('an object of pandas', "table.to_dict('records'), int(x), float(x) or str(x)")
    assert describe_object('pandas2.Frame')[0] == 'an object (pandas2.Frame)'


def torch_saved(value) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def numpy_saved(value) -> bytes:
    file = io.BytesIO()
    np.save(file, value)
    return file.getvalue()


REFS = [{'ref_id': 1}]
OTHER_FILES = {
    'gzip': (gzip.compress(pickle.dumps(REFS)), 'is compressed by gzip; unpack it'),
    'bzip2': (bz2.compress(pickle.dumps(REFS)), 'is compressed by bzip2; unpack it'),
    'xz': (lzma.compress(pickle.dumps(REFS)), 'is compressed by xz; unpack it'),
    'torch.save': (torch_saved(REFS), 'is a zip archive, such as torch.save writes'),
    'numpy.save': (numpy_saved(np.arange(3)), 'is a file of numpy.save'),
    'JSON': (json.dumps(REFS).encode(), 'is JSON; read it by json.load and save the list by pickle.dump'),
    'JSON of Windows': (b'\xef\xbb\xbf{"refs": []}', 'is JSON; read it by json.load'),
    'web page': (b'\n <!DOCTYPE html>', 'is a web page: the download needed a log-in'),
    'git-lfs': (b'version https://git-lfs.github.com/spec/v1\n', 'is a pointer of git-lfs; run `git lfs pull`'),
}


@pytest.mark.parametrize('name', OTHER_FILES)
def test_files_that_are_no_pickles(tmp_path, name):
    content, message = OTHER_FILES[name]
    (tmp_path / 'refs(my).p').write_bytes(content)
    with pytest.raises(UnsafePickleError, match=rf'refs\(my\).p {re.escape(message)}'):
        load_plain_pickle(tmp_path / 'refs(my).p')


FIELDS = [
    (int, '12', "'id' is '12' (str), but must be a whole number: write int(x)"),
    (int, 12.0, "'id' is 12.0 (float), but must be a whole number: write int(x)"),
    (int, True, "'id' is True (bool), but must be a whole number: write int(x)"),
    (int, None, "'id' is empty (null), but must be a whole number: fill it in, or leave the record out"),
    (int, [5], "'id' is a list, but must be a whole number: write one number"),
    (str, 5, "'id' is 5 (int), but must be text: write str(x)"),
    (str, ['a', 'b'], "'id' is a list, but must be text: write one string"),
    (str, None, "'id' is empty (null), but must be text: fill it in, or leave the record out"),
    (list, {'0': 'a'}, "'id' is a dict, but must be a list: write list(x.values())"),
    (list, 'a', "'id' is 'a' (str), but must be a list: write [x]"),
    (int, 'x' * 10_000, 'but must be a whole number: write int(x)'),
]


@pytest.mark.parametrize(('kind', 'value', 'message'), FIELDS)
def test_fields_of_another_kind(kind, value, message):
    with pytest.raises(ReferError, match=re.escape(message)) as caught:
        read_field({'id': value}, 'id', kind)
    assert len(str(caught.value)) < 200


def test_a_value_that_is_endless_when_walked_is_not_shown():
    shared: list = []
    for _ in range(60):
        shared = [shared, shared]
    with pytest.raises(ReferError, match="'id' is a list, but must be a whole number"):
        read_field({'id': shared}, 'id', int)
