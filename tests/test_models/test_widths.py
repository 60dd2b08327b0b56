"""Parts that do not fit one another are told from one another when they are put together."""

from __future__ import annotations

import pytest

from cmmasksd.registry import MODELS


@pytest.mark.parametrize(
    ('part', 'setting', 'value', 'message'),
    [
        ('neck', 'in_channels', (16, 24, 8), r'neck.in_channels=\(16, 24, 8\) does not fit model.backbone, which'),
        ('neck', 'text_channels', 9, r'neck.text_channels=9 .*model.text_encoder.*set model.neck.text_channels=8\.'),
        ('decode_head', 'text_channels', 9, r'set model.decode_head.text_channels=8\.'),
        ('decode_head', 'word_channels', 8, r'set model.decode_head.word_channels=24\.'),
        ('decode_head', 'channels', 32, r'does not fit model.neck, which gives 16: set model.decode_head.channels=16'),
    ],
)
def test_widths_that_do_not_fit_are_told_with_the_mend(tiny_config, part, setting, value, message) -> None:
    config = tiny_config()
    config[part][setting] = value
    with pytest.raises(ValueError, match=message):
        MODELS.build(config)
