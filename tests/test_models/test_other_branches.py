"""Branches that are not the paper's: controls of what guides the masks, a pass without masks, AMLRIS and MaskRIS."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from cmmasksd.models.distillation.amlris import align
from cmmasksd.registry import MODELS

from .test_branches import branch_of, gradient_of, logits_of, preprocess

SCORES = torch.arange(8.0).repeat(50, 1)  # rising: the highest half are the last four


@pytest.mark.parametrize(
    ('guidance', 'candidates'), [('highest', {4, 5, 6, 7}), ('lowest', {0, 1, 2, 3}), ('random', set(range(8)))]
)
def test_guidance_says_where_candidates_lie(guidance, candidates):
    branch = MODELS.build(
        dict(type='LMVSD', embed_dims=dict(image=4, text=4), top_k=0.5, mask_ratio=0.5, guidance=guidance)
    )
    masked = branch.choose(SCORES)
    assert set(masked.nonzero()[:, 1].tolist()) == candidates
    assert (masked.sum(dim=1) == 2).all()


def test_guidance_keeps_to_what_may_be_masked():
    branch = MODELS.build(dict(type='VMLSD', embed_dims=dict(image=4, text=4), mask_ratio=1.0, guidance='random'))
    valid = torch.arange(8).repeat(50, 1) < 4
    masked = branch.choose(SCORES, valid)
    assert masked.sum() == 100 and not masked[~valid].any()


def test_an_unknown_guidance_is_refused():
    with pytest.raises(ValueError, match='guidance'):
        MODELS.build(dict(type='LMVSD', embed_dims=dict(image=4, text=4), guidance='best'))


@pytest.mark.parametrize('name', ['AMLRIS', 'DropoutSelfDistillation', 'MaskRIS'])
def test_students_train_all_that_they_share(tiny_model, make_batch, name):
    model = tiny_model(distillation=branch_of(name)).train()
    inputs, ids, index, masks = preprocess(model, make_batch((2, 1)))
    losses = model.loss(inputs, ids, index, masks)
    loss = losses[f'loss_{name.lower()}']
    assert loss.isfinite() and loss > 0
    loss.backward()
    for part in (model.backbone, model.text_encoder, model.neck, model.decode_head):
        assert gradient_of(part) > 0
    own = dict(model.distillation.named_parameters())
    assert list(own) == (['maskris.mask_token'] if name == 'MaskRIS' else [])


@torch.no_grad()
def test_dropout_is_all_that_its_student_differs_by(tiny_model, make_batch):
    model = tiny_model(distillation=branch_of('DropoutSelfDistillation', rate=1e-9)).eval()
    inputs, ids, index, _ = preprocess(model, make_batch((2, 1)))
    main = model.encode(inputs, ids, index)
    branch = model.distillation['dropoutselfdistillation']
    torch.testing.assert_close(logits_of(model, branch, main), model.segment(main))
    branch.rate = 0.5
    assert not torch.allclose(logits_of(model, branch, main), model.segment(main))


@torch.no_grad()
def test_amlris_zeroes_a_quarter_of_what_agrees_least(tiny_model, make_batch):
    model = tiny_model(distillation=branch_of('AMLRIS', threshold=1.0)).eval()
    inputs, ids, index, _ = preprocess(model, make_batch((2, 1)))
    main, seen, encode = model.encode(inputs, ids, index), [], model.backbone.encode_image
    model.backbone.encode_image = lambda embeddings, *others: (seen.append(embeddings), encode(embeddings, *others))[1]
    model.distillation['amlris'].student(model, main)
    embeddings = main.patch_embeddings[index]
    zeroed = (seen[0] == 0).all(dim=2)
    low = align(main.visual.patches[index], main.text.tokens, main.text.word_tokens) < 1
    assert low.any() and zeroed.any()
    counts = low.sum(dim=1).tolist()
    assert zeroed.sum(dim=1).tolist() == [max(1, round(count / 4)) if count else 0 for count in counts]
    assert torch.equal(seen[0][~zeroed], embeddings[~zeroed])
    model.distillation['amlris'].threshold = 1e-6
    model.distillation['amlris'].student(model, main)
    assert torch.equal(seen[1], embeddings)


def test_amlris_is_held_to_the_ground_truth(tiny_model):
    branch = tiny_model(distillation=branch_of('AMLRIS')).distillation['amlris']
    target = torch.tensor([[[[0.0, 1.0]]]])
    right, wrong = torch.tensor([[[[-9.0, 9.0]]]]), torch.tensor([[[[9.0, -9.0]]]])
    assert branch.loss(right, wrong, 'loss', target)['loss'] < 1e-3
    assert branch.loss(wrong, wrong, 'loss', target)['loss'] > 8


def test_alignment_is_the_surest_words_share():
    patches = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    tokens = torch.tensor([[[9.0, 9.0], [2.0, 0.0], [0.0, 5.0]]])
    words = torch.tensor([[False, True, True]])
    torch.testing.assert_close(align(patches, tokens, words), torch.tensor([[torch.tensor(2.0).sigmoid(), 0.5]]))
    assert align(patches, tokens, torch.zeros(1, 3, dtype=torch.bool)).isfinite().all()


@pytest.mark.parametrize(('height', 'width', 'blocks'), [(8, 8, 16), (7, 5, 12)])
def test_maskris_masks_whole_blocks(height, width, blocks):
    branch = MODELS.build(dict(type='MaskRIS', embed_dims=dict(image=4, text=4), block=2, mask_ratio=0.75))
    masked = branch.draw_blocks(20, height, width, torch.device('cpu')).view(20, height, width)
    corners = masked[:, ::2, ::2]
    assert corners.flatten(1).sum(dim=1).tolist() == [round(0.75 * blocks)] * 20
    spread = corners.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, :height, :width]
    assert torch.equal(masked, spread)
    assert len(torch.unique(corners, dim=0)) > 1


def test_maskris_distorts_as_many_words_as_it_says() -> None:
    branch = MODELS.build(dict(type='MaskRIS', embed_dims=dict(image=4, text=1), word_ratio=0.5))
    branch.mask_token.data.fill_(-1.0)
    ids = torch.zeros(500, 40, dtype=torch.long)
    main = SimpleNamespace(
        input_ids=ids,
        text=SimpleNamespace(word_tokens=torch.ones_like(ids, dtype=torch.bool)),
        word_embeddings=ids[..., None].float(),
    )
    segmentor = SimpleNamespace(
        text_encoder=SimpleNamespace(vocab_size=1000), embed_text=lambda others: (others[..., None] + 1).float()
    )
    torch.manual_seed(0)
    distorted = branch.distort_words(segmentor, main)
    masked, replaced = (distorted == -1).float().mean(), (distorted > 0).float().mean()
    assert masked == pytest.approx(0.5 * 0.8, abs=0.015) and replaced == pytest.approx(0.5 * 0.1, abs=0.008)


@torch.no_grad()
def test_maskris_zeroes_patches_and_distorts_words_alone(tiny_model, make_batch):
    model = tiny_model(distillation=branch_of('MaskRIS', word_ratio=1.0, block=1)).eval()
    inputs, ids, index, _ = preprocess(model, make_batch((2, 1)))
    main, branch, seen = model.encode(inputs, ids, index), model.distillation['maskris'], []
    encode = model.backbone.encode_image
    model.backbone.encode_image = lambda embeddings, *others: (seen.append(embeddings), encode(embeddings, *others))[1]
    branch.student(model, main)
    zeroed = (seen[0] == 0).all(dim=2)
    assert zeroed.sum(dim=1).tolist() == [round(0.75 * zeroed.shape[1])] * 3
    assert torch.equal(seen[0][~zeroed], main.patch_embeddings[index][~zeroed])
    words = main.text.word_tokens
    assert words.any()
    for masked_words, random_words, expected in ((1.0, 0.0, branch.mask_token), (0.0, 0.0, None)):
        branch.masked_words, branch.random_words = masked_words, random_words
        distorted = branch.distort_words(model, main)
        assert torch.equal(distorted[~words], main.word_embeddings[~words])
        wanted = main.word_embeddings[words] if expected is None else expected.expand(int(words.sum()), -1)
        assert torch.equal(distorted[words], wanted)
    branch.masked_words, branch.random_words = 0.0, 1.0
    others = branch.distort_words(model, main)[words]
    assert not torch.equal(others, main.word_embeddings[words])
    branch.word_ratio = 0.0
    assert torch.equal(branch.distort_words(model, main), main.word_embeddings)


@pytest.mark.parametrize(
    'branch',
    [
        dict(type='MaskRIS', mask_ratio=0.0),
        dict(type='MaskRIS', word_ratio=1.1),
        dict(type='MaskRIS', block=0),
        dict(type='MaskRIS', masked_words=0.8, random_words=0.3),
        dict(type='AMLRIS', threshold=0.0),
        dict(type='AMLRIS', mask_ratio=1.5),
        dict(type='DropoutSelfDistillation', rate=1.0),
        dict(type='DropoutSelfDistillation', loss_weight=-1.0),
    ],
)
def test_senseless_settings_are_refused(branch):
    with pytest.raises(ValueError):
        MODELS.build(dict(**branch, embed_dims=dict(image=4, text=4)))
