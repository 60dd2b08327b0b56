from __future__ import annotations

from collections import Counter
from itertools import combinations

import pytest
import torch

from cmmasksd.models.distillation.correlation import choose_masked, correlate, mask_tokens


def test_correlation_is_the_dot_product():
    query, tokens = torch.randn(3, 5), torch.randn(3, 7, 5)
    scores = correlate(query.clone().requires_grad_(), tokens.clone().requires_grad_())
    assert not scores.requires_grad
    expected = [[float(torch.dot(query[row], tokens[row, place])) for place in range(7)] for row in range(3)]
    torch.testing.assert_close(scores, torch.tensor(expected))


# Python's own round() is what is asked for: half to even, and at least one.
@pytest.mark.parametrize('count', [1, 2, 3, 5, 6, 9, 10, 15, 20, 50, 196, 900, 1296, 1444])
@pytest.mark.parametrize(
    ('top_k', 'ratio'),
    [
        (0.5, 0.25),
        (0.5, 0.1),
        (0.25, 0.5),
        (0.1, 0.75),
        (1, 0.05),
        (0.5, 1),
        (1, 1),
        (0.01, 0.01),
        (0.3, 0.35),
        (0.7, 0.15),
    ],
)
def test_counts_and_candidates(count, top_k, ratio):
    candidates = max(1, round(top_k * count))
    drawn = max(1, round(ratio * candidates))
    scores = torch.randn(4, count)
    masked = choose_masked(scores, top_k, ratio)
    assert masked.dtype == torch.bool and masked.shape == scores.shape
    assert masked.sum(dim=1).tolist() == [drawn] * 4
    best = scores.argsort(dim=1, descending=True)[:, :candidates]
    for row in range(4):
        assert set(masked[row].nonzero().flatten().tolist()) <= set(best[row].tolist())


@pytest.mark.parametrize(
    ('top_k', 'ratio', 'count', 'candidates', 'drawn'),
    [
        (0.5, 0.25, 1296, 648, 162),  # the final setting on a grid of 36 x 36
        (0.5, 0.25, 1444, 722, 180),  # 38 x 38: 180.5 goes to the even neighbour
        (0.5, 0.1, 5, 2, 1),  # 2.5 to 2, and at least one of 0.2
        (0.5, 0.1, 3, 2, 1),  # 1.5 to 2
        (0.5, 0.1, 1, 1, 1),  # 0.5 to 0, but at least one
    ],
)
def test_counts_by_hand(top_k, ratio, count, candidates, drawn):
    scores = torch.arange(count, dtype=torch.float).flip(0)[None]  # the best come first
    reached = set()
    for _ in range(30):
        places = choose_masked(scores, top_k, ratio)[0].nonzero().flatten().tolist()
        assert len(places) == drawn
        assert max(places) < candidates
        reached.update(places)
    assert len(reached) >= min(candidates, 3 * drawn) // 2


def test_only_valid_positions_count_and_are_masked():
    scores = torch.tensor([[9.0, 1, 2, 3, 4, 8], [9, 8, 7, 6, 5, 4], [1, 2, 3, 4, 5, 6]])
    valid = torch.tensor([[0, 1, 1, 1, 1, 0], [0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 0]], dtype=torch.bool)
    counts = Counter()
    for _ in range(200):
        masked = choose_masked(scores, 0.5, 0.5, valid=valid)
        assert not (masked & ~valid).any()
        assert masked.sum(dim=1).tolist() == [1, 1, 0]  # T = 2, 1 and none: a row without word tokens stays as it is
        assert masked[1, 3]
        counts.update(masked[0].nonzero().flatten().tolist())
    assert set(counts) == {3, 4}  # the two best of the valid four
    assert 70 <= counts[3] <= 130


def test_valid_scores_below_the_invalid_ones():
    scores, valid = torch.full((1, 5), -1e30), torch.tensor([[False, True, True, False, True]])
    scores[0, 0] = 1e30
    assert choose_masked(scores, 1, 1, valid=valid).tolist() == valid.tolist()


def test_equal_scores_and_half_precision():
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        masked = choose_masked(torch.zeros(2, 10, dtype=dtype), 0.5, 1)
        assert masked.sum(dim=1).tolist() == [5, 5]


@pytest.mark.parametrize(('ratio', 'count'), [(0.1, 3), (0.25, 3), (0.1, 20), (0.75, 6), (0.35, 8)])
def test_stochastic_rounding_keeps_the_mean(ratio, count):
    masked = choose_masked(torch.randn(4000, count), 0.5, ratio, rounding='stochastic').sum(dim=1).float()
    exact = ratio * max(1, round(0.5 * count))
    assert set(masked.tolist()) <= {float(int(exact)), float(int(exact) + 1)}
    assert abs(masked.mean().item() - exact) < 0.035  # four standard deviations of a coin's mean


def test_a_whole_number_is_not_rounded():
    assert choose_masked(torch.randn(500, 20), 0.5, 0.5, rounding='stochastic').sum(dim=1).tolist() == [5] * 500


@pytest.mark.parametrize('rounding', ['nearest', 'stochastic'])
def test_a_generator_reproduces(rounding):
    scores = torch.randn(4, 50)
    draws = [
        choose_masked(scores, 0.5, 0.3, generator=torch.Generator().manual_seed(seed), rounding=rounding)
        for seed in (5, 5, 6)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    state = torch.get_rng_state()
    choose_masked(scores, 0.5, 0.3, generator=torch.Generator(), rounding=rounding)
    assert torch.equal(torch.get_rng_state(), state)  # the global generator is left alone


def test_every_subset_is_equally_likely():
    scores = torch.tensor([5.0, 0, 4, 3, 0, 2]).expand(6000, 6)
    masked = choose_masked(scores, 4 / 6, 0.5)
    counts = Counter(tuple(row.nonzero().flatten().tolist()) for row in masked)
    assert set(counts) == set(combinations((0, 2, 3, 5), 2))
    assert all(abs(count - 1000) < 150 for count in counts.values())  # five standard deviations


def test_rows_are_drawn_apart():
    masked = choose_masked(torch.arange(20.0).expand(8, 20), 1, 0.5)
    assert len({tuple(row.tolist()) for row in masked}) == 8


@pytest.mark.parametrize(('top_k', 'ratio'), [(0, 0.5), (0.5, 0), (-0.1, 0.5), (1.1, 0.5), (0.5, 25)])
def test_shares_out_of_bounds(top_k, ratio):
    with pytest.raises(ValueError, match=r'shares in \(0, 1\]'):
        choose_masked(torch.randn(1, 4), top_k, ratio)


def test_unknown_rounding():
    with pytest.raises(ValueError, match="got 'up'"):
        choose_masked(torch.randn(1, 4), 0.5, 0.5, rounding='up')


def test_masked_tokens_are_replaced_and_learn():
    tokens, token = torch.randn(2, 3, 4, requires_grad=True), torch.randn(4, requires_grad=True)
    masked = torch.tensor([[True, False, False], [False, True, True]])
    out = mask_tokens(tokens, masked, token)
    for row in range(2):
        for place in range(3):
            assert torch.equal(out[row, place], token if masked[row, place] else tokens[row, place])
    out.sum().backward()
    assert token.grad.tolist() == [3.0] * 4
    assert torch.equal(tokens.grad, (~masked)[..., None].expand(2, 3, 4).float())


def test_a_masked_token_takes_the_tokens_type():
    out = mask_tokens(torch.randn(1, 2, 4).bfloat16(), torch.tensor([[True, False]]), torch.randn(4))
    assert out.dtype == torch.bfloat16
