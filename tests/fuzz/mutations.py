"""Ways to break a pickle of refs and an instances.json: bytes, opcodes, sizes, shared references, and single fields."""

from __future__ import annotations

import copy
import json
import pickle
import pickletools
import struct
from collections.abc import Callable
from random import Random
from typing import Any

from tests.fuzz.seeds import INSTANCES, JSON, PICKLES, REFS

OPCODES = [opcode.code.encode('latin-1') for opcode in pickletools.opcodes]
SIZES = (0, 1, 4, 255, 2**15, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
TOKENS = [
    b'[',
    b']',
    b'{',
    b'}',
    b',',
    b':',
    b'"',
    b'null',
    b'true',
    b'NaN',
    b'-Infinity',
    b'1e999',
    b'-',
    b'0',
    b'9' * 25,
    b'9' * 5000,
    b'"\\ud800"',
    b'"\\u0000"',
    b'\xff',
    b'\xef\xbb\xbf',
    b'1e-320',
    b'-0.0',
    b'"id"',
    b'"counts"',
    b'"size"',
]
NUMBERS = [
    0,
    1,
    -1,
    7,
    8,
    100,
    2**31,
    2**63 - 1,
    2**63,
    -(2**63),
    10**30,
    0.5,
    -0.0,
    1e308,
    -1e308,
    5e-324,
    float('nan'),
    float('inf'),
    59.999,
]
TEXTS = [
    '',
    ' ',
    'x',
    '\0',
    '../../x',
    '\ud800',
    'é' * 300,
    'a' * 20_001,
    '\u202e',
    'o' * 40 + '1',
    '0',
    '8',
    '!' * 5,
    'PPYo1',
]


# --- bytes ------------------------------------------------------------------------------------------------------------


def flip(data: bytes, random: Random) -> bytes:
    place = random.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << random.randrange(8)]) + data[place + 1 :]


def overwrite(data: bytes, random: Random) -> bytes:
    place = random.randrange(len(data))
    width = random.choice((1, 2, 4, 8))
    return data[:place] + (random.choice(SIZES) % 256**width).to_bytes(width, 'little') + data[place + width :]


def cut(data: bytes, random: Random) -> bytes:
    start = random.randrange(len(data))
    return data[:start] + data[start + random.randrange(1, 40) :] if random.random() < 0.7 else data[:start]


def repeat(data: bytes, random: Random) -> bytes:
    start = random.randrange(len(data))
    piece = data[start : start + random.randrange(1, 60)]
    return data[:start] + piece * random.choice((2, 3, 50, 2000)) + data[start:]


def splice(data: bytes, random: Random) -> bytes:
    other = random.choice([*PICKLES, JSON])
    start = random.randrange(len(other))
    place = random.randrange(len(data))
    return data[:place] + other[start : start + random.randrange(1, 200)] + data[place + random.randrange(100) :]


# --- pickles ----------------------------------------------------------------------------------------------------------


def insert_opcode(data: bytes, random: Random) -> bytes:
    """Any opcode of Python's, with an argument that is hostile, or random, or missing."""
    size = random.choice(SIZES)
    arguments = (
        b'',
        bytes([size % 256]),
        struct.pack('<I', size % 2**32),
        struct.pack('<Q', size),
        b'%d\n' % size,
        b'9' * 6000 + b'L\n',
        b'os\nsystem\n',
        b'x\n',
        b"'\\ud800'\n",
        random.randbytes(random.randrange(12)),
    )
    place = random.choice(_boundaries(data)) if random.random() < 0.7 else random.randrange(len(data))
    return (
        data[:place]
        + random.choice(OPCODES) * random.choice((1, 1, 1, 3, 500))
        + random.choice(arguments)
        + data[place:]
    )


def hostile_size(data: bytes, random: Random) -> bytes:
    """LONG_BINPUT, LONG4, BINUNICODE8, BYTEARRAY8, FRAME ... that announce what the file does not hold."""
    size = random.choice(SIZES)
    four, eight = struct.pack('<I', size % 2**32), struct.pack('<Q', size)
    heads = (
        b'Nr' + four,
        b'Np%d\n' % size,
        b'\x8b' + four,
        b'\x8d' + eight,
        b'\x8e' + eight,
        b'\x96' + eight,
        b'\x95' + eight,
        b'X' + four,
        b'T' + four,
        b'B' + four,
        b'j' + four,
        b'g%d\n' % size,
        b'\x84' + four,
        b'\x8a' + bytes([size % 256]),
    )
    place = random.choice(_boundaries(data))
    return data[:place] + random.choice(heads) + data[place:]


def nest(data: bytes, random: Random) -> bytes:
    """Lists, dicts and tuples, thousands deep, beside the refs, in their place, or as a key."""
    depth = random.choice((10, 1000, 100_000))
    opening, closing = random.choice(
        [(b']', b'a'), (b'}N', b's'), (b'(', b'l'), (b'(N', b'd'), (b'N', b'\x85'), (b'(', b't'), (b'(', b'\x91')]
    )
    deep = opening * depth + b'N' + closing * depth
    place = random.choice(_boundaries(data))
    return random.choice((deep + b'.', data[:place] + deep + data[place:], b'}' + deep + b'Ns.', b']' + deep + b'a.'))


def share(data: bytes, random: Random) -> bytes:
    """Refs whose few bytes unfold to more than any memory: shared, doubled and cyclic references."""
    refs: list[Any] = copy.deepcopy(REFS)
    kind = random.randrange(4)
    if kind == 0:  # a list that doubles at each level
        tower: list[Any] = ['x']
        for _ in range(60):
            tower = [tower, tower]
        refs[random.randrange(5)][random.choice(list(refs[0]))] = tower
    elif kind == 1:  # one list of sentences for all
        sentences = refs[0]['sentences'] * random.choice((10, 1000))
        refs = [dict(refs[0], ref_id=number, sentences=sentences) for number in range(random.choice((10, 1000)))]
    elif kind == 2:  # a list that holds itself
        refs[0]['sentences'].append(refs[0]['sentences'])
    else:
        refs.append(refs)
    return pickle.dumps(refs, protocol=random.randrange(6))


def replace_in_refs(data: bytes, random: Random) -> bytes:
    refs = copy.deepcopy(REFS)
    for _ in range(random.choice((1, 1, 3))):
        _replace(refs, random)
    return pickle.dumps(refs, protocol=random.randrange(6))


# --- JSON -------------------------------------------------------------------------------------------------------------


def insert_token(data: bytes, random: Random) -> bytes:
    place = random.randrange(len(data))
    count = random.choice((1, 1, 1, 100, 100_000))
    return (
        data[:place] + random.choice(TOKENS[:4] if count > 1 else TOKENS) * count + data[place + random.randrange(3) :]
    )


def recode(data: bytes, random: Random) -> bytes:
    return data.decode('utf-8', 'replace').encode(
        random.choice(['utf-16', 'utf-32', 'utf-8-sig', 'utf-16-be', 'cp037']), 'replace'
    )


def replace_in_instances(data: bytes, random: Random) -> bytes:
    instances = copy.deepcopy(INSTANCES)
    for _ in range(random.choice((1, 1, 3))):
        _replace(instances, random)
    return json.dumps(instances).encode()


def redraw(data: bytes, random: Random) -> bytes:
    """Polygons of any shape and number, in pictures of any size."""
    instances = copy.deepcopy(INSTANCES)
    height, width = (random.choice((1, 2, 40, 700, 10_000, 10**6, 10**8)) for _ in range(2))
    if random.random() < 0.7:
        height, width = 40, 60
    for image in instances['images']:
        image.update(height=height, width=width)
    for annotation in random.sample(instances['annotations'], random.randrange(1, 3)):
        spread = random.choice((1, 1, 1, 3, 100))
        numbers = random.choice((0, 5, 6, 7, 8, 30, 400))
        part = [random.uniform(-0.1, spread) * (height if place % 2 else width) for place in range(numbers)]
        if part and random.random() < 0.2:
            part[random.randrange(numbers)] = random.choice(NUMBERS)
        annotation['segmentation'] = [part] * random.choice((1, 1, 2, 3, random.choice((1, 4096, 5000))))
    return json.dumps(instances).encode()


def recount(data: bytes, random: Random) -> bytes:
    """RLEs with any counts: random runs, random letters, sizes that fit or do not."""
    instances = copy.deepcopy(INSTANCES)
    for annotation in random.sample(instances['annotations'], random.randrange(1, 3)):
        size = random.choice(
            ([40, 60], [40, 60], [60, 40], [10**4, 10**4], [1, 1], [0, 0], [-40, -60], [40.0, 60.0], [True, 60], [40])
        )
        pixels = 2400
        counts: Any = random.choice(
            (
                [random.randrange(-5, 400) for _ in range(random.randrange(30))],
                sorted(random.randrange(pixels) for _ in range(random.randrange(10))),
                [0] * random.choice((1, 3, 5000)) + [pixels],
                [pixels // 2, pixels // 2],
                [1] * pixels,
                [2**62, 2**62, 2**62, 2**62, pixels],
                ''.join(chr(random.randrange(48, 112)) for _ in range(random.randrange(20))),
                ''.join(chr(random.randrange(1, 300)) for _ in range(random.randrange(20))),
                '0' * random.choice((2, 200_000)),
            )
        )
        code = dict(size=size, counts=counts)
        annotation['segmentation'] = random.choice(
            (code, [code], [code] * 3, [code] * 4096 if len(counts) < 50 else code)
        )
    return json.dumps(instances).encode()


# --- both -------------------------------------------------------------------------------------------------------------


def _junk(random: Random, depth: int = 0) -> Any:
    kind = random.randrange(7 if depth < 3 else 4)
    if kind < 2:
        return random.choice(NUMBERS)
    if kind < 4:
        return random.choice((None, True, False, *TEXTS))
    if kind == 4:
        return {
            random.choice(('id', 'size', 'counts', 'sent', 'x')): _junk(random, depth + 1)
            for _ in range(random.randrange(3))
        }
    return [_junk(random, depth + 1) for _ in range(random.choice((0, 1, 2, 6, 6, 8)))]


def _replace(data: Any, random: Random) -> None:
    """Puts junk at a random place below ``data``, or removes what is there, or swaps in another part of it."""
    places = [
        (parent, key)
        for parent in _containers(data)
        for key in (parent if isinstance(parent, dict) else range(len(parent)))
    ]
    parent, key = random.choice(places)
    action = random.randrange(4)
    if action == 0:
        del parent[key]
    elif action == 1:
        other, place = random.choice(places)
        parent[key] = copy.deepcopy(other[place])
    else:
        parent[key] = _junk(random)


def _containers(data: Any) -> list[Any]:
    """All non-empty dicts and lists at and below ``data``."""
    below = list(data.values()) if isinstance(data, dict) else data if isinstance(data, list) else []
    return ([data] if below else []) + [container for value in below for container in _containers(value)]


def _boundaries(data: bytes) -> list[int]:
    """Where the opcodes of a pickle start, as far as it can be read."""
    places = []
    try:
        places += (place for _, _, place in pickletools.genops(data))
    except Exception:  # an earlier mutation broke it: the places up to there will do
        places.append(0)
    return places


Mutation = Callable[[bytes, Random], bytes]
ANY_BYTES: list[Mutation] = [flip, flip, overwrite, cut, repeat, splice]
PICKLE_MUTATIONS: list[Mutation] = [*ANY_BYTES, insert_opcode, insert_opcode, hostile_size, nest]
JSON_MUTATIONS: list[Mutation] = [*ANY_BYTES, insert_token, insert_token, recode]


def mutate(kind: str, seed: int, index: int) -> tuple[bytes, bytes]:
    """The refs file and the instances.json of one input: a function of the arguments alone."""
    random = Random(f'{kind} {seed} {index}')
    data, whole, steps = (
        (random.choice(PICKLES), (share, replace_in_refs, replace_in_refs), PICKLE_MUTATIONS)
        if kind == 'pickle'
        else (JSON, (replace_in_instances, replace_in_instances, redraw, recount), JSON_MUTATIONS)
    )
    if random.random() < 0.4:
        data = random.choice(whole)(data, random)
    if random.random() < 0.1 or data in (*PICKLES, JSON):
        for _ in range(random.choice((1, 1, 1, 2, 4))):
            data = random.choice(steps)(data, random) or b'\0'
    return (data, JSON) if kind == 'pickle' else (PICKLES[2], data)
