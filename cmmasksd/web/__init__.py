"""The web page: a picture and sentences go in, masks come out, in a browser. Nothing of it needs a network."""

from cmmasksd.web.command import main

__all__ = ['main']
