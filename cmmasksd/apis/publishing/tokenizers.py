"""A tokenizer that travels with its model."""

from __future__ import annotations

import json
from pathlib import Path

from cmmasksd.datasets.transforms.text import EXAMPLES
from cmmasksd.datasets.transforms.tokenizers import HuggingFaceTokenizer, get_tokenizer
from cmmasksd.published.config import TOKENIZER
from cmmasksd.published.errors import PublishedError
from cmmasksd.published.folder import CLEANING, OF_A_TOKENIZER, check_tokenizer_folder


def copy_tokenizer(name: str, folder: Path) -> str:
    """Writes a tokenizer of Hugging Face's, of a folder, the hub or a model of open_clip, into ``folder/tokenizer``.

    Returns:
        What the published TokenizeExpressions names: ``tokenizer``; ``name`` for CLIP's byte pairs, which need no file.

    Raises:
        PublishedError: a tokenizer that does not come back the same.
        ValueError, ImportError: see :func:`~cmmasksd.datasets.transforms.tokenizers.get_tokenizer`.
    """
    tokenizer = get_tokenizer(name)
    if not isinstance(tokenizer, HuggingFaceTokenizer):
        return name
    target = folder / TOKENIZER
    tokenizer.save(target)
    text = _cleaning(name, tokenizer.context_length)
    if text is not None:
        (target / 'open_clip_config.json').write_text(json.dumps(dict(model_cfg=dict(text_cfg=text)), indent=2) + '\n')
    check_tokenizer_folder(target)
    copied = get_tokenizer(str(target.resolve()))
    if any(copied.encode(text, 64) != tokenizer.encode(text, 64) for text in EXAMPLES):
        raise PublishedError(
            f"The tokenizer '{name}' gives other tokens once it is saved and read again: give the folder of its files"
        )
    return TOKENIZER


def _cleaning(name: str, context_length: int) -> dict | None:
    """open_clip's settings of a tokenizer: how text is cleaned before; None where there are none."""
    import open_clip

    folder = Path(name).expanduser()
    source = f'local-dir:{folder}' if (folder / 'open_clip_config.json').is_file() else name
    config = open_clip.get_model_config(source) if source != name or ':' not in name else None
    if config is None:
        return None
    kept = {key: value for key, value in config['text_cfg'].items() if key in OF_A_TOKENIZER}
    options = {key: value for key, value in kept.get('tokenizer_kwargs', {}).items() if key in CLEANING}
    return dict(kept, tokenizer_kwargs=options, hf_tokenizer_name=TOKENIZER, context_length=context_length)
