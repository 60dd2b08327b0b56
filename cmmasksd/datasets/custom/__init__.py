"""One's own pictures, masks and sentences, listed in a table, made into a set in REFER's format.

``table`` reads the rows, ``sources`` the pictures and masks that they name, ``objects`` joins rows that mean the same
object and divides the pictures among splits, ``publishing`` puts the set in its place, and ``making`` does all this.
``problems`` gathers what is wrong with the rows.
"""

from cmmasksd.datasets.custom.making import make_custom

__all__ = ['make_custom']
