"""RefShapes: a synthetic referring set in REFER's own on-disk format, for tests and for a quick start on a small
machine.

A picture holds three to six shapes that differ in kind, colour, size and texture and overlap moderately. Each
expression names one of them by its attributes ("the small red circle"), its place ("leftmost star") or its relation to
another ("circle above the blue square"), and is true of exactly one shape in the picture.

``scenes`` draws what lies where, ``viewing`` tells what is visible of it, ``expressions`` holds the meaning of
expressions, ``speaking`` chooses them and puts them into words, ``painting`` paints, ``records`` writes it all down as
REFER does, ``pictures`` does all this for one picture and ``making`` for the folder.
"""

from cmmasksd.datasets.refshapes.making import make_refshapes

__all__ = ['make_refshapes']
