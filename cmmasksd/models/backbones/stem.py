"""The stem of somebody's backbone: what makes embeddings of an image, run by itself or left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

# Modules from the image to the embeddings, in the order in which they run, of backbones that are built so: the first
# row whose names a backbone has is taken. mmseg's and mmpretrain's names come first, then timm's.
STEMS: tuple[tuple[str, ...], ...] = (
    ('patch_embed',),  # Swin, ViT and BEiT of all three
    ('stem', 'maxpool'),  # ResNetV1c and V1d
    ('stem',),  # timm's RegNet and MaxViT
    ('conv1', 'norm1', 'relu', 'maxpool'),  # ResNet
    ('patch_embeds.0',),  # PVT and Twins
    ('patch_embed1',),  # MSCAN
    ('layers.0.0',),  # MiT
    ('downsample_layers.0',),  # ConvNeXt
    ('conv1', 'bn1', 'act1', 'maxpool'),  # timm's ResNets
    ('stem_0', 'stem_1'),  # timm's ConvNeXt
    ('stem_conv1', 'stem_conv2', 'stem_conv3', 'stem_pool'),  # timm's ResNets of CLIP
    ('conv_stem', 'bn1'),  # timm's EfficientNet and MobileNet
    ('conv1',),  # MobileNetV2
)
WRAPPERS = ('', 'model.', 'model.model.', 'timm_model.')  # around timm's models: ours, timm's own, mmseg's


class Stem:
    """Runs the first modules of a backbone by themselves, and the backbone without them.

    Embeddings are (B, M, D), row by row of the grid, whether the backbone passes maps (B, D, h, w) or (B, h, w, D),
    tokens, or tokens with their grid, from its stem to what follows.

    Args:
        backbone: with its stem.
        names: modules of the stem, in the order in which they run; None: those of a kind in ``STEMS``.
        size: the input, H and W.

    Attributes:
        grid_size: (h, w) of the embeddings.
        embed_dims: their width D.

    Raises:
        ValueError: no such modules, or what they give is no grid of embeddings.
    """

    def __init__(self, backbone: nn.Module, names: Sequence[str] | None, size: tuple[int, int]) -> None:
        self.size = size
        self.names = tuple(names) if names else find_stem(backbone)
        for name in self.names:
            if not isinstance(_find(backbone, name), nn.Module):
                raise ValueError(f"{type(backbone).__name__} has no module '{name}' in its stem {self.names}.")

    def measure(self, backbone: nn.Module, images: Tensor) -> None:
        """Finds out what the stem makes of images, which may be without content (on the meta device)."""
        tokens, grid = _to_tokens(self._run(backbone, images), self.size)
        self.grid_size, self.embed_dims = grid, tokens.shape[2]
        if grid[0] * grid[1] != tokens.shape[1]:
            raise ValueError(f'The stem {self.names} gives {tokens.shape[1]} embeddings, which are no grid.')

    def embed(self, backbone: nn.Module, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) -> embeddings (B, M, D)."""
        return _to_tokens(self._run(backbone, images), self.size)[0]

    def finish(self, backbone: nn.Module, embeddings: Tensor) -> Any:
        """What the backbone makes of embeddings (B, M, D); its stem does nothing."""
        # has a shape, and takes no memory
        nothing = embeddings.new_zeros(()).expand(embeddings.shape[0], 3, *self.size)
        with self._replaced(backbone, embeddings):
            return backbone(nothing)

    def _run(self, backbone: nn.Module, images: Tensor) -> Any:
        out = images
        for name in self.names:
            out = _find(backbone, name)(out)
        self.layout = _layout(out, self.size)
        return out

    @contextmanager
    def _replaced(self, backbone: nn.Module, embeddings: Tensor) -> Iterator[None]:
        """Within the block the stem's last module gives the embeddings, as it would, and those before it nothing."""
        modules = [_find(backbone, name) for name in self.names]
        given = _from_tokens(embeddings, self.grid_size, self.layout)
        for module in modules[:-1]:
            module.forward = lambda x, *_, **__: x
        modules[-1].forward = lambda *_, **__: given
        try:
            yield
        finally:
            for module in modules:
                del module.forward  # the instance's; the class's own shows again


def find_stem(backbone: nn.Module) -> tuple[str, ...]:
    """The row of ``STEMS`` whose modules a backbone has.

    Raises:
        ValueError: it has none of them.
    """
    for names in STEMS:
        for wrapper in WRAPPERS:
            wrapped = tuple(wrapper + name for name in names)
            if all(isinstance(_find(backbone, name), nn.Module) for name in wrapped):
                return wrapped
    raise ValueError(
        f'The stem of {type(backbone).__name__} is of no known kind: name its modules, from the image to the '
        "embeddings, by stem=('conv1', ...) of the ImageBackboneAdapter."
    )


def _find(backbone: nn.Module, name: str) -> Any:
    part: Any = backbone
    for step in name.split('.'):
        part = part[int(step)] if step.isdigit() else getattr(part, step, None)
        if part is None:
            return None
    return part


def _layout(out: Any, size: tuple[int, int]) -> str:
    """How a stem hands its embeddings on: ``pair`` (tokens, grid), ``triple`` (tokens, height, width), ``tokens``,
    ``maps`` or ``maps last``.
    """
    if isinstance(out, (tuple, list)):
        return 'pair' if len(out) == 2 else 'triple'
    if out.dim() == 3:
        return 'tokens'
    # a grid has the input's aspect ratio; channels first is everybody's habit where both would fit
    height, width = size
    rows, columns = out.shape[2:]
    return 'maps' if abs(rows * width - columns * height) <= max(height, width) else 'maps last'


def _to_tokens(out: Any, size: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
    layout = _layout(out, size)
    if layout == 'pair':
        return out[0], tuple(out[1])
    if layout == 'triple':
        return out[0], tuple(out[1:])
    if layout == 'tokens':
        columns = round((out.shape[1] * size[1] / size[0]) ** 0.5)
        return out, (out.shape[1] // columns, columns)
    if layout == 'maps':
        return out.flatten(2).transpose(1, 2), tuple(out.shape[2:])
    return out.flatten(1, 2), tuple(out.shape[1:3])


def _from_tokens(tokens: Tensor, grid: tuple[int, int], layout: str) -> Any:
    if layout == 'pair':
        return tokens, grid
    if layout == 'triple':
        return tokens, *grid
    if layout == 'tokens':
        return tokens
    if layout == 'maps':
        return tokens.transpose(1, 2).unflatten(2, grid)
    return tokens.unflatten(1, grid)
