"""What is not needed is not imported: told by the modules that are there, not by time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FRAMEWORKS = ('torch', 'mmengine', 'mmcv', 'mmseg', 'open_clip', 'cv2')


@pytest.mark.parametrize(
    ('module', 'absent'),
    [
        ('cmmasksd', FRAMEWORKS),
        (
            'cmmasksd.registry',
            ('open_clip', 'mmseg', 'mmcv', 'pycocotools', 'cmmasksd.models', 'cmmasksd.datasets', 'cmmasksd.engine'),
        ),
        ('cmmasksd.datasets', ('open_clip', 'torchvision', 'cmmasksd.models')),
        ('cmmasksd.datasets.transforms', ('open_clip', 'torchvision', 'cmmasksd.models')),
        ('cmmasksd.published', ('open_clip', 'timm', 'cmmasksd.models', 'cmmasksd.datasets')),
        ('cmmasksd.engine', ('open_clip', 'torchvision', 'cmmasksd.models', 'cmmasksd.datasets')),
    ],
)
def test_a_room_brings_no_more_than_it_needs(module: str, absent: tuple[str, ...]) -> None:
    code = f'import sys, {module}; print(*sys.modules)'
    loaded = set(
        subprocess.run(
            [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split()
    )
    assert module in loaded
    assert not loaded & set(absent)
