"""Weights that are none are told before they answer anything."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cmmasksd.checkpoints import CheckpointError, load_weights


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
@pytest.mark.parametrize('name', ['0.weight', '1.running_var'])
def test_weights_that_are_not_finite_are_refused(name: str, value: float) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    load_weights(model, dict(state_dict=state), 'last.pth')
    state[name].view(-1)[0] = value
    with pytest.raises(CheckpointError, match=f'last.pth holds 1 weights that are NaN or infinite, such as {name}'):
        load_weights(model, dict(state_dict=state), 'last.pth')
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())
