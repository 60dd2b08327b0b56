"""What the paper prints, read from configs/cm_masksd/paper_tables.yml. Configs and README are compared with it; nothing
there is read from them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import yaml

FILE = Path(__file__).resolve().parents[1] / 'configs/cm_masksd/paper_tables.yml'
PAPER: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding='utf-8'))
RECIPE = PAPER['recipe']

IMAGE_SIZES, TOKEN_LENGTHS = RECIPE['image_sizes'], RECIPE['token_lengths']
OPTIMIZER, LEARNING_RATE, WEIGHT_DECAY = RECIPE['optimizer'], RECIPE['learning_rate'], RECIPE['weight_decay']
BETAS = tuple(RECIPE['betas'])
BATCH_SIZE, EPOCHS, WARM_UP_EPOCHS = RECIPE['batch_size'], RECIPE['epochs'], RECIPE['warm_up_epochs']
THRESHOLD, MEAN_WORDS, INITIALISED_BY = RECIPE['threshold'], RECIPE['mean_words'], RECIPE['initialised_by']
CRIS_NECK = {**PAPER['cris_neck'], 'out_channels': tuple(PAPER['cris_neck']['out_channels'])}
CRIS_DECODER = PAPER['cris_decoder']
SPLITS = {dataset: (split['split_by'], split['names']) for dataset, split in PAPER['splits'].items()}
TABLE_1 = {(row['tower'], row['dataset']): tuple(row['scores'].values()) for row in PAPER['table_1']['rows']}


class Branch(NamedTuple):
    """A branch's alpha, TopK and loss weight, as Tables 3 and 4 print them in one row."""

    mask_ratio: float
    top_k: float
    loss_weight: float


class Row(NamedTuple):
    """A row of Tables 2 to 5 on RefCOCO's validation set."""

    table: str
    config: str
    lmvsd: Branch | None
    vmlsd: Branch | None
    shared: bool
    scores: tuple[float, ...]  # of METRICS


METRICS = tuple(PAPER['metrics'])
LMVSD, VMLSD = Branch(**PAPER['final']['lmvsd']), Branch(**PAPER['final']['vmlsd'])
ABLATIONS = [
    Row(
        name,
        row['config'],
        *(Branch(**row[branch]) if row[branch] else None for branch in ('lmvsd', 'vmlsd')),
        row['shared'],
        tuple(row['scores']),
    )
    for name, table in PAPER['ablations'].items()
    for row in table['rows']
]
