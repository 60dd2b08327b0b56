"""The building's walls: what may import what, and how long a file and a function may be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'cmmasksd'
FLOORS = {
    **dict.fromkeys(
        [
            'arguments',
            'registry',
            'compat',
            'cfg_options',
            'checkpoints',
            'distributed',
            'memory',
            'precision',
            'published',
            'shipped',
            'strict_json',
            'structures',
            'work_dirs',
        ],
        0,
    ),
    **dict.fromkeys(['datasets', 'models', 'evaluation', 'engine', 'visualization'], 1),
    **dict.fromkeys(['apis', 'scoring'], 2),
    **dict.fromkeys(['annotation', 'web', 'cli', 'deployment'], 3),
    '__main__': 4,
}
COMPONENTS = {'backbones', 'text_encoders', 'bridges', 'necks', 'decode_heads', 'distillation', 'segmentors'}
MMSEG_ROOMS = {'registry', 'structures', 'evaluation', 'engine'}  # the rest of mmseg 1.2.2 needs mmcv's compiled ops
MAX_FILE, MAX_FUNCTION = 400, 60

MODULES = sorted(PACKAGE.rglob('*.py'))
SOURCES = MODULES + sorted((ROOT / 'tools').rglob('*.py'))


def name_of(path: Path) -> str:
    """The dotted name of a module of the package: ``cmmasksd.models.layers``."""
    return '.'.join(path.relative_to(ROOT).with_suffix('').parts).removesuffix('.__init__')


def walk_imports(node: ast.AST, deferred: bool = False) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Every import statement below ``node``, with whether it waits inside a function."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child, deferred
        yield from walk_imports(
            child, deferred or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        )


def targets(statement: ast.Import | ast.ImportFrom, path: Path) -> list[str]:
    """The full dotted names that a statement asks for, relative ones resolved."""
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    base = statement.module or ''
    if statement.level:
        package = list(path.relative_to(ROOT).parent.parts)
        base = '.'.join(package[: len(package) - statement.level + 1] + ([base] if base else []))
    return [f'{base}.{alias.name}' for alias in statement.names]


def imports(path: Path) -> list[tuple[str, bool]]:
    """(dotted name, deferred) of everything that a file imports."""
    tree = ast.parse(path.read_text(encoding='utf-8'), str(path))
    return [(name, deferred) for statement, deferred in walk_imports(tree) for name in targets(statement, path)]


def room(name: str) -> str | None:
    """The room of a dotted name of the package, ``None`` for the package itself and other packages."""
    parts = name.split('.')
    return parts[1] if parts[0] == 'cmmasksd' and len(parts) > 1 and parts[1] in FLOORS else None


def component(name: str) -> str | None:
    """The component of ``cmmasksd.models`` that a dotted name lies in, if any."""
    parts = name.split('.')
    return parts[2] if parts[:2] == ['cmmasksd', 'models'] and len(parts) > 2 and parts[2] in COMPONENTS else None


def wall_broken(source: str, target: str) -> str | None:
    """Why module ``source`` may not import ``target``, or ``None`` where it may."""
    here, there = room(source), room(target)
    if here is None or there is None or here == there:
        return _component_wall(source, target)
    if FLOORS[there] > FLOORS[here]:
        return f'{there} is above {here}'
    if FLOORS[there] == FLOORS[here] > 0:
        return f'{there} and {here} are neighbours on one floor'
    return None


def _component_wall(source: str, target: str) -> str | None:
    here, there = component(source), component(target)
    return f'{there} and {here} are siblings, built from the config' if here and there and here != there else None


@pytest.mark.parametrize(
    ('source', 'target', 'broken'),
    [
        ('cmmasksd.models.layers', 'cmmasksd.structures', False),
        ('cmmasksd.checkpoints', 'cmmasksd.compat', False),
        ('cmmasksd.apis.inferencer', 'cmmasksd.datasets.transforms', False),
        ('cmmasksd.models.distillation.branches', 'cmmasksd.models.distillation.correlation', False),
        ('cmmasksd.models.necks.cross_modal_fpn', 'cmmasksd.models.layers', False),
        ('cmmasksd.structures', 'cmmasksd.models.layers', True),
        ('cmmasksd.evaluation.referring_iou', 'cmmasksd.datasets.refer', True),
        ('cmmasksd.models.segmentors.referring_segmentor', 'cmmasksd.models.necks.CrossModalFPN', True),
    ],
)
def test_the_walls_are_where_they_should_be(source: str, target: str, broken: bool) -> None:
    assert (wall_broken(source, target) is not None) == broken


def test_relative_imports_are_resolved() -> None:
    statement = ast.parse('from ..necks import CrossModalFPN').body[0]
    assert targets(statement, PACKAGE / 'models/segmentors/__init__.py') == ['cmmasksd.models.necks.CrossModalFPN']


def test_every_room_has_a_floor() -> None:
    entries = {
        path.stem
        for path in PACKAGE.iterdir()
        if path.suffix == '.py' or (path.is_dir() and path.name not in ('__pycache__', '.mim'))
    }
    assert entries - {'__init__'} == set(FLOORS)
    assert {
        path.name for path in (PACKAGE / 'models').iterdir() if path.is_dir() and path.name != '__pycache__'
    } == COMPONENTS


def test_imports_go_downward() -> None:
    checked, broken = 0, []
    for path in MODULES:
        for target, _ in imports(path):
            checked += target.startswith('cmmasksd.')
            if reason := wall_broken(name_of(path), target):
                broken.append(f'{name_of(path)} imports {target}: {reason}')
    assert not broken, '\n'.join(broken)
    assert len(MODULES) >= 30
    assert checked >= 50


def test_nothing_is_imported_by_star() -> None:
    names = [(path, name) for path in SOURCES for name, _ in imports(path)]
    assert len(names) >= 150
    assert not [f'{path}: {name}' for path, name in names if name.endswith('.*')]


def test_mmseg_is_entered_by_its_safe_doors_only() -> None:
    checked, broken = 0, []
    for path in SOURCES:
        for name, deferred in imports(path):
            parts = name.split('.')
            checked += parts[0] in {'mmseg', 'mmcv'}
            wrong_room = parts[0] == 'mmseg' and len(parts) > 1 and parts[1] not in MMSEG_ROOMS and not deferred
            if wrong_room or parts[:2] == ['mmcv', 'ops']:
                broken.append(f'{path.relative_to(ROOT)} imports {name}')
    assert not broken, '\n'.join(broken)
    assert checked >= 2


def test_the_reader_of_annotations_needs_no_framework_and_nothing_outside_its_room() -> None:
    paths = sorted((PACKAGE / 'datasets/refer').rglob('*.py'))
    names = {name for path in paths for name, _ in imports(path)}
    assert len(paths) >= 10 and len(names) >= 20
    assert not {name.split('.')[0] for name in names} & {'torch', 'mmengine', 'mmcv', 'mmseg'}
    assert not [
        name for name in names if name.startswith('cmmasksd.') and not name.startswith('cmmasksd.datasets.refer.')
    ]


def test_files_and_functions_stay_short() -> None:
    functions, long = 0, []
    for path in SOURCES:
        text = path.read_text(encoding='utf-8')
        if (lines := len(text.splitlines())) > MAX_FILE:
            long.append(f'{path.relative_to(ROOT)}: {lines} lines')
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                functions += 1
                if (lines := node.end_lineno - node.lineno + 1) > MAX_FUNCTION:
                    long.append(f'{path.relative_to(ROOT)}: {node.name} has {lines} lines')
    assert not long, '\n'.join(long)
    assert functions >= 100


def test_every_function_says_what_it_returns() -> None:
    functions, silent = 0, []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                functions += 1
                if node.returns is None:
                    silent.append(f'{path.relative_to(ROOT)}: {node.name}')
    assert not silent, '\n'.join(silent)
    assert functions >= 100
