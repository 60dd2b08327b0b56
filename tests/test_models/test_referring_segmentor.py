"""The whole flow on a tiny model: losses, running statistics, grouped expressions and predictions."""

from __future__ import annotations

import copy

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.runner.amp import autocast as loop_autocast
from torch import nn

from cmmasksd.models.layers import BatchNorm
from cmmasksd.registry import MODELS


def losses_of(model, batch):
    return model(**model.data_preprocessor(batch, True), mode='loss')


def freeze_norms(model):
    """Training mode but for the batch norms, so that images do not see one another."""
    model.train()
    for module in model.modules():
        if isinstance(module, BatchNorm):
            module.eval()
    return model


def single_samples(batch):
    """The same batch with every expression on a copy of its image."""
    images, samples = [], []
    for image, sample in zip(batch['inputs'], batch['data_samples']):
        for place in range(len(sample.expressions)):
            images.append(image)
            single = copy.deepcopy(sample)
            single.expressions = sample.expressions[place : place + 1]
            samples.append(single)
    return dict(inputs=images, data_samples=samples)


class Rearranged(nn.Module):
    """A batch norm over the width of tokens (B, N, D)."""

    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, tokens):
        return self.norm(tokens.flatten(0, 1)).view_as(tokens)


# --- losses -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('branches', 'names'),
    [
        ([], {'loss_seg'}),
        (['LMVSD'], {'loss_seg', 'loss_lmvsd'}),
        (['VMLSD'], {'loss_seg', 'loss_vmlsd'}),
        (['LMVSD', 'VMLSD'], {'loss_seg', 'loss_lmvsd', 'loss_vmlsd'}),
    ],
)
@pytest.mark.parametrize('shared', [True, False])
def test_losses_are_named_after_the_branches(tiny_model, make_batch, branches, names, shared):
    model = tiny_model(distillation=[dict(type=f'cmmasksd.{name}', shared=shared) for name in branches]).train()
    losses = losses_of(model, make_batch((1, 1)))
    assert set(losses) == names
    assert all(loss.shape == () and loss.isfinite() and loss > 0 for loss in losses.values())


def test_loss_weights(tiny_model, make_batch):
    losses = []
    for weights in ((1, 1), (0.75, 0.1), (0, 3)):
        model = tiny_model(
            distillation=[dict(type=f'cmmasksd.{name}', loss_weight=w) for name, w in zip(('LMVSD', 'VMLSD'), weights)]
        ).train()
        torch.manual_seed(4)
        losses.append(losses_of(model, make_batch((1, 1))))
    for loss, (first, second) in zip(losses, ((1, 1), (0.75, 0.1), (0, 3))):
        torch.testing.assert_close(loss['loss_seg'], losses[0]['loss_seg'])
        torch.testing.assert_close(loss['loss_lmvsd'], first * losses[0]['loss_lmvsd'])
        torch.testing.assert_close(loss['loss_vmlsd'], second * losses[0]['loss_vmlsd'])


@torch.no_grad()
def test_bfloat16_autocast(tiny_model, make_batch):
    model = freeze_norms(tiny_model())
    batch = make_batch((2, 1))
    torch.manual_seed(4)
    expected = losses_of(model, batch)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        torch.manual_seed(4)
        losses = losses_of(model, batch)
        assert model(**model.data_preprocessor(batch, True), mode='tensor').dtype == torch.float32
    for name, loss in losses.items():
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, expected[name], rtol=0.05, atol=0.02)


# --- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('counts', [(1,), (1, 1), (3, 1)])
def test_a_step_trains_every_parameter(tiny_model, make_batch, counts):
    model = tiny_model().train()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    model.train_step(make_batch(counts), OptimWrapper(torch.optim.Adam(model.parameters(), lr=1e-3)))
    still = [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])]
    assert len(before) > 150
    assert not still


@pytest.mark.parametrize('shared', [True, False])
def test_running_statistics_follow_the_main_branch_alone(tiny_model, make_batch, shared):
    branches = [dict(type='cmmasksd.LMVSD', shared=shared), dict(type='cmmasksd.VMLSD', shared=shared)]
    alone, distilled = tiny_model(distillation=[]).train(), tiny_model(distillation=branches).train()
    distilled.load_state_dict(alone.state_dict(), strict=False)
    batch = make_batch((1, 1))
    losses = losses_of(alone, batch), losses_of(distilled, batch)
    torch.testing.assert_close(losses[0]['loss_seg'], losses[1]['loss_seg'])
    expected = {name: buffer for name, buffer in alone.named_buffers() if 'running' in name or 'tracked' in name}
    assert len(expected) == 3 * 15
    assert sum(buffer.item() for name, buffer in expected.items() if name.endswith('num_batches_tracked')) == 15
    buffers = dict(distilled.named_buffers())
    for name, buffer in expected.items():
        torch.testing.assert_close(buffers[name], buffer, msg=name)
    assert all(module.track_running_stats for module in distilled.modules() if isinstance(module, BatchNorm))


def test_running_statistics_of_the_towers_follow_the_main_branch_too(tiny_model, make_batch):
    """A tower with batch norms, as a ResNet has them: masked passes are normalised, but leave no trace."""

    def with_norms(distillation):
        model = tiny_model(distillation=distillation).train()
        model.backbone.visual.ln_pre = nn.Sequential(Rearranged(nn.BatchNorm1d(16)))
        model.text_encoder.text.ln_final = nn.Sequential(Rearranged(BatchNorm(24)))
        return model

    alone, distilled = with_norms([]), with_norms([dict(type='cmmasksd.LMVSD'), dict(type='cmmasksd.VMLSD')])
    distilled.load_state_dict(alone.state_dict(), strict=False)
    for model in (alone, distilled):
        losses_of(model, make_batch((1, 1)))
    towers = ('backbone.', 'text_encoder.')
    expected = {name: buffer for name, buffer in alone.named_buffers() if name.startswith(towers) and 'running' in name}
    assert len(expected) == 4
    for name, buffer in expected.items():
        assert buffer.abs().max() > 0 and not torch.equal(buffer, torch.ones_like(buffer)), name
        assert torch.equal(distilled.get_buffer(name), buffer), name


@pytest.mark.parametrize('counts', [(3,), (2, 1, 3)])
def test_grouped_training_equals_copies_of_the_image(tiny_model, make_batch, counts):
    model, batch = freeze_norms(tiny_model()), make_batch(counts)
    results = []
    for form in (batch, single_samples(batch)):
        model.zero_grad()
        torch.manual_seed(6)  # the same positions are drawn
        losses = losses_of(model, form)
        sum(losses.values()).backward()
        results.append((losses, {name: parameter.grad.clone() for name, parameter in model.named_parameters()}))
    (grouped, gradients), (single, expected) = results
    assert set(grouped) == {'loss_seg', 'loss_lmvsd', 'loss_vmlsd'}
    for name, loss in single.items():
        torch.testing.assert_close(grouped[name], loss, rtol=1e-5, atol=1e-6)
    for name, gradient in expected.items():
        assert (gradients[name] - gradient).abs().max() <= 1e-3 * gradient.abs().max() + 1e-6, name


@torch.no_grad()
def test_an_image_is_encoded_once(tiny_model, make_batch):
    model, seen = tiny_model().eval(), []
    first = model.backbone.visual.transformer.resblocks[0]
    first.register_forward_pre_hook(lambda block, arguments: seen.append(len(arguments[0])))
    model.val_step(make_batch((3, 2), training=False))
    assert seen == [2]


# --- parameters -------------------------------------------------------------------------------------------------------


def added_parameters(config: dict) -> dict[str, int]:
    with torch.device('meta'):
        whole, plain = MODELS.build(config), MODELS.build(dict(config, distillation=[]))
    names = {name for name, _ in plain.named_parameters()}
    return {name: parameter.numel() for name, parameter in whole.named_parameters() if name not in names}


def test_shared_branches_add_two_vectors(tiny_config):
    assert added_parameters(tiny_config()) == {'distillation.lmvsd.mask_token': 16, 'distillation.vmlsd.mask_token': 24}


@pytest.mark.parametrize(
    ('architecture', 'size', 'image_width', 'text_width', 'channels'),
    [('ViT-B-16-quickgelu', 576, 768, 512, 512), ('ViT-L-14-quickgelu', 532, 1024, 768, 768)],
)
def test_shared_branches_add_two_vectors_at_real_size(architecture, size, image_width, text_width, channels):
    config = dict(
        type='cmmasksd.ReferringSegmentor',
        backbone=dict(type='cmmasksd.OpenCLIPVisionTransformer', architecture=architecture, image_size=size),
        text_encoder=dict(type='cmmasksd.OpenCLIPTextTransformer', architecture=architecture),
        neck=dict(
            type='cmmasksd.CrossModalFPN', in_channels=(image_width, image_width, channels), text_channels=channels
        ),
        decode_head=dict(type='cmmasksd.VisionLanguageDecodeHead', word_channels=text_width, text_channels=channels),
        distillation=[dict(type='cmmasksd.LMVSD'), dict(type='cmmasksd.VMLSD')],
    )
    assert added_parameters(config) == {
        'distillation.lmvsd.mask_token': image_width,
        'distillation.vmlsd.mask_token': text_width,
    }


# --- prediction -------------------------------------------------------------------------------------------------------


def test_inference_never_calls_a_branch(tiny_model, make_batch, monkeypatch):
    model = tiny_model().eval()

    def fail(*arguments, **options):
        raise AssertionError('a branch ran at inference')

    for branch in model.distillation.values():
        for verb in ('student', 'loss'):
            monkeypatch.setattr(branch, verb, fail)
    batch = make_batch((2, 1), training=False)
    with torch.no_grad():
        model.val_step(batch)
        model.test_step(batch)
        model(**model.data_preprocessor(batch), mode='tensor')
    with pytest.raises(AssertionError, match='a branch ran'):
        losses_of(model, make_batch((1,)))


@torch.no_grad()
def test_predictions_at_the_pictures_own_size(tiny_model, make_batch):
    model = tiny_model().eval()
    samples = model.test_step(make_batch((2, 1, 3), training=False, original=(70, 31)))
    assert len(samples) == 3
    for number, (sample, count) in enumerate(zip(samples, (2, 1, 3))):
        predictions = sample.predictions
        assert predictions.probabilities.shape == predictions.masks.shape == (count, 70 + number, 31)
        assert (predictions.probabilities.dtype, predictions.masks.dtype) == (torch.float32, torch.bool)
        assert predictions.probabilities.min() >= 0 and predictions.probabilities.max() <= 1
        assert torch.equal(predictions.masks, predictions.probabilities > 0.35)


@torch.no_grad()
def test_only_what_is_above_the_threshold_belongs(tiny_model, make_batch):
    model, batch = tiny_model().eval(), make_batch((1,), training=False)
    probabilities = model.test_step(copy.deepcopy(batch))[0].predictions.probabilities
    model.threshold = probabilities[0, 20, 20].item()
    masks = model.test_step(copy.deepcopy(batch))[0].predictions.masks
    assert torch.equal(masks, probabilities > probabilities[0, 20, 20])
    assert not masks[0, 20, 20] and masks.any()


@pytest.mark.parametrize(('threshold', 'share'), [(0.49, 1.0), (0.51, 0.0)])
@torch.no_grad()
def test_the_threshold_is_a_probability(tiny_model, make_batch, threshold, share):
    model = tiny_model(threshold=threshold).eval()
    for parameter in model.decode_head.projector.kernel.parameters():
        parameter.zero_()  # all logits are 0, all probabilities 0.5
    (sample,) = model.test_step(make_batch((2,), training=False))
    assert sample.predictions.masks.float().mean() == share


@pytest.mark.parametrize('chunk', [1, 3, 100])
def test_chunks_change_nothing(tiny_model, make_batch, chunk):
    whole, chunked = tiny_model(expressions_per_chunk=16).eval(), tiny_model(expressions_per_chunk=chunk).eval()
    batch = make_batch((4, 1, 2), training=False)
    expected = whole.test_step(copy.deepcopy(batch))
    samples = chunked.test_step(copy.deepcopy(batch))
    assert [len(sample.predictions.masks) for sample in samples] == [4, 1, 2]
    for sample, other in zip(samples, expected):
        torch.testing.assert_close(
            sample.predictions.probabilities, other.predictions.probabilities, rtol=1e-5, atol=1e-5
        )


def test_a_chunk_bounds_what_is_decoded_at_once(tiny_model, make_batch):
    model, seen = tiny_model(expressions_per_chunk=3).eval(), []
    model.decode_head.register_forward_pre_hook(lambda module, arguments: seen.append(len(arguments[0])))
    model.test_step(make_batch((4, 1, 2), training=False))
    assert seen == [3, 3, 1]


@pytest.mark.parametrize('counts', [(5,), (2, 1, 3), (1, 1)])
def test_grouped_expressions_equal_single_ones(tiny_model, make_batch, counts):
    model = tiny_model().eval()
    batch = make_batch(counts, training=False)
    grouped = model.test_step(copy.deepcopy(batch))
    singles = model.test_step(copy.deepcopy(single_samples(batch)))
    one_by_one = []
    for image, sample in zip(*single_samples(batch).values()):
        one_by_one += model.test_step(dict(inputs=[image], data_samples=[sample]))
    assert len(singles) == len(one_by_one) == sum(counts)
    flat = [maps for sample in grouped for maps in sample.predictions.probabilities]
    for maps, single, alone in zip(flat, singles, one_by_one):
        torch.testing.assert_close(maps, single.predictions.probabilities[0], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(maps, alone.predictions.probabilities[0], rtol=1e-5, atol=1e-5)
    assert len({round(maps.mean().item(), 6) for maps in flat}) == sum(counts)  # expressions were told apart


def dtypes_inside(model, step, batch):
    """The dtypes that the towers', the neck's and the decode head's linear layers and convolutions give."""
    seen = {}
    for name, module in model.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            part = name.partition('.')[0]
            module.register_forward_hook(lambda _, __, out, part=part: seen.setdefault(part, set()).add(out.dtype))
    samples = step(batch)
    return seen, samples


@pytest.mark.parametrize('fp16', [False, True])
@pytest.mark.parametrize('precision', ['float32', 'bfloat16'])
@torch.no_grad()
def test_prediction_computes_in_the_asked_precision(tiny_model, make_batch, precision, fp16):
    """Whatever autocast mmengine's loops, which know ``fp16`` alone, open or switch off around it."""
    model, batch = tiny_model(precision=precision).eval(), make_batch((2, 1), training=False)
    expected = tiny_model().eval().test_step(copy.deepcopy(batch))
    with loop_autocast(enabled=fp16):
        seen, samples = dtypes_inside(model, model.test_step, batch)
    half = precision == 'bfloat16' or fp16
    assert {part for part, dtypes in seen.items() if dtypes == {torch.bfloat16}} >= (
        {'backbone', 'text_encoder', 'decode_head'} if half else set()
    )
    assert half or set.union(*seen.values()) == {torch.float32}
    for sample, other in zip(samples, expected, strict=True):
        probabilities = sample.predictions.probabilities
        assert probabilities.dtype == torch.float32
        assert torch.equal(probabilities, other.predictions.probabilities) == (not half)
        torch.testing.assert_close(probabilities, other.predictions.probabilities, rtol=0, atol=0.03)


# --- bad input --------------------------------------------------------------------------------------------------------


def test_a_branch_named_twice(tiny_model):
    with pytest.raises(ValueError, match="names 'cmmasksd.LMVSD' twice"):
        tiny_model(distillation=[dict(type='cmmasksd.LMVSD'), dict(type='cmmasksd.LMVSD')])


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(expressions_per_chunk=0), 'at least 1, got 0'),
        (dict(threshold=50), r'must lie in \[0, 1\), got 50'),
        (dict(threshold=-0.1), r'must lie in \[0, 1\), got -0.1'),
        (dict(threshold=float('nan')), r'must lie in \[0, 1\), got nan'),
        (dict(precision='fp16'), "precision is one of float32, bfloat16, float16, got 'fp16'"),
    ],
)
def test_settings_that_make_no_sense(tiny_model, options, message):
    with pytest.raises(ValueError, match=message):
        tiny_model(**options)


def test_unknown_mode(tiny_model, make_batch):
    model = tiny_model()
    with pytest.raises(ValueError, match="got 'train'"):
        model(**model.data_preprocessor(make_batch(), True), mode='train')


def test_a_plain_segmentor_has_no_branches(tiny_model):
    model = tiny_model(distillation=[])
    assert isinstance(model.distillation, nn.ModuleDict) and not model.distillation
