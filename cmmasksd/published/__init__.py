"""Published models: a folder, or a repository of the Hugging Face hub, of ``model.safetensors``, ``config.json`` and a
model card. All of it is data: nothing in it is run, and what is not known is refused.
"""

from cmmasksd.published.building import build_published
from cmmasksd.published.errors import PublishedError
from cmmasksd.published.folder import Published, is_published, open_published, read_published
from cmmasksd.published.hub import fetch_published
from cmmasksd.published.pushing import push_to_hub
from cmmasksd.published.weights import check_exactly, load_published

__all__ = [
    'Published',
    'PublishedError',
    'build_published',
    'check_exactly',
    'fetch_published',
    'is_published',
    'load_published',
    'open_published',
    'push_to_hub',
    'read_published',
]
