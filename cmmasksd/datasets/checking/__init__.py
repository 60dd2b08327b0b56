"""Checks a folder in REFER's format before anyone trains, and reports all problems, not the first.

``annotations`` walks the records by the reader's own rules, ``sentences`` looks at them as CLIP's tokenizer does,
``overlap`` compares splits, ``images`` decodes every picture in worker processes by ``decoding``; ``report`` keeps what
they find and ``printing`` puts it on a terminal.
"""

from cmmasksd.datasets.checking.folder import check_refer
from cmmasksd.datasets.checking.printing import describe
from cmmasksd.datasets.checking.report import Report

__all__ = ['Report', 'check_refer', 'describe']
