"""What benchmark.py measures with: timing turn about, counting, inputs, the plain way, tables."""

from __future__ import annotations

import json
import mmap
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch.nn.attention import SDPBackend, sdpa_kernel

from cmmasksd.datasets.refer import load_refer
from cmmasksd.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / 'tools/analysis_tools'))  # where the script finds its helpers

from benchmarking import (  # noqa: E402
    comparing,
    counting,
    data,
    evaluation,
    inputs,
    loading,
    pictures,
    plain,
    plots,
    report,
    timing,
    training,
)

CPU = torch.device('cpu')


# --- timing -----------------------------------------------------------------------------------------------------------


def test_works_are_run_turn_about_and_warm_up_does_not_count():
    calls: list[str] = []
    works = {name: lambda name=name: calls.append(name) for name in 'abc'}
    samples = timing.time_in_turn(works, repeats=3, warmup=1, device=CPU)
    assert ''.join(calls) == 'abccbaabccba'
    assert {name: len(values) for name, values in samples.items()} == dict.fromkeys('abc', 3)


def test_samples_are_the_seconds_of_their_work():
    samples = timing.time_in_turn(
        {'short': lambda: None, 'long': lambda: time.sleep(0.02)}, repeats=3, warmup=0, device=CPU
    )
    assert min(samples['long']) >= 0.02 and min(samples['short']) >= 0


@pytest.mark.parametrize(
    ('samples', 'expected'), [([3.0], (3, 3, 3)), ([1.0, 5, 2, 4, 3], (3, 2, 4)), ([1.0, 2], (1.5, 1.25, 1.75))]
)
def test_median_and_quartiles(samples, expected):
    assert timing.Spread.of(samples) == timing.Spread(*expected)


def test_ratios_are_taken_round_by_round():
    slow_machine = [1.0, 10, 100]
    assert timing.paired_ratio([2 * second for second in slow_machine], slow_machine) == timing.Spread(2, 2, 2)
    with pytest.raises(ValueError):
        timing.paired_ratio([1.0], [1.0, 2.0])


def test_peak_memory_sees_a_block_that_is_gone_again():
    def fill() -> None:
        with mmap.mmap(-1, 300 << 20) as block:  # fresh pages, whatever the process has freed and kept before
            np.frombuffer(block, np.uint8)[:] = 1

    little, result = timing.peak_memory(lambda: 'result', CPU)
    much, _ = timing.peak_memory(fill, CPU)
    assert result == 'result' and 50 < little < much - 200


# --- counting ---------------------------------------------------------------------------------------------------------


def test_attention_is_counted_as_its_products_also_where_it_is_fused():
    query = torch.randn(2, 4, 100, 16, requires_grad=True)
    product = 2 * 2 * 4 * 100 * 100 * 16
    fused = counting.count_flops(lambda: F.scaled_dot_product_attention(query, query, query))
    with sdpa_kernel(SDPBackend.MATH):
        written_down = counting.count_flops(lambda: F.scaled_dot_product_attention(query, query, query))
    assert fused == written_down == 2 * product
    assert (
        counting.count_flops(lambda: F.scaled_dot_product_attention(query, query, query).sum().backward())
        == 7 * product
    )


@pytest.mark.parametrize(
    ('work', 'flops'),
    [
        (lambda: torch.ones(3, 4, 5) @ torch.ones(3, 5, 6), 2 * 3 * 4 * 5 * 6),
        (lambda: F.linear(torch.ones(7, 5), torch.ones(3, 5)), 2 * 7 * 5 * 3),
        (lambda: F.conv2d(torch.ones(1, 2, 8, 8), torch.ones(4, 2, 3, 3)), 2 * 4 * 36 * 2 * 9),
        (lambda: torch.ones(9, 9).softmax(0), 0),
    ],
    ids=['bmm', 'linear', 'convolution', 'not counted'],
)
def test_products_are_counted(work, flops):
    assert counting.count_flops(work) == flops


def test_share_of_the_floor():
    assert counting.share_of_floor(flops=50, seconds=2, rates=[99, 100, 101]) == 0.25


@pytest.mark.parametrize(('longest', 'side'), [(60.0, 64), (0.0, 16)])
def test_a_device_that_is_slow_at_it_is_given_a_smaller_product(monkeypatch, longest, side):
    """As CPUs without instructions for bfloat16 are, which would take minutes."""
    multiplied, product = [], torch.mm

    def watched(left, right, **options):
        multiplied.append(len(left))
        return product(left, right, **options)

    monkeypatch.setattr(torch, 'mm', watched)
    monkeypatch.setitem(counting.MATRIX_SIZE, 'cpu', 64)
    monkeypatch.setattr(counting, 'LONGEST_PRODUCT', longest)
    assert len(counting.matrix_rate(CPU, torch.bfloat16, repeats=3)) == 3
    assert multiplied == [16] * 2 + [side] * 4  # each with a round to warm up


def test_the_matrix_rate_is_of_this_device(monkeypatch):
    monkeypatch.setitem(counting.MATRIX_SIZE, 'cpu', 64)
    rates = counting.matrix_rate(CPU, torch.float32, repeats=3)
    assert len(rates) == 3 and min(rates) > 0


# --- inputs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('training_', [True, False])
def test_random_batches_are_valid(tiny_cfg, training_):
    batch = inputs.random_batch(tiny_cfg, [3, 1], training_)
    assert [image.shape for image in batch['inputs']] == [(3, 32, 48)] * 2
    for sample, count in zip(batch['data_samples'], [3, 1], strict=True):
        ids, masks = sample.expressions.input_ids, sample.expressions.masks
        assert ids.shape == (count, 9) and (ids[:, 0] == inputs.SOT).all()
        assert ((ids == inputs.EOT).sum(1) == 1).all() and (ids.argmax(1) >= 2).all()
        assert masks.shape == (count, *((32, 48) if training_ else inputs.PICTURE)) and 0 < masks.float().mean() < 1
    model = MODELS.build(tiny_cfg.model)
    if training_:
        return
    samples = evaluation.predict(model.eval(), [batch], amp=False)
    assert [sample.predictions.masks.shape for sample in samples] == [(3, *inputs.PICTURE), (1, *inputs.PICTURE)]


def test_singles_are_the_same_expressions(tiny_cfg):
    batch = inputs.random_batch(tiny_cfg, [2, 1], training=False)
    parts = inputs.singles(batch)
    assert [len(part['data_samples'][0].expressions) for part in parts] == [1, 1, 1]
    assert parts[1]['inputs'][0] is batch['inputs'][0] and parts[2]['inputs'][0] is batch['inputs'][1]
    assert torch.equal(
        parts[1]['data_samples'][0].expressions.input_ids[0], batch['data_samples'][0].expressions.input_ids[1]
    )


def test_another_size_is_set_everywhere(tiny_cfg):
    cfg = inputs.at_size(tiny_cfg, 64)
    assert inputs.input_size(cfg) == (64, 64) == tuple(cfg.model.backbone.image_size)
    assert cfg.val_dataloader.dataset.pipeline[0].size == (64, 64)
    assert inputs.input_size(tiny_cfg) == (32, 48)


def test_a_config_without_the_step_is_told(tiny_cfg):
    tiny_cfg.train_dataloader.dataset.pipeline = []
    with pytest.raises(ValueError, match='no LetterboxResize'):
        inputs.input_size(tiny_cfg)


# --- the comparisons --------------------------------------------------------------------------------------------------


def test_the_plain_way_computes_the_same_losses(tiny_cfg):
    for branch in tiny_cfg.model.distillation:  # all are masked, so that no draw decides
        branch.update(top_k=1.0, mask_ratio=1.0)
    model = MODELS.build(tiny_cfg.model).train()
    data_ = model.data_preprocessor(inputs.random_batch(tiny_cfg, [1, 1, 1], training=True), True)
    ours = model(**data_, mode='loss')
    with plain.plain_kernels():
        theirs = plain.plain_loss(model, data_['inputs'], data_['input_ids'], data_['masks'])
    assert ours.keys() == theirs.keys() and len(ours) == 3
    for name, loss in ours.items():
        torch.testing.assert_close(theirs[name], loss, rtol=1e-4, atol=1e-6)


def test_training_steps_are_compared_with_and_without_branches(tiny_cfg, monkeypatch):
    monkeypatch.setitem(counting.MATRIX_SIZE, 'cpu', 64)
    tiny_cfg.model.distillation = []  # the benchmark adds what is missing
    comparison = training.compare_training(tiny_cfg, 2, CPU, repeats=2, amp=False, baseline=True)
    names = ['main', 'main + LMVSD', 'main + VMLSD', 'main + both']
    assert list(comparison.measurements) == names + [f'{name}, plain' for name in names]
    flops = [comparison.flop_ratio(name) for name in names]
    assert flops[0] == 1 < flops[2] < flops[1] < flops[3]
    assert comparison.flop_ratio('main + both, plain', 'main + both') > 1
    assert all(len(one.seconds) == 2 and one.memory > 0 for one in comparison.measurements.values())
    assert comparison.facts == dict(visual_tokens=24)


def test_a_benchmark_leaves_the_weights_alone(tiny_cfg, monkeypatch):
    monkeypatch.setitem(counting.MATRIX_SIZE, 'cpu', 64)
    built = []
    monkeypatch.setattr(
        training.MODELS,
        'build',
        lambda config, build=MODELS.build, **kwargs: built.append(build(config, **kwargs)) or built[-1],
    )
    torch.manual_seed(7)
    training.compare_training(tiny_cfg, 1, CPU, repeats=1, amp=False, baseline=False)
    torch.manual_seed(7)
    fresh = MODELS.build(training.with_branches(tiny_cfg).model)
    segmentor = next(model for model in built if hasattr(model, 'distillation'))
    weights = dict(fresh.named_parameters())
    assert len(weights) > 50
    assert all(torch.equal(parameter, weights[name]) for name, parameter in segmentor.named_parameters())


def test_grouped_expressions_cost_less_and_give_the_same_masks(tiny_cfg, monkeypatch):
    monkeypatch.setitem(counting.MATRIX_SIZE, 'cpu', 64)
    comparison = evaluation.compare_evaluation(tiny_cfg, 3, CPU, repeats=2, amp=False, baseline=True)
    assert list(comparison.measurements) == ['one at a time', 'grouped', 'one at a time, plain']
    assert comparison.flop_ratio('grouped') < 1 < comparison.flop_ratio('one at a time, plain')
    assert comparison.facts['pixels'] == 3 * 480 * 640 and comparison.facts['differing_pixels'] <= 10


def test_other_masks_are_refused():
    probabilities = torch.rand(2, 8, 8)
    assert evaluation.check_equal_masks(probabilities, probabilities, 1e-4)['differing_pixels'] == 0
    with pytest.raises(RuntimeError, match='other masks'):
        evaluation.check_equal_masks(probabilities, probabilities.flip(0), 1e-4)
    with pytest.raises(RuntimeError, match='other masks'):
        evaluation.check_equal_masks(probabilities, torch.full_like(probabilities, torch.nan), 1e-4)


def test_a_validation_has_refcocos_proportions(tiny_cfg, monkeypatch):
    monkeypatch.setitem(counting.MATRIX_SIZE, 'cpu', 64)
    comparison = evaluation.compare_validation(tiny_cfg, 9, 4, CPU, repeats=1, amp=False)
    assert comparison.facts == dict(images=9, expressions=65)
    assert evaluation.EXPRESSIONS / evaluation.IMAGES == pytest.approx(65 / 9, rel=0.01)


def test_what_is_compiled_is_compiled_before_it_is_timed(monkeypatch):
    monkeypatch.setitem(counting.MATRIX_SIZE, 'cpu', 64)
    calls: dict[str, int] = dict(plain=0, compiled=0, known=0)

    def work(name: str) -> None:
        calls[name] += 1

    variants = {
        'plain': comparing.Variant(lambda: work('plain'), 1),
        'compiled': comparing.Variant(lambda: work('compiled'), 1, compiled=True),
        'known': comparing.Variant(lambda: work('known'), 1, flops=7),
    }
    found = comparing.compare('title', 'unit', variants, CPU, repeats=1, first='plain')
    assert calls == dict(plain=2, compiled=4, known=2)  # a run that counts and measures, and one by the clock
    assert found.measurements['known'].flops == 7


def test_ratios_of_a_comparison_are_per_unit():
    one = comparing.Measurement(units=4, dtype='float32', seconds=[8.0, 4.0], memory=1, flops=40, share_of_floor=0.5)
    other = comparing.Measurement(units=1, dtype='float32', seconds=[4.0, 2.0], memory=1, flops=20, share_of_floor=0.5)
    comparison = comparing.Comparison('title', 'image', 'single', {'single': other, 'grouped': one}, {})
    assert comparison.time_ratio('grouped') == timing.Spread(0.5, 0.5, 0.5)
    assert comparison.flop_ratio('grouped') == 0.5
    assert one.per_unit.median == 1500


# --- data -------------------------------------------------------------------------------------------------------------


def test_pictures_like_cocos_are_a_set_in_refers_format(tmp_path):
    pictures.make_coco_like(tmp_path, 3)
    files = sorted((tmp_path / 'images/train2014').iterdir())
    assert len(files) == 3 and all(100_000 < file.stat().st_size < 250_000 for file in files)
    refer = load_refer(tmp_path, pictures.DATASET, 'unc')
    assert refer.split_names == ('train', 'val')
    refs = refer.split('val')
    assert len(refs) == 7 and sum(len(ref.sentences) for ref in refs) == 21


def test_the_floor_is_a_picture_in_planes(tmp_path):
    pictures.make_coco_like(tmp_path, 1)
    (file,) = (tmp_path / 'images/train2014').iterdir()
    picture = data.least_work(str(file), (96, 96))
    assert picture.shape == (3, 72, 96) and picture.flags.c_contiguous


@pytest.mark.parametrize('config', ['vit-tiny_refshapes.py', 'vit-b_refcoco.py'])
def test_pipelines_are_measured_without_data(config, monkeypatch, tmp_path):
    monkeypatch.setattr(data, 'PICTURES', 20 if 'tiny' in config else 2)
    monkeypatch.chdir(tmp_path)
    measured = data.measure_data(Config.fromfile(ROOT / 'configs/cm_masksd' / config), repeats=1)
    assert list(measured) == ['training', 'evaluation']
    for one in measured.values():
        assert 'made for this' in one.source and len(one.pipeline) == len(one.floor) > 0
        assert 0 < one.share_of_floor.median and one.images_per_second > 0


# --- reports ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def comparison():
    names = {'one at a time': 8.0, 'grouped': 4.0, 'one at a time, plain': 16.0}
    measurements = {
        name: comparing.Measurement(4, 'float32', [second, second], 100.0, 4 * 10**9, 0.5)
        for name, second in names.items()
    }
    return comparing.Comparison(
        'evaluation', 'expression', 'one at a time', measurements, {'float32': [1e12]}, dict(pixels=5)
    )


def test_tables_say_what_was_measured(comparison):
    text = report.format_comparison(comparison)
    for part in ('2000 (2000 to 2000)', '0.5 (0.5 to 0.5)', '1 TFLOP/s', 'pixels: 5'):
        assert part in text
    lines = report.format_baseline(comparison)
    assert (
        len(lines) == 2
        and '2 (2 to 2) times as long as one at a time' in lines[0]
        and '4 (4 to 4) times as long as grouped' in lines[1]
    )


def test_every_sample_is_kept(comparison, tmp_path, capsys):
    measured = {'training': data.DataMeasurement('here', [0.2, 0.2], [0.1, 0.1])}
    written = report.Report(CPU, tmp_path / 'new')
    written.add_comparison(comparison)
    written.add_data(measured)
    written.add_loading({'pageable memory': loading.LoadingMeasurement('here', 3, 90.0, 60.0, 50.0)})
    content = json.loads((tmp_path / 'new/benchmark.json').read_text())
    assert content['machine']['versions']['torch'] and content['machine']['device']
    assert content['comparisons'][0]['measurements']['grouped']['seconds'] == [4.0, 4.0]
    assert content['data']['training']['floor'] == [0.1, 0.1] and content['loading']['pageable memory']['fed'] == 50
    text = (tmp_path / 'new/benchmark.txt').read_text()
    assert '0.5 (0.5 to 0.5)' in text and 'a loader of 3 workers' in text and text.strip() in capsys.readouterr().out


def test_what_was_measured_before_a_failure_is_kept(comparison, tmp_path):
    report.Report(CPU, tmp_path).add_comparison(comparison)  # and nothing more is called
    assert len(json.loads((tmp_path / 'benchmark.json').read_text())['comparisons']) == 1


@pytest.mark.parametrize('paired', [True, False])
def test_plots_are_drawn(comparison, paired, tmp_path):
    pytest.importorskip('matplotlib')
    plots.plot_costs(tmp_path / 'plot.png', 'expressions per image', [(1, comparison), (4, comparison)], paired)
    assert (tmp_path / 'plot.png').stat().st_size > 5000


def test_without_matplotlib_the_mend_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'matplotlib', None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'cmmasksd\[matplotlib\]'"):
        plots.load_pyplot()
