"""Labelling with a model's help: Label Studio's backend, its tasks and exports, and FiftyOne.

``labelling`` reads a project's config, ``brush`` its masks. ``server`` speaks to Label Studio for ``backend``, which
asks the model about what ``pictures`` reads. ``tasks`` makes labelled tasks of predictions, ``exports`` a table of what
annotators made, ``fifty_one`` a data set to look at.
"""

from cmmasksd.annotation.command import main

__all__ = ['main']
