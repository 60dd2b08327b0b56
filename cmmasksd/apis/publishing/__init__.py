"""From a training's checkpoint to a published model (:mod:`cmmasksd.published`), and a test of one."""

from cmmasksd.apis.publishing.testing import use_published
from cmmasksd.apis.publishing.writing import write_published

__all__ = ['use_published', 'write_published']
