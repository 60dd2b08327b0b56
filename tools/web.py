"""Serves a web page where one asks a model about pictures: python tools/web.py [--weights CHECKPOINT]"""

from __future__ import annotations

from cmmasksd.web import main

if __name__ == '__main__':
    main()
