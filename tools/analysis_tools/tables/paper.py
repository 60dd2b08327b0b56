"""The paper's tables, from the file that the configs' tests read too."""

from __future__ import annotations

from typing import Any, NamedTuple

import yaml

from cmmasksd.shipped import HOME

FILE = HOME / 'configs/cm_masksd/paper_tables.yml'
TABLES = ('table1', 'table2', 'table3', 'table4', 'table5')


class Row(NamedTuple):
    """A row: its shipped config, and the paper's percentages as ``split/metric``."""

    config: str
    paper: dict[str, float]


class Part(NamedTuple):
    """A table, or one of those that Tables 3 and 4 are made of."""

    name: str
    title: str
    rows: tuple[Row, ...]


def read_table(table: str) -> list[Part]:
    """The parts of a table.

    Args:
        table: one of :data:`TABLES`.
    """
    content: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding='utf-8'))
    if table == 'table1':
        part = content['table_1']
        of_1 = [Row(row['config'], {f'{split}/mIoU': x for split, x in row['scores'].items()}) for row in part['rows']]
        return [Part('1', part['title'], tuple(of_1))]
    names = [f'val/{metric}' for metric in content['metrics']]
    return [
        Part(
            name,
            part['title'],
            tuple(Row(row['config'], dict(zip(names, row['scores'], strict=True))) for row in part['rows']),
        )
        for name, part in content['ablations'].items()
        if name.startswith(table.removeprefix('table'))
    ]
