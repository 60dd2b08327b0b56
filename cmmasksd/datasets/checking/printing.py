"""A report as text for a terminal."""

from __future__ import annotations

from prettytable import PrettyTable

from cmmasksd.datasets.checking.report import LEVELS, Report

_HEADINGS = {'error': 'ERRORS', 'warning': 'WARNINGS', 'info': 'WORTH KNOWING'}


def describe(report: Report, max_examples: int) -> str:
    """Counts first, then the kinds of findings by level, each with its number and at most ``max_examples`` examples."""
    name = f'{report.dataset} ({report.split_by}) in {report.root}'
    levels = ', '.join(_count(report, level) for level in ('error', 'warning', 'info'))
    verdict = f'{levels}; {report.images_decoded} pictures decoded'
    lines = [
        name,
        *([_tabulate(report)] if report.counts else []),
        *_list_groups(report, max_examples),
        '',
        f'{name}: {verdict}',
    ]
    return _printable('\n'.join(lines))


def _count(report: Report, level: str) -> str:
    number = report.number(level)
    return f'{number} {level}' if number == 1 else f'{number} {level}s'


def _tabulate(report: Report) -> str:
    columns = ('refs', 'images', 'sentences')
    published = report.published
    header = [
        'split',
        *(name for column in columns for name in ((column, f'{column}, published') if published else (column,))),
    ]
    table = PrettyTable(header, align='r')
    for split in {**report.counts, **published}:
        found = report.counts.get(split, (0, 0, 0))
        expected = published.get(split, (None, None, None))
        row = [value for pair in zip(found, expected, strict=True) for value in (pair if published else pair[:1])]
        table.add_row([split, *('-' if value is None else value for value in row)])
    return table.get_string()


def _list_groups(report: Report, max_examples: int) -> list[str]:
    lines = []
    for level in LEVELS:
        groups = [group for group in report.groups if group.kind.level == level]
        lines += ['', _HEADINGS[level]] if groups else []
        for group in groups:
            lines.append(f'  {group.kind.title}: {group.count}')
            lines += [f'    {finding.text}' for finding in group.findings[:max_examples]]
            hidden = group.count - min(max_examples, len(group.findings))
            lines += [f'    ... and {hidden} more'] if hidden else []
    return lines


def _printable(text: str) -> str:
    """Without the control characters and broken text that a stranger's file may hold for the terminal."""
    return ''.join(
        letter if letter.isprintable() or letter == '\n' else letter.encode('unicode_escape').decode()
        for letter in text
    )
