"""What the paper prints, transcribed once: Tables 1 to 5 and Sec. 4.2 (https://arxiv.org/abs/2305.11481). Configs and
README are compared with it; nothing here is read from them.
"""

from __future__ import annotations

from typing import NamedTuple

# Sec. 4.2. The betas are not printed: Adam's own.
IMAGE_SIZES = {'vit-b': 576, 'vit-l': 532, 'ablations': 480}
TOKEN_LENGTHS = {'refcoco': 17, 'refcoco+': 17, 'refcocog': 22}
OPTIMIZER, LEARNING_RATE, WEIGHT_DECAY, BETAS = 'Adam', 1e-5, 5e-4, (0.9, 0.999)
BATCH_SIZE, EPOCHS, WARM_UP_EPOCHS = 32, 100, 10  # then a cosine
THRESHOLD = 0.35
INITIALISED_BY = {'vit-b': 'ViT-B-16-quickgelu', 'vit-l': 'ViT-L-14-quickgelu'}  # CLIP, as OpenAI trained it
MEAN_WORDS = 3.6  # of RefCOCO's expressions, Sec. 4.1

# Sec. 3.1: neck and decoder follow CRIS (its config and code).
CRIS_NECK = dict(out_channels=(256, 512, 1024))
CRIS_DECODER = dict(channels=512, num_layers=3, num_heads=8, feedforward_channels=2048, dropout=0.1)

# Sec. 4.1: evaluated on these; G-Ref in the UMD partition.
SPLITS = {
    'refcoco': ('unc', ['val', 'testA', 'testB']),
    'refcoco+': ('unc', ['val', 'testA', 'testB']),
    'refcocog': ('umd', ['val', 'test']),
}

# Table 1, IoU.
TABLE_1 = {
    ('vit-b', 'refcoco'): (72.18, 75.21, 67.91),
    ('vit-b', 'refcoco+'): (64.47, 69.29, 56.55),
    ('vit-b', 'refcocog'): (62.67, 62.69),
    ('vit-l', 'refcoco'): (74.89, 77.54, 71.28),
    ('vit-l', 'refcoco+'): (67.47, 71.80, 59.91),
    ('vit-l', 'refcocog'): (66.53, 66.63),
}


class Branch(NamedTuple):
    """A branch's alpha, TopK and loss weight, as Tables 3 and 4 print them in one row."""

    mask_ratio: float
    top_k: float
    loss_weight: float


class Row(NamedTuple):
    """A row of Tables 2 to 5 on RefCOCO's validation set."""

    table: str
    lmvsd: Branch | None
    vmlsd: Branch | None
    shared: bool
    scores: tuple[float, float, float, float]  # Pr@0.5, Pr@0.7, Pr@0.9, IoU


LMVSD, VMLSD = Branch(0.25, 0.5, 0.75), Branch(0.1, 0.5, 0.1)  # the final setting, Sec. 4.4

# Tables 2 to 4 do not print who shares weights; the single branches' rows are Table 5's rows without sharing.
ABLATIONS = [
    Row('2', None, None, False, (82.73, 70.82, 17.99, 70.45)),
    Row('2', LMVSD, None, False, (83.90, 73.54, 20.08, 71.45)),
    Row('2', None, VMLSD, False, (83.09, 71.77, 18.64, 70.98)),
    Row('2', LMVSD, VMLSD, True, (83.29, 73.15, 21.45, 71.68)),
    Row('3a', Branch(0.25, 0.5, 0.1), None, False, (83.20, 71.88, 19.40, 70.93)),
    Row('3a', Branch(0.25, 0.5, 0.25), None, False, (83.73, 73.03, 19.74, 71.36)),
    Row('3a', Branch(0.25, 0.5, 0.5), None, False, (83.51, 72.61, 19.13, 71.17)),
    Row('3a', Branch(0.25, 0.5, 0.75), None, False, (83.90, 73.54, 20.08, 71.45)),
    Row('3a', Branch(0.25, 0.5, 1.0), None, False, (82.63, 72.53, 20.79, 70.72)),
    Row('3b', Branch(0.1, 0.5, 0.75), None, False, (83.18, 73.39, 19.83, 71.12)),
    Row('3b', Branch(0.25, 0.5, 0.75), None, False, (83.90, 73.54, 20.08, 71.45)),
    Row('3b', Branch(0.5, 0.5, 0.75), None, False, (83.37, 73.34, 20.27, 71.24)),
    Row('3b', Branch(0.75, 0.5, 0.75), None, False, (82.78, 72.64, 20.00, 70.79)),
    Row('3c', Branch(0.25, 0.25, 0.75), None, False, (83.21, 73.41, 20.61, 71.09)),
    Row('3c', Branch(0.25, 0.5, 0.75), None, False, (83.90, 73.54, 20.08, 71.45)),
    Row('3c', Branch(0.25, 0.75, 0.75), None, False, (82.88, 73.13, 19.68, 70.93)),
    Row('3c', Branch(0.25, 1.0, 0.75), None, False, (83.08, 73.13, 20.77, 71.01)),
    Row('4a', None, Branch(0.1, 0.5, 0.05), False, (82.76, 71.78, 18.73, 70.58)),
    Row('4a', None, Branch(0.1, 0.5, 0.1), False, (83.09, 71.77, 18.64, 70.98)),
    Row('4a', None, Branch(0.1, 0.5, 0.25), False, (83.02, 71.40, 18.69, 70.41)),
    Row('4a', None, Branch(0.1, 0.5, 0.5), False, (82.34, 70.86, 18.52, 70.02)),
    Row('4a', None, Branch(0.1, 0.5, 0.75), False, (81.12, 69.92, 18.17, 69.47)),
    Row('4a', None, Branch(0.1, 0.5, 1.0), False, (81.07, 70.25, 17.76, 69.28)),
    Row('4b', None, Branch(0.05, 0.5, 0.1), False, (83.26, 71.93, 18.52, 70.71)),
    Row('4b', None, Branch(0.1, 0.5, 0.1), False, (83.09, 71.77, 18.64, 70.98)),
    Row('4b', None, Branch(0.25, 0.5, 0.1), False, (82.72, 71.11, 18.17, 70.43)),
    Row('4b', None, Branch(0.5, 0.5, 0.1), False, (82.82, 71.92, 17.97, 70.51)),
    Row('4b', None, Branch(0.75, 0.5, 0.1), False, (82.67, 71.31, 18.24, 70.54)),
    Row('4c', None, Branch(0.1, 0.25, 0.1), False, (83.22, 72.12, 18.18, 70.68)),
    Row('4c', None, Branch(0.1, 0.5, 0.1), False, (83.09, 71.77, 18.64, 70.98)),
    Row('4c', None, Branch(0.1, 0.75, 0.1), False, (82.66, 71.09, 18.07, 70.23)),
    Row('4c', None, Branch(0.1, 1.0, 0.1), False, (82.92, 71.66, 18.32, 70.57)),
    Row('5', None, None, False, (82.73, 70.82, 17.99, 70.45)),
    Row('5', LMVSD, None, False, (83.90, 73.54, 20.08, 71.45)),
    Row('5', LMVSD, None, True, (83.47, 73.02, 18.53, 71.13)),
    Row('5', None, VMLSD, False, (83.09, 71.77, 18.64, 70.98)),
    Row('5', None, VMLSD, True, (83.29, 71.80, 18.28, 70.88)),
    Row('5', LMVSD, VMLSD, False, (83.26, 72.24, 19.03, 71.26)),
    Row('5', LMVSD, VMLSD, True, (83.29, 73.15, 21.45, 71.68)),
]
