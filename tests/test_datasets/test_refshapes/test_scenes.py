"""What RefShapes' scenes are made of looks like what it is called."""

from __future__ import annotations

import colorsys

import pytest

from cmmasksd.datasets.refshapes.scenes import COLOURS

# degrees on the colour wheel, around which people use each name
HUES = {'red': 0, 'orange': 30, 'yellow': 56, 'green': 130, 'blue': 225, 'purple': 285}


@pytest.mark.parametrize('name', COLOURS)
def test_a_colour_has_the_hue_of_its_name(name: str) -> None:
    hue, saturation, _ = colorsys.rgb_to_hsv(*(level / 255 for level in COLOURS[name]))
    assert abs((360 * hue - HUES[name] + 180) % 360 - 180) < 15
    assert saturation > 0.6
