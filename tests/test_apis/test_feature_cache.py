"""A picture that comes again is not encoded again, and is answered the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cmmasksd.apis import ReferringInferencer
from cmmasksd.apis.feature_cache import FeatureCache
from tests.published_models import make_config, save_checkpoint

ASKED = ['left zebra', 'the tree']


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8)


@pytest.fixture(scope='module')
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[ReferringInferencer, ReferringInferencer]:
    """The same model with a cache and without."""
    cfg, path = make_config(), tmp_path_factory.mktemp('run') / 'epoch_1.pth'
    save_checkpoint(cfg, path)
    with_cache = ReferringInferencer(make_config(), path, 'cpu', cache_bytes=10**8)
    return with_cache, ReferringInferencer(cfg, path, 'cpu')


@pytest.fixture
def counted(
    pair: tuple[ReferringInferencer, ReferringInferencer], monkeypatch: pytest.MonkeyPatch
) -> tuple[ReferringInferencer, ReferringInferencer, list[int]]:
    """With an empty cache, and how many images each encoding took."""
    with_cache, without = pair
    with_cache.cache = FeatureCache(10**8)
    numbers: list[int] = []
    encode = with_cache.model.encode_images

    def count(inputs: torch.Tensor) -> object:
        numbers.append(len(inputs))
        return encode(inputs)

    monkeypatch.setattr(with_cache.model, 'encode_images', count)
    return with_cache, without, numbers


def test_the_second_question_runs_no_image_encoder(
    counted: tuple[ReferringInferencer, ReferringInferencer, list[int]],
) -> None:
    inferencer, plain, numbers = counted
    first, second = picture(0), picture(1)
    for image, texts in ((first, ASKED), (first, ['red']), (second, ASKED), (first, ASKED)):
        (found,), (expected,) = inferencer(image, texts), plain(image, texts)
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-6)
    assert numbers == [1, 1]
    inferencer.ask(inferencer.encode(first), 'red')
    assert numbers == [1, 1]


def test_a_batch_encodes_what_is_new(counted: tuple[ReferringInferencer, ReferringInferencer, list[int]]) -> None:
    inferencer, plain, numbers = counted
    inferencer(picture(2), ASKED)
    images = [picture(seed) for seed in (1, 2, 1, 3)]
    found, expected = inferencer(images, [ASKED] * 4, batch_size=4), plain(images, [ASKED] * 4, batch_size=4)
    assert numbers == [1, 2]
    for own, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(own.probabilities, other.probabilities, atol=1e-5)


def test_bytes_are_bounded(counted: tuple[ReferringInferencer, ReferringInferencer, list[int]]) -> None:
    inferencer, _, numbers = counted
    inferencer(picture(0), 'red')
    one = inferencer.cache.nbytes
    assert one > 0
    inferencer.cache = FeatureCache(2 * one)
    numbers.clear()
    for seed in (0, 1, 0, 2, 0, 1):
        inferencer(picture(seed), 'red')
        assert inferencer.cache.nbytes <= 2 * one
    assert numbers == [1, 1, 1, 1]  # 0 is asked of too often to go; 1 has gone
    inferencer.cache = FeatureCache(one - 1)
    inferencer(picture(0), 'red')
    assert inferencer.cache.nbytes == 0


def test_another_precision_is_encoded_anew(
    counted: tuple[ReferringInferencer, ReferringInferencer, list[int]],
) -> None:
    inferencer, _, numbers = counted
    for precision in ('float32', 'bfloat16', 'float32'):
        inferencer.model.precision = precision
        assert inferencer(picture(0), 'red')[0].probabilities.shape == (1, 30, 40)
    assert numbers == [1, 1]


def test_nothing_is_kept_unasked(pair: tuple[ReferringInferencer, ReferringInferencer]) -> None:
    _, plain = pair
    plain(picture(0), 'red')
    assert plain.cache.nbytes == 0
    with pytest.raises(ValueError, match='cache_bytes'):
        FeatureCache(-1)
