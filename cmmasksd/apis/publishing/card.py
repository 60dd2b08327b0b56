"""The model card: what the hub shows of a published model. It says what is known, and that the rest is not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config

import cmmasksd
from cmmasksd.apis.publishing.results import COUNT, METRICS, Results, describe_data
from cmmasksd.published.architectures import fetched_configs

PAPER = 'https://arxiv.org/abs/2305.11481'
BODY = """\
# {name}

Referring image segmentation: a picture and a sentence go in, the mask of the one object that is meant comes out. A
[CM-MaskSD]({paper}) model of cmmasksd {version}.

- Towers: {architecture}
- Input: pictures brought to {size}, sentences of at most {tokens} tokens
- A pixel whose probability is above {threshold} belongs to the object

## How to load it

```python
from cmmasksd.apis import ReferringInferencer

inferencer = ReferringInferencer.from_pretrained('{name}')  # a folder, or owner/{name} on the hub
(result,) = inferencer('zebras.jpg', ['left zebra', 'the tree'])
result.masks  # (2, height, width) bool
```

The weights are safetensors and `config.json` is plain JSON: loading runs no code of this repository, and refuses
weights that are not exactly the model's. {needs}

## Results

{results}

## Data

{data}

## Intended use

Finding the one object that a sentence means in a photograph, for research and for tools that a person looks at. It
always draws a mask: a sentence that means nothing in the picture, or several things, gets one too. It has learned the
descriptions, languages and mistakes of its training data. It is not meant to identify people, to watch them, or to
decide anything on its own.

## Licence

{licence}
"""


def write_card(
    path: Path, name: str, content: Mapping[str, Any], cfg: Config, measured: Results, license: str | None
) -> None:
    """Writes a ``README.md`` with the header that the hub expects.

    Args:
        path: of the card.
        name: of the model.
        content: of its ``config.json``.
        cfg: of its training, which names the data.
        measured: metrics by split.
        license: as the hub names it; None: not known.
    """
    steps = {step['type'].rsplit('.')[-1]: step for step in content['pipeline']}
    trained, scored = (describe_data(cfg, f'{loader}_dataloader') for loader in ('train', 'test'))
    data = ', '.join(trained)
    body = BODY.format(
        name=name,
        paper=PAPER,
        version=cmmasksd.__version__,
        architecture=_architecture(content['model']),
        size='x'.join(map(str, steps.get('LetterboxResize', {}).get('size', ['its own size']))),
        tokens=steps.get('TokenizeExpressions', {}).get('token_length', 17),
        threshold=content['threshold'],
        needs=_needs(content['model']),
        results=_table(measured, ', '.join(scored)),
        data=f'Trained on {data}.' if trained else 'Its config does not say what it was trained on.',
        licence=_licence(license),
    )
    header = yaml.safe_dump(_header(name, measured, scored, license), sort_keys=False, allow_unicode=True)
    path.write_text(f'---\n{header}---\n\n{body}', encoding='utf-8')


def _header(name: str, measured: Results, scored: list[str], license: str | None) -> dict[str, Any]:
    header: dict[str, Any] = dict(
        library_name='cmmasksd',
        pipeline_tag='image-segmentation',
        license=license or 'unknown',
        tags=['referring-image-segmentation', 'vision-and-language', 'cm-masksd'],
    )
    results = [
        dict(
            task=dict(type='image-segmentation', name='Referring image segmentation'),
            dataset=dict(type=scored[0].split()[0], name=scored[0], split=split),
            metrics=[dict(type=metric, value=round(values[metric], 2)) for metric in METRICS if metric in values],
        )
        for split, values in measured.items()
        if len(scored) == 1  # the hub wants one name
    ]
    if results:
        header['model-index'] = [dict(name=name, results=results)]
    return header


def _table(measured: Results, data: str) -> str:
    if not measured:
        return 'None were measured of these weights by whoever published them.'
    names = [name for name in (*METRICS, COUNT) if any(name in values for values in measured.values())]
    rows = [
        [split, *('' if name not in values else f'{values[name]:.0f}' if name == COUNT else f'{values[name]:.2f}'
                  for name in names)]
        for split, values in measured.items()
    ]  # fmt: skip
    lines = [['split', *(name.replace('_', ' ') for name in names)], ['---'] * (len(names) + 1), *rows]
    table = '\n'.join(f'| {" | ".join(line)} |' for line in lines)
    return f'Measured on {data or "data that its config does not name"}, in percent:\n\n{table}'


def _architecture(model: Mapping[str, Any]) -> str:
    parts = [model[part] for part in ('backbone', 'text_encoder')]
    named = [
        part.get('architecture') or part.get('backbone', {}).get('name') or part.get('name_or_path') for part in parts
    ]
    said = [f'`{name}`' if isinstance(name, str) else f'`{part["type"]}`' for name, part in zip(named, parts)]
    return f'pictures by {said[0]}, sentences by {said[1]}'


def _needs(model: Mapping[str, Any]) -> str:
    names = fetched_configs(model)
    if not names:
        return 'Nothing else is fetched.'
    listed = ', '.join(f'`{name}`' for name in names)
    return f'The config of {listed} is fetched from the Hugging Face hub (its weights are in this file).'


def _licence(license: str | None) -> str:
    of_weights = f'`{license}`.' if license else 'not said; ask whoever published them.'
    return (
        f'Of these weights: {of_weights}\nThe code is Apache-2.0; the weights that training began with, and the '
        'pictures and sentences that it saw, have licences of their own.'
    )
