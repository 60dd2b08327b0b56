"""The two branches, hung on a tiny segmentor: what they mask, what learns from them and what they leave alone."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from cmmasksd.models import LMVSD, VMLSD
from cmmasksd.registry import MODELS

BRANCHES = ['LMVSD', 'VMLSD']


def branch_of(name: str, **options) -> list[dict]:
    return [dict(type=f'cmmasksd.{name}', **options)]


def preprocess(model, batch, training=True):
    """The segmentor's arguments ``inputs, input_ids, image_index, masks``."""
    data = model.data_preprocessor(batch, training)
    return data['inputs'], data['input_ids'], data['image_index'], data['masks']


def logits_of(model, branch, main):
    """What the segmentor makes of a branch's student, by the branch's own neck and decode head if it has them."""
    return model.segment(branch.student(model, main), branch.neck, branch.decode_head)


def gradient_of(module) -> float:
    return sum(parameter.grad.abs().sum().item() for parameter in module.parameters() if parameter.grad is not None)


@pytest.mark.parametrize('shared', [True, False])
@pytest.mark.parametrize('name', BRANCHES)
def test_gradients_reach_both_encoders_and_not_the_teacher(tiny_model, make_batch, name, shared):
    model = tiny_model(distillation=branch_of(name, shared=shared)).train()
    inputs, ids, index, _ = preprocess(model, make_batch((1, 1)))
    main = model.encode(inputs, ids, index)
    main_logits = model.segment(main)
    main_logits.retain_grad()
    branch = model.distillation[name.lower()]
    branch.loss(logits_of(model, branch, main), main_logits)['loss'].backward()
    assert main_logits.grad is None
    assert gradient_of(model.backbone) > 0
    assert gradient_of(model.text_encoder) > 0
    assert branch.mask_token.grad.abs().sum() > 0
    assert (gradient_of(model.neck) > 0) == (gradient_of(model.decode_head) > 0) == shared
    if not shared:
        assert gradient_of(branch.neck) > 0 and gradient_of(branch.decode_head) > 0


@pytest.mark.parametrize('name', BRANCHES)
def test_gradients_reach_the_teacher_where_asked(tiny_model, make_batch, name):
    model = tiny_model(distillation=branch_of(name, detach_teacher=False)).train()
    inputs, ids, index, _ = preprocess(model, make_batch((1, 1)))
    main = model.encode(inputs, ids, index)
    main_logits = model.segment(main)
    main_logits.retain_grad()
    branch = model.distillation[name.lower()]
    branch.loss(logits_of(model, branch, main), main_logits)['loss'].backward()
    assert main_logits.grad.abs().sum() > 0


@pytest.mark.parametrize('name', BRANCHES)
@pytest.mark.parametrize('weight', [1.0, 0.1])
@torch.no_grad()
def test_the_loss_is_the_weighted_cross_entropy_to_the_main_branch(tiny_model, make_batch, name, weight):
    model = tiny_model(distillation=branch_of(name, loss_weight=weight)).eval()
    inputs, ids, index, _ = preprocess(model, make_batch((2, 1)))
    main = model.encode(inputs, ids, index)
    main_logits, branch = model.segment(main), model.distillation[name.lower()]
    logits = logits_of(model, branch, main)
    teacher = main_logits.sigmoid()
    expected = -(teacher * F.logsigmoid(logits) + (1 - teacher) * F.logsigmoid(-logits)).mean()
    assert logits.shape == main_logits.shape and logits.dtype == torch.float32
    assert not torch.equal(logits, main_logits)
    torch.testing.assert_close(branch.loss(logits, main_logits)['loss'], weight * expected)


@torch.no_grad()
def test_lmvsd_masks_the_correlated_patches_before_positions(tiny_model, make_batch):
    model = tiny_model(distillation=branch_of('LMVSD', top_k=0.5, mask_ratio=0.25)).eval()
    inputs, ids, index, _ = preprocess(model, make_batch((2, 1)))
    main = model.encode(inputs, ids, index)
    seen = []
    visual = model.backbone.visual
    visual.ln_pre.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    branch = model.distillation['lmvsd']
    branch.mask_token.fill_(3)
    branch.student(model, main)
    assert len(seen) == 1
    # (E, N, D): what stood there before positions were added
    embeddings = (seen[0] - visual.positional_embedding)[:, 1:]
    masked = (embeddings - branch.mask_token).abs().amax(dim=2) < 1e-5
    images = torch.tensor([0, 0, 1])
    torch.testing.assert_close(embeddings[~masked], main.patch_embeddings[images][~masked], rtol=1e-4, atol=1e-5)
    assert masked.shape == (3, 24)
    assert masked.sum(dim=1).tolist() == [3, 3, 3]  # T = 12, m = 3
    for row, image in enumerate(images):
        scores = main.visual.patches[image] @ main.text.sentence[row]
        assert set(masked[row].nonzero().flatten().tolist()) <= set(scores.topk(12).indices.tolist())


@torch.no_grad()
def test_lmvsd_encodes_no_sentence_again(tiny_model, make_batch):
    model = tiny_model(distillation=branch_of('LMVSD')).eval()
    inputs, ids, index, _ = preprocess(model, make_batch((2, 1)))
    main, seen = model.encode(inputs, ids, index), []
    model.text_encoder.text.transformer.resblocks[0].register_forward_pre_hook(lambda *_: seen.append(1))
    student = model.distillation['lmvsd'].student(model, main)
    assert student.text is main.text and not seen


@torch.no_grad()
def test_vmlsd_masks_the_correlated_words_before_positions(tiny_model, make_batch):
    model = tiny_model(distillation=branch_of('VMLSD', top_k=0.5, mask_ratio=0.5)).eval()
    inputs, ids, index, _ = preprocess(model, make_batch((7, 6), length=14))
    main = model.encode(inputs, ids, index)
    seen = []
    text = model.text_encoder.text
    text.transformer.resblocks[0].register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    branch = model.distillation['vmlsd']
    branch.mask_token.fill_(3)
    branch.student(model, main)
    assert len(seen) == 1
    embeddings = seen[0] - text.positional_embedding[:14]
    masked = (embeddings - branch.mask_token).abs().amax(dim=2) < 1e-5
    torch.testing.assert_close(embeddings[~masked], main.word_embeddings[~masked], rtol=1e-4, atol=1e-5)
    counts = set()
    for row in range(13):
        words = main.text.word_tokens[row].nonzero().flatten()
        candidates = max(1, round(0.5 * len(words)))
        scores = main.text.tokens[row, words] @ main.visual.pooled[row // 7]
        best = words[scores.topk(candidates).indices].tolist()
        places = masked[row].nonzero().flatten().tolist()
        assert len(places) == max(1, round(0.5 * candidates))
        assert set(places) <= set(best)
        counts.add(len(words))
    assert counts == {1, 2, 3, 4, 5, 6, 7}


@torch.no_grad()
def test_vmlsd_may_mask_the_whole_sequence(tiny_model, make_batch):
    """The paper's N read as all L tokens: T = round(0.5 * 14) = 7, m = round(0.3 * 7) = 2, SOT, EOT and padding too."""
    model = tiny_model(distillation=branch_of('VMLSD', top_k=0.5, mask_ratio=0.3, maskable='sequence')).eval()
    inputs, ids, index, _ = preprocess(model, make_batch((7, 6), length=14))
    main = model.encode(inputs, ids, index)
    branch, seen, others = model.distillation['vmlsd'], [], 0
    model.text_encoder.text.transformer.resblocks[0].register_forward_pre_hook(
        lambda module, arguments: seen.append(arguments[0])
    )
    branch.mask_token.fill_(3)
    for _ in range(10):
        branch.student(model, main)
        embeddings = seen.pop() - model.text_encoder.text.positional_embedding[:14]
        masked = (embeddings - branch.mask_token).abs().amax(dim=2) < 1e-5
        assert masked.sum(dim=1).tolist() == [2] * 13
        for row in range(13):
            scores = main.text.tokens[row] @ main.visual.pooled[row // 7]
            assert set(masked[row].nonzero().flatten().tolist()) <= set(scores.topk(7).indices.tolist())
        others += (masked & ~main.text.word_tokens).sum().item()
    assert others > 0


@pytest.mark.parametrize(
    ('name', 'options', 'message'),
    [
        ('VMLSD', dict(maskable='tokens'), "maskable is 'words' or 'sequence', got 'tokens'"),
        ('LMVSD', dict(top_k=0), 'shares in'),
        ('VMLSD', dict(mask_ratio=25), 'shares in'),
        ('LMVSD', dict(rounding='up'), "rounding is 'nearest' or 'stochastic', got 'up'"),
        ('VMLSD', dict(loss_weight=-0.1), 'loss_weight must be a number of at least 0, got -0.1'),
        ('LMVSD', dict(loss_weight=float('nan')), 'loss_weight must be a number of at least 0, got nan'),
    ],
)
def test_settings_that_make_no_sense(name, options, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(type=f'cmmasksd.{name}', embed_dims=dict(image=4, text=4), **options))


@torch.no_grad()
def test_vmlsd_leaves_a_sentence_without_words(tiny_model, make_batch):
    model = tiny_model(distillation=branch_of('VMLSD')).eval()
    inputs, ids, index, _ = preprocess(model, make_batch((1, 1)))
    ids[1] = 0
    ids[1, :2] = torch.tensor([49406, 49407])
    main = model.encode(inputs, ids, index)
    torch.testing.assert_close(logits_of(model, model.distillation['vmlsd'], main)[1], model.segment(main)[1])


@pytest.mark.parametrize('name', BRANCHES)
def test_an_own_neck_and_head_have_the_segmentors_shape(tiny_model, name):
    model = tiny_model(distillation=branch_of(name, shared=False))
    branch = model.distillation[name.lower()]
    for own, theirs in ((branch.neck, model.neck), (branch.decode_head, model.decode_head)):
        assert own is not theirs
        assert {key: value.shape for key, value in own.state_dict().items()} == {
            key: value.shape for key, value in theirs.state_dict().items()
        }
    added = sum(parameter.numel() for parameter in branch.parameters())
    expected = sum(parameter.numel() for part in (model.neck, model.decode_head) for parameter in part.parameters())
    assert added == expected + branch.mask_token.numel()


@pytest.mark.parametrize(('shared', 'projected_by'), [(False, 'branch'), (True, None)])
@torch.no_grad()
def test_vmlsds_own_neck_projects_the_main_levels(tiny_model, make_batch, monkeypatch, shared, projected_by):
    model = tiny_model(distillation=branch_of('VMLSD', shared=shared)).eval()
    inputs, ids, index, _ = preprocess(model, make_batch((2, 1)))
    main = model.encode(inputs, ids, index)
    branch, calls = model.distillation['vmlsd'], []

    def watch(name, neck):
        project = neck.project
        monkeypatch.setattr(neck, 'project', lambda levels: calls.append((name, levels)) or project(levels))

    watch('segmentor', model.neck)
    if not shared:
        watch('branch', branch.neck)
    branch.student(model, main)
    assert [name for name, _ in calls] == ([projected_by] if projected_by else [])
    assert all(levels is main.visual.levels for _, levels in calls)


@torch.no_grad()
def test_an_own_neck_and_head_decide(tiny_model, make_batch):
    model = tiny_model(distillation=branch_of('LMVSD', shared=False)).eval()
    inputs, ids, index, _ = preprocess(model, make_batch((1, 1)))
    main = model.encode(inputs, ids, index)
    branch = model.distillation['lmvsd']

    def answer():
        torch.manual_seed(3)
        return logits_of(model, branch, main)

    before = answer()
    for parameter in (*model.neck.parameters(), *model.decode_head.parameters()):
        parameter.add_(1)
    assert torch.equal(answer(), before)
    branch.decode_head.projector.kernel.bias.add_(1)
    assert not torch.equal(answer(), before)


@pytest.mark.parametrize('name', BRANCHES)
def test_an_unshared_branch_needs_its_parts(name):
    with pytest.raises(ValueError, match=rf'{name}\(shared=False\) needs the configs of its own neck and decode_head'):
        MODELS.build(dict(type=f'cmmasksd.{name}', shared=False, embed_dims=dict(image=4, text=4)))


@pytest.mark.parametrize(('kind', 'width'), [(LMVSD, 768), (VMLSD, 512)])
def test_the_mask_token_is_random_learnable_and_as_wide_as_its_tower(kind, width):
    """ "randomly initialized learnable tokens" (Sec. 3.2)."""
    token = kind(embed_dims=dict(image=768, text=512)).mask_token
    assert isinstance(token, nn.Parameter) and token.requires_grad and token.shape == (width,)
    assert 0.017 < token.std() < 0.023 and abs(token.mean()) < 0.005


def test_the_final_setting_is_the_default():
    branches = [kind(embed_dims=dict(image=16, text=24)) for kind in (LMVSD, VMLSD)]
    settings = [
        (branch.top_k, branch.mask_ratio, branch.loss_weight, branch.shared, branch.detach_teacher)
        for branch in branches
    ]
    assert settings == [(0.5, 0.25, 0.75, True, True), (0.5, 0.1, 0.1, True, True)]
    assert [branch.mask_token.shape for branch in branches] == [(16,), (24,)]


@pytest.mark.parametrize('name', BRANCHES)
@torch.no_grad()
def test_options_reach_the_choice(tiny_model, make_batch, monkeypatch, name):
    model = tiny_model(distillation=branch_of(name, top_k=0.3, mask_ratio=0.7, rounding='stochastic')).eval()
    inputs, ids, index, _ = preprocess(model, make_batch((1, 1)))
    main = model.encode(inputs, ids, index)
    calls = []

    def choose(scores, top_k, mask_ratio, valid=None, rounding='nearest'):
        calls.append((tuple(scores.shape), top_k, mask_ratio, valid, rounding))
        return torch.zeros(scores.shape, dtype=torch.bool)

    monkeypatch.setattr('cmmasksd.models.distillation.base.choose_masked', choose)
    logits = logits_of(model, model.distillation[name.lower()], main)
    torch.testing.assert_close(logits, model.segment(main))  # nothing masked: the main branch again
    ((shape, top_k, mask_ratio, valid, rounding),) = calls
    assert (top_k, mask_ratio, rounding) == (0.3, 0.7, 'stochastic')
    assert shape == ((2, 24) if name == 'LMVSD' else (2, 9))
    assert valid is (None if name == 'LMVSD' else main.text.word_tokens)


# --- joint passes -----------------------------------------------------------------------------------------------------


def training_step(tiny_model, batch, joint, **branches):
    """Losses, gradients and buffers of one step, and how often neck and decode head ran."""
    model = tiny_model(
        joint_branches=joint,
        distillation=[dict(type=f'cmmasksd.{name}', **options) for name, options in branches.items()],
    )
    model.train().double()  # so that rounding, which batch norms of few values amplify, cannot hide a difference
    model.neck.fuse, model.decode_head.forward = Mock(wraps=model.neck.fuse), Mock(wraps=model.decode_head.forward)
    torch.manual_seed(4)
    inputs, ids, index, masks = preprocess(model, batch)
    losses = model(inputs.double(), ids, index, masks, mode='loss')
    sum(losses.values()).backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    statistics = {name: buffer for name, buffer in model.named_buffers() if 'running' in name or 'tracked' in name}
    return losses, gradients, statistics, (model.neck.fuse.call_count, model.decode_head.forward.call_count)


@pytest.mark.parametrize('counts', [(1, 1, 1), (2, 1), (1,)])
@pytest.mark.parametrize(
    'branches',
    [
        dict(LMVSD={}, VMLSD={}),
        dict(VMLSD={}),
        dict(LMVSD=dict(shared=False), VMLSD={}),
        dict(VMLSD=dict(detach_teacher=False), LMVSD={}),
    ],
    ids=['both', 'VMLSD', 'LMVSD with a neck of its own', 'gradient through the teacher'],
)
def test_joint_branches_equal_separate_passes(tiny_model, make_batch, branches, counts):
    joint, separate = (training_step(tiny_model, make_batch(counts), joint, **branches) for joint in (True, False))
    shared = 1 + sum(options.get('shared', True) for options in branches.values())
    assert (joint[3], separate[3]) == ((1, 1), (shared, shared))
    for ours, expected in zip(joint[:3], separate[:3]):
        assert ours.keys() == expected.keys() and ours
        for name, value in expected.items():
            torch.testing.assert_close(
                ours[name], value, rtol=1e-5, atol=1e-7, msg=lambda text, name=name: f'{name}: {text}'
            )
    assert joint[2]['neck.merge3.1.num_batches_tracked'] == 1


def test_foreign_batch_norms_are_not_mixed(tiny_model, make_batch):
    model = tiny_model().train()
    model.decode_head.projector.upsample[0][1] = torch.nn.BatchNorm2d(16)
    inputs, ids, index, masks = preprocess(model, make_batch((1, 1)))
    with pytest.raises(ValueError, match='BatchNorm2d would mix .* joint_branches=False'):
        model(inputs, ids, index, masks, mode='loss')
    model.joint_branches = False
    assert len(model(inputs, ids, index, masks, mode='loss')) == 3


@torch.no_grad()
def test_branches_cost_nothing_at_inference(tiny_model, make_batch):
    states, flops, answers = [], [], []
    for distillation in ([], [dict(type='cmmasksd.LMVSD'), dict(type='cmmasksd.VMLSD')]):
        model = tiny_model(distillation=distillation).eval()
        data = model.data_preprocessor(make_batch((2, 1), training=False))
        with FlopCounterMode(display=False) as counter:
            (first, _) = model(**data, mode='predict')
        flops.append(counter.get_total_flops())
        answers.append(first.predictions.probabilities)
        states.append({name for name in model.state_dict() if not name.startswith('distillation.')})
        assert len(model.state_dict()) - len(states[-1]) == len(distillation)  # a mask token each
    assert flops[0] == flops[1] > 0
    assert states[0] == states[1] and torch.equal(*answers)
