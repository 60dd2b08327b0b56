"""Whether a config's pipelines make the tokens that its text encoder reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmengine.config import Config
from mmengine.model import is_model_wrapper
from mmengine.registry import DefaultScope
from torch import nn

from cmmasksd.engine.checks.settings import ConfigError
from cmmasksd.engine.leaves import leaf_configs
from cmmasksd.registry import SCOPE, TRANSFORMS

LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def check_tokens(cfg: Config, model: nn.Module, loaders: Sequence[str] = LOADERS) -> None:
    """Lets the text encoder look at what each pipeline makes of a few expressions.

    Pipelines and text encoders without a say in it are left alone.

    Args:
        cfg: the config.
        model: built of it.
        loaders: whose pipelines.

    Raises:
        ConfigError: tokenizer and text encoder disagree; names the pipeline's loader and the mend.
    """
    encoder: Any = getattr(model.module if is_model_wrapper(model) else model, 'text_encoder', None)
    if not hasattr(encoder, 'check_tokenizer'):
        return
    seen = []
    for name in loaders:
        for dataset in leaf_configs(cfg[name].dataset) if cfg.get(name) else ():
            for step in _walk(dataset.get('pipeline', ())):
                if str(step.get('type')).rsplit('.')[-1] != 'TokenizeExpressions' or step in seen:
                    continue
                seen.append(step)
                try:
                    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', SCOPE)):
                        tokenizer = TRANSFORMS.build(step)
                    encoder.check_tokenizer(tokenizer.examples())
                except ValueError as error:
                    raise ConfigError(f'{name}: {error}') from error


def _walk(steps: Any) -> Iterator[Mapping[str, Any]]:
    """The steps of a pipeline, and those inside of others, such as ``TestTimeAug``, which holds lists of lists."""
    if isinstance(steps, Mapping):
        yield steps
        yield from _walk(steps.get('transforms'))
    elif isinstance(steps, (list, tuple)):
        for step in steps:
            yield from _walk(step)
