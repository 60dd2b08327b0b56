from __future__ import annotations

import pytest
import torch
from mmengine.model import revert_sync_batchnorm
from torch import nn

from cmmasksd.models.convolutions import ConvBNReLU
from cmmasksd.models.layers import (
    BatchNorm,
    MultiheadAttention,
    frozen_statistics,
    joint_statistics,
    use_fused_attention,
)

# --- attention --------------------------------------------------------------------------------------------------------


def pair(train: bool, **widths: int) -> tuple[nn.MultiheadAttention, MultiheadAttention]:
    """torch's attention and ours, with the same weights; biases are not left at zero."""
    theirs = nn.MultiheadAttention(16, 4, batch_first=True, **widths)
    nn.init.normal_(theirs.in_proj_bias)
    nn.init.normal_(theirs.out_proj.bias)
    ours = MultiheadAttention(16, 4, **widths)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return theirs.train(train), ours.train(train)


def masks_of(kind: str, queries: int, keys: int) -> dict[str, torch.Tensor]:
    """torch's arguments for one kind of mask."""
    causal = torch.ones(queries, keys, dtype=torch.bool).triu(1)
    padding = torch.arange(keys) >= torch.tensor([keys, keys - 2, 1])[:, None]
    return {
        'none': {},
        'float': dict(attn_mask=torch.zeros(queries, keys).masked_fill(causal, float('-inf'))),
        'additive': dict(attn_mask=torch.randn(queries, keys)),
        'bool': dict(attn_mask=causal),
        'padding': dict(key_padding_mask=padding),
    }[kind]


@pytest.mark.parametrize('train', [True, False])
@pytest.mark.parametrize('mask', ['none', 'float', 'additive', 'bool', 'padding'])
@pytest.mark.parametrize('widths', [dict(), dict(kdim=12, vdim=20)])
def test_attention_equals_torch(train, mask, widths):
    theirs, ours = pair(train, **widths)
    query, key, value = (
        torch.randn(3, 5, 16),
        torch.randn(3, 7, widths.get('kdim', 16)),
        torch.randn(3, 7, widths.get('vdim', 16)),
    )
    options = masks_of(mask, 5, 7)
    expected, _ = theirs(query, key, value, need_weights=False, **options)
    attended, weights = ours(query, key, value, **options)
    assert weights is None
    torch.testing.assert_close(attended, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('train', [True, False])
@pytest.mark.parametrize('mask', ['none', 'float', 'bool', 'padding'])
def test_self_attention_equals_torch(train, mask):
    theirs, ours = pair(train)
    x = torch.randn(3, 6, 16)
    options = masks_of(mask, 6, 6)
    torch.testing.assert_close(
        ours(x, x, x, **options)[0], theirs(x, x, x, need_weights=False, **options)[0], rtol=1e-5, atol=1e-5
    )


def test_gradients_equal_torch():
    theirs, ours = pair(True, kdim=12, vdim=12)
    query, words = torch.randn(3, 5, 16), torch.randn(3, 7, 12)
    for attention in (theirs, ours):
        attention(query, words, words, **masks_of('padding', 5, 7), need_weights=False)[0].square().sum().backward()
    gradients = dict(theirs.named_parameters())
    assert len(gradients) == 6
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name].grad, rtol=1e-4, atol=1e-5)


def test_the_legacy_fast_path_is_never_taken(monkeypatch):
    theirs, ours = pair(False)
    x = torch.randn(2, 6, 16)

    def fail(*arguments, **options):
        raise AssertionError('the legacy fast path was taken')

    monkeypatch.setattr(torch, '_native_multi_head_attention', fail)
    with torch.no_grad():
        with pytest.raises(AssertionError, match='legacy'):
            theirs(x, x, x, need_weights=False)  # the trap is set where torch would step into it
        ours(x, x, x)


def test_dropout_is_for_training_alone():
    attention = MultiheadAttention(16, 4, dropout=0.5)
    x = torch.randn(2, 6, 16)
    assert not torch.equal(attention(x, x, x)[0], attention(x, x, x)[0])
    attention.eval()
    assert torch.equal(attention(x, x, x)[0], attention(x, x, x)[0])


def test_weights_cannot_be_had():
    x = torch.randn(1, 2, 16)
    with pytest.raises(ValueError, match='need_weights=False'):
        MultiheadAttention(16, 4)(x, x, x, need_weights=True)


def test_a_tower_is_switched_in_place():
    tower = nn.TransformerEncoderLayer(16, 4, batch_first=True)
    names = {name: parameter.data_ptr() for name, parameter in tower.named_parameters()}
    use_fused_attention(tower)
    assert type(tower.self_attn) is MultiheadAttention
    assert {name: parameter.data_ptr() for name, parameter in tower.named_parameters()} == names


# --- batch norm -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('shape', [(6, 5), (3, 5, 4, 2), (1, 5, 4, 2)])
def test_batch_norm_equals_torch(shape):
    theirs = (nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d)(5)
    nn.init.normal_(theirs.weight)
    nn.init.normal_(theirs.bias)
    ours = BatchNorm(5)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    for _ in range(3):
        x = torch.randn(shape) * 3 + 1
        torch.testing.assert_close(ours(x), theirs(x))
    assert ours.num_batches_tracked == 3
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)
    x = torch.randn(shape)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x))


@pytest.mark.parametrize('shape', [(1, 5), (1, 5, 1, 1)])
def test_one_value_per_channel_uses_the_running_statistics(shape):
    norm = BatchNorm(5)
    norm.running_mean.normal_()
    norm.running_var.uniform_(1, 2)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    x = torch.randn(shape, requires_grad=True)
    with pytest.raises(ValueError, match='more than 1 value'):
        (nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d)(5)(x)
    out = norm.train()(x)
    torch.testing.assert_close(out, norm.eval()(x))
    out.sum().backward()
    assert x.grad.abs().min() > 0
    for name, value in norm.state_dict().items():
        assert torch.equal(value, before[name])


def test_batch_norm_survives_mmengines_conversion():
    block = nn.Sequential(ConvBNReLU(3, 4, 3), nn.SyncBatchNorm(4))
    block = revert_sync_batchnorm(block)
    assert type(block[0][1]) is BatchNorm
    assert not isinstance(block[1], nn.SyncBatchNorm)  # the conversion did happen


def test_batch_norm_refuses_a_vector():
    with pytest.raises(ValueError, match=r'\(E, C, ...\)'):
        BatchNorm(5)(torch.randn(5))


def test_frozen_statistics_leave_the_buffers_alone():
    block = nn.Sequential(ConvBNReLU(3, 4, 3), nn.BatchNorm2d(4))
    x = torch.randn(2, 3, 5, 5)
    before = {name: value.clone() for name, value in block.state_dict().items()}
    with frozen_statistics(block):
        frozen = block(x)
    for name, value in block.state_dict().items():
        assert torch.equal(value, before[name]), name
    torch.testing.assert_close(block(x), frozen, rtol=0, atol=0)  # numbers are those of the batch all the same
    assert not torch.equal(block[0][1].running_mean, before['0.1.running_mean'])


def test_frozen_statistics_are_restored_after_an_exception():
    block = nn.Sequential(BatchNorm(4), nn.BatchNorm2d(4, track_running_stats=False))
    with pytest.raises(RuntimeError, match='half-way'), frozen_statistics(block):
        assert not block[0].track_running_stats
        raise RuntimeError('half-way')
    assert block[0].track_running_stats
    assert not block[1].track_running_stats


def test_frozen_statistics_change_nothing_in_evaluation():
    norm = BatchNorm(4).eval()
    norm.running_mean.normal_()
    x = torch.randn(2, 4, 3, 3)
    with frozen_statistics(norm):
        torch.testing.assert_close(norm(x), nn.functional.batch_norm(x, norm.running_mean, norm.running_var))


@pytest.mark.parametrize('shape', [(4, 5), (4, 5, 3, 2), (1, 5), (1, 5, 3, 2)], ids=str)
def test_joint_statistics_normalise_each_branch_by_itself(shape):
    joint, alone = BatchNorm(5), BatchNorm(5)
    for norm in (joint, alone):
        torch.manual_seed(2)
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
        norm.running_mean.normal_()
    branches = [torch.randn(shape) * scale + scale for scale in (1.0, 3.0, 0.2)]
    with joint_statistics(3, joint):
        outputs = joint(torch.cat(branches)).chunk(3)
    expected = [alone(branches[0])]
    with frozen_statistics(alone):
        expected += [alone(branch) for branch in branches[1:]]
    for output, value in zip(outputs, expected, strict=True):
        torch.testing.assert_close(output, value)
    for name, buffer in alone.named_buffers():
        torch.testing.assert_close(joint.get_buffer(name), buffer, msg=name)
    assert joint.branches == 1


def test_joint_statistics_refuse_foreign_norms_and_change_nothing_in_evaluation():
    norm, x = BatchNorm(4).eval(), torch.randn(6, 4, 3, 3)
    norm.running_mean.normal_()
    with joint_statistics(3, norm):
        torch.testing.assert_close(norm(x), nn.functional.batch_norm(x, norm.running_mean, norm.running_var))
    with (
        pytest.raises(ValueError, match='BatchNorm2d would mix'),
        joint_statistics(2, nn.Sequential(nn.BatchNorm2d(4))),
    ):
        pass
