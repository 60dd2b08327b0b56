"""RefShapes' benchmark: more pictures, on photographed grounds, with harder scenes and a split of words never trained
on.

``scenes`` draws scenes with look-alikes, ``photographs`` and ``painting`` give them their look, ``words`` holds how
training and the held-out split speak, ``speaking`` chooses what is said, ``pictures`` does all this for one picture and
``making`` for the folder. The card is docs/refshapes.md.
"""

from cmmasksd.datasets.refshapes.benchmark.making import DATASET, make_refshapes_benchmark

__all__ = ['DATASET', 'make_refshapes_benchmark']
