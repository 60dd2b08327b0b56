"""Answers Label Studio with masks: python tools/label_studio.py --weights CHECKPOINT [--images FOLDER]"""

from __future__ import annotations

from cmmasksd.annotation import main

if __name__ == '__main__':
    main()
