import pickle
import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmmasksd.datasets.refer import pickles
from cmmasksd.datasets.refer.pickles import UnsafePickleError, load_plain_pickle

REFS = [
    {
        'ref_id': 0,
        'ann_id': 1719310,
        'big': 2**62,
        'negative': -(2**40),
        'share': 0.25,
        'flags': [True, False, None],
        'sentences': [
            {'tokens': ['the', 'caf\u00e9'], 'raw': 'The caf\u00e9!', 'sent': '\u5de6 zebra', 'sent_id': 3},
            {'tokens': []},
        ],
    }
]


class Trap:
    """Unpickled as usual, it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


def write(tmp_path, content):
    path = tmp_path / 'refs(unc).p'
    path.write_bytes(content)
    return path


@pytest.mark.parametrize('protocol', range(6))
def test_plain_data_of_every_protocol_of_python_3(tmp_path, protocol):
    path = write(tmp_path, pickle.dumps(REFS, protocol=protocol))
    assert load_plain_pickle(path) == REFS


# what Python 2.7's cPickle writes for [{'ref_id': 7L, 'raw': 'lady', 'sent': u'caf\xe9', 'n': 1}], protocols 0 and 2,
# memo counted from 1
PYTHON_2 = {
    'protocol 0': b"(lp1\n(dp2\nS'ref_id'\np3\nL7L\nsS'raw'\np4\nS'lady'\np5\nsS'sent'\np6\nVcaf\xe9\np7\n"
    b"sS'n'\nI1\nsa.",
    'protocol 2': b'\x80\x02]q\x01}q\x02(U\x06ref_idq\x03\x8a\x01\x07U\x03rawq\x04U\x04ladyq\x05U\x04sentq\x06'
    b'X\x05\x00\x00\x00caf\xc3\xa9q\x07U\x01nq\x08K\x01ua.',
}


@pytest.mark.parametrize('content', PYTHON_2.values(), ids=PYTHON_2.keys())
def test_pickles_of_python_2(tmp_path, content):
    assert load_plain_pickle(write(tmp_path, content)) == [{'ref_id': 7, 'raw': 'lady', 'sent': 'caf\u00e9', 'n': 1}]


def test_byte_strings_of_python_2_are_utf_8_and_nothing_else(tmp_path):
    assert load_plain_pickle(write(tmp_path, b'U\x05caf\xc3\xa9.')) == 'caf\u00e9'
    with pytest.raises(UnsafePickleError, match='utf-8'):
        load_plain_pickle(write(tmp_path, b'U\x04caf\xe9.'))


def test_a_call_is_refused_by_name_and_never_made(tmp_path):
    trap = tmp_path / 'sprung'
    for protocol in range(6):
        path = write(tmp_path, pickle.dumps([1, Trap(trap)], protocol=protocol))
        with pytest.raises(
            UnsafePickleError,
            match=r'refs\(unc\).p: \w*GLOBAL at byte \d+ makes an object \(_?io.open\).*in the file was run',
        ):
            load_plain_pickle(path)
    assert not trap.exists()
    pickle.loads(pickle.dumps(Trap(trap))).close()
    assert trap.exists(), 'the trap itself does not work'


REFUSED = {
    'GLOBAL': b'cos\nsystem\n.',
    'STACK_GLOBAL': b'\x8c\x02os\x8c\x06system\x93.',
    'REDUCE': b'NNR.',
    'BUILD': b'}}b.',
    'INST': b'(ios\nsystem\n.',
    'OBJ': b'(o.',
    'NEWOBJ': b'NN\x81.',
    'NEWOBJ_EX': b'NNN\x92.',
    'PERSID': b'Px\n.',
    'BINPERSID': b'NQ.',
    'EXT1': b'\x82\x01.',
    'EXT2': b'\x83\x01\x01.',
    'EXT4': b'\x84\x01\x01\x01\x01.',
    'BYTEARRAY8': b'\x96' + struct.pack('<Q', 2**40) + b'.',
    'NEXT_BUFFER': b'\x97.',
    'BINUNICODE8': b'\x8d' + struct.pack('<Q', 2**40) + b'.',
    'BINBYTES': b'B' + struct.pack('<I', 2**31) + b'.',
    'LONG4': b'\x8b' + struct.pack('<i', 2**31 - 1) + b'.',
    'LONG1': b'\x8a\x40' + b'\1' * 64 + b'.',
    'LONG1 at': b'\x8a\x09' + b'\0' * 8 + b'\1.',
    'LONG': b'L' + b'9' * 5000 + b'L\n.',
    'INT': b'I' + b'9' * 5000 + b'\n.',
    'FLOAT': b'F' + b'9' * 5000 + b'\n.',
    'LONG_BINPUT': b'Nr\xff\xff\xff\x0f0.',
    'PUT': b'Np268435455\n0.',
    'PUT at': b'Npx\n.',
    'DUP': b']2.',
    'POP': b'N0.',
    'TUPLE1': b')\x85.'[1:],
    'EMPTY_TUPLE': b').',
    'EMPTY_SET': b'\x8f.',
    'FROZENSET': b'(\x91.',
    'BINUNICODE': b'X\xff\xff\xff\x7fab.',
    'BINSTRING': b'T\xff\xff\xff\xffab.',
    'SHORT_BINSTRING': b'U\x09ab.',
    'FRAME': b'\x80\x04\x95' + struct.pack('<Q', 2**60) + b'N.',
    'unknown opcode 0xff': b'\xff.',
}


@pytest.mark.parametrize('name', REFUSED)
def test_dangerous_opcodes_are_named_with_their_offset(tmp_path, name):
    tracemalloc.start()
    with pytest.raises(UnsafePickleError, match=rf'refs\(unc\).p: {name.removesuffix(" at")} at byte \d+'):
        load_plain_pickle(write(tmp_path, REFUSED[name]))
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


@pytest.mark.parametrize('inside', range(5))
def test_a_frame_cannot_lead_the_unpickler_astray(tmp_path, inside):
    """LONG_BINPUT 1 across the end of a frame: the unpickler alone would read its four bytes anew after it, as an
    index of 700 millions.
    """
    frame = b'Nr\1\0\0\0'[: 2 + inside]
    content = b'\x80\x04\x95' + struct.pack('<Q', len(frame)) + b'Nr\1\0\0\0N((N.'
    tracemalloc.start()
    assert load_plain_pickle(write(tmp_path, content)) is None
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_a_memo_index_may_equal_the_number_of_opcodes_and_no_more(tmp_path):
    """Python 2 counts the memo from 1."""
    assert load_plain_pickle(write(tmp_path, b']r\2\0\0\0.')) == []
    assert load_plain_pickle(write(tmp_path, b'(lp3\n.')) == []
    for content in (b']r\3\0\0\0.', b'(lp4\n.'):
        with pytest.raises(UnsafePickleError, match='asks for memory without need'):
            load_plain_pickle(write(tmp_path, content))


@pytest.mark.parametrize(
    ('limit', 'just_enough', 'message'),
    [('MAX_FILE_BYTES', 5, 'has 5 bytes, more than the 4'), ('MAX_OPCODES', 4, '4 opcodes, more than the 3')],
)
def test_the_size_of_what_is_read_is_bounded(tmp_path, monkeypatch, limit, just_enough, message):
    path = write(tmp_path, b']K\1a.')
    monkeypatch.setattr(pickles, limit, just_enough)
    assert load_plain_pickle(path) == [1]
    monkeypatch.setattr(pickles, limit, just_enough - 1)
    with pytest.raises(UnsafePickleError, match=message):
        load_plain_pickle(path)


BROKEN = {
    'empty': b'',
    'no STOP': b']',
    'nothing on the stack': b'.',
    'no such memo entry': b'h\x07.',
    'list as a key': b'}]Ns.',
    'append to a dict': b'}Na.',
    'no mark': b'Ne.',
    'unquoted string': b'Sabc\n.',
    'future protocol': b'\x80\x77N.',
    'end inside a number': b'J\x01.',
}


@pytest.mark.parametrize('content', BROKEN.values(), ids=BROKEN.keys())
def test_broken_pickles_name_the_file(tmp_path, content):
    with pytest.raises(UnsafePickleError, match=r'refs\(unc\).p'):
        load_plain_pickle(write(tmp_path, content))


@pytest.mark.parametrize('protocol', [0, 2, 4])
def test_every_truncation_is_said_to_be_one(tmp_path, protocol):
    content = pickle.dumps(REFS, protocol=protocol)
    assert len(content) > 50
    for length in range(len(content)):
        with pytest.raises(UnsafePickleError, match='cut off'):
            load_plain_pickle(write(tmp_path, content[:length]))


def test_deep_nesting_and_shared_references_stay_small(tmp_path):
    depth = 200_000
    nested = load_plain_pickle(write(tmp_path, b']' * depth + b'a' * (depth - 1) + b'.'))
    for _ in range(depth - 1):
        (nested,) = nested
    assert nested == []
    levels = (b']q%c' % level + b'h%ca' % (level - 1) * 2 for level in range(1, 60))
    shared = load_plain_pickle(write(tmp_path, b']q\0' + b''.join(levels) + b'.'))
    assert shared[0] is shared[1]  # 2^59 paths, 60 lists


TEXT = st.text(st.characters(exclude_categories=['Cs']), max_size=8)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | TEXT,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(TEXT, children, max_size=4),
)


@settings(max_examples=100, deadline=None)
@given(value=PLAIN, protocol=st.integers(0, 5))
def test_round_trip(tmp_path_factory, value, protocol):
    path = tmp_path_factory.getbasetemp() / 'round_trip.p'
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    assert load_plain_pickle(path) == value


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_mutated_pickles_load_or_raise_our_error(tmp_path_factory, data):
    content = bytearray(pickle.dumps(REFS, protocol=data.draw(st.integers(0, 4))))
    for position, byte in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), min_size=1, max_size=6)
    ):
        content[position] = byte
    path = tmp_path_factory.getbasetemp() / 'mutated.p'
    path.write_bytes(bytes(content))
    try:
        load_plain_pickle(path)
    except UnsafePickleError as error:
        assert str(path) in str(error)
