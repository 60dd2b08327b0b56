"""CLIP's ResNets with CRIS's pooling: every point of the deepest map attends to every other, and the grid stays."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from open_clip.model import _build_vision_tower
from open_clip.modified_resnet import AttentionPool2d, ModifiedResNet
from torch import Tensor, nn

from cmmasksd.models.attention import attend
from cmmasksd.models.open_clip_tower import Architecture, OpenCLIPTower
from cmmasksd.models.stages import Stages
from cmmasksd.registry import MODELS
from cmmasksd.structures import TextFeatures, VisualFeatures, gather_images

STRIDE = 32  # of the deepest map


@MODELS.register_module()
class OpenCLIPResNet(OpenCLIPTower):
    """The ``ModifiedResNet`` of CLIP as CRIS (CVPR 2022) uses it; its numbers are those of CRIS's public code,
    https://github.com/DerrickWang005/CRIS.pytorch.

    Levels are the maps of the second and third stage, at strides 8 and 16, and at stride 32 what the attention pooling
    makes of each point of the fourth, plus a convolution of that point, which is CRIS's and not CLIP's and starts at
    random. What the attention alone gives is in CLIP's joint space: these are the patches that sentences are correlated
    with. The pooled feature is CLIP's own. Positions are kept on CLIP's grid and resized bicubically at each forward.

    Embeddings are the stem's map, at stride 4: masked there, a picture runs through all stages. A mask on the deepest
    grid covers all embeddings below each point.

    Args:
        architecture: ``RN50-quickgelu`` (joint width C 1024), ``RN101-quickgelu`` (512), another ResNet of open_clip,
            or such a config.
        image_size: the input's size, H and W, each a multiple of 32.
        pretrained: see :class:`~cmmasksd.models.open_clip_tower.OpenCLIPTower`.

    Attributes:
        embed_dims: width D of the embeddings.
        out_channels: widths of the three levels.
        stage_channels: widths of the maps that :meth:`encode_in_stages` stops with.

    Raises:
        ValueError: the architecture's image tower is no ResNet, or ``image_size`` is no multiple of 32.
    """

    visual: ModifiedResNet

    def __init__(
        self,
        architecture: Architecture = 'RN50-quickgelu',
        image_size: int | tuple[int, int] = 416,
        pretrained: str | None = None,
    ) -> None:
        super().__init__(architecture, pretrained)
        self.image_size = (image_size, image_size) if isinstance(image_size, int) else (image_size[0], image_size[1])
        if any(side % STRIDE for side in self.image_size):
            raise ValueError(f'image_size {self.image_size} is no multiple of {STRIDE}, which a ResNet divides it by.')
        vision, joint = self.config['vision_cfg'], self.config['embed_dim']
        if not isinstance(vision.get('layers'), (list, tuple)):
            raise ValueError(
                f"The image tower of {self.name} is no ResNet of CLIP: give 'RN50-quickgelu' or 'RN101-quickgelu', or "
                'OpenCLIPVisionTransformer for a ViT.'
            )
        self.visual = _build_vision_tower(joint, vision, self.config.get('quick_gelu', False))
        pool = self.visual.attnpool
        pool.connect = nn.Sequential(nn.Conv2d(pool.c_proj.in_features, joint, 1, bias=False), nn.BatchNorm2d(joint))
        self.embed_dims: int = self.visual.conv3.out_channels
        self.out_channels = (8 * self.embed_dims, 16 * self.embed_dims, joint)
        self.stage_channels = tuple(scale * self.embed_dims for scale in (8, 16, 32))
        height, width = self.image_size
        self.grid_size = (height // STRIDE, width // STRIDE)
        self.stem_size = (height // 4, width // 4)

    def embed_image(self, images: Tensor) -> Tensor:
        """The stem alone: normalised images (B, 3, H, W) -> embeddings (B, M, D)."""
        if tuple(images.shape[-2:]) != self.image_size:
            raise ValueError(
                f'The image tower was built for inputs of {self.image_size}, got {tuple(images.shape[-2:])}: let the '
                "pipeline's LetterboxResize.size and the backbone's image_size agree."
            )
        return self.visual.stem(images).flatten(2).transpose(1, 2)

    def encode_image(
        self, patch_embeddings: Tensor, text: TextFeatures | None = None, image_index: Tensor | None = None
    ) -> VisualFeatures:
        """The stages and the pooling: embeddings (B, M, D), masked or not; the text is not looked at."""
        visual = self.visual
        shallow = visual.layer2(self._first_stage(patch_embeddings))
        middle = visual.layer3(shallow)
        return self._finish(shallow, middle, visual.layer4(middle))

    def encode_in_stages(self, patch_embeddings: Tensor, image_index: Tensor | None = None) -> Stages[VisualFeatures]:
        """As :meth:`encode_image`, stopping behind the last three stages with their maps (E, C_l, h_l, w_l).

        Up to the first of these the B images are run, and from there on that of each expression, ``image_index`` (E,).
        """
        first = self.visual.layer2(self._first_stage(patch_embeddings))
        x = gather_images(first, image_index)
        outputs = [x := x + (yield x)]
        for stage in (self.visual.layer3, self.visual.layer4):
            x = stage(x)
            outputs.append(x := x + (yield x))
        return self._finish(*outputs)

    def _first_stage(self, patch_embeddings: Tensor) -> Tensor:
        return self.visual.layer1(patch_embeddings.transpose(1, 2).unflatten(2, self.stem_size))

    def _finish(self, shallow: Tensor, middle: Tensor, deep: Tensor) -> VisualFeatures:
        visual = self.visual
        patches, pooled = pool_points(visual.attnpool, deep)
        joint = patches.transpose(1, 2).unflatten(2, deep.shape[2:])
        level5 = F.relu(joint + visual.attnpool.connect(deep))
        return VisualFeatures(levels=(shallow, middle, level5), patches=patches, pooled=pooled)

    def spread_mask(self, masked: Tensor) -> Tensor:
        """A mask on the patches (E, N) bool -> on the embeddings (E, M): each patch covers what lies below it."""
        coarse = masked.view(-1, 1, *self.grid_size).float()
        return F.interpolate(coarse, size=self.stem_size, mode='nearest').bool().flatten(1)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """OpenMMLab's contract: the three levels (B, C_l, h_l, w_l) of normalised images (B, 3, H, W)."""
        return self.encode_image(self.embed_image(images)).levels

    def select_weights(self, clip: dict[str, Tensor]) -> dict[str, Tensor]:
        own = {name: tensor for name, tensor in self.state_dict().items() if '.connect.' in name}
        return own | {name: tensor for name, tensor in clip.items() if name.startswith('visual.')}


def pool_points(pool: AttentionPool2d, maps: Tensor) -> tuple[Tensor, Tensor]:
    """CLIP's attention pooling with every point as a query, and as it is.

    Args:
        pool: open_clip's.
        maps: (B, D, h, w).

    Returns:
        points (B, h * w, C), each from all points, as CRIS has it; and (B, C), the mean's, from all points and itself,
        which is CLIP's image feature and carries no gradient.
    """
    points = maps.flatten(2).transpose(1, 2)  # (B, N, D)
    mean = points.mean(dim=1, keepdim=True).detach()
    side = round((len(pool.positional_embedding) - 1) ** 0.5)
    grid = pool.positional_embedding[1:].transpose(0, 1).unflatten(1, (side, side))[None]
    positions = F.interpolate(grid, size=maps.shape[2:], mode='bicubic', align_corners=False).flatten(2).transpose(1, 2)
    points = points + positions.to(points.dtype)
    query, key, value = (_heads(project(points), pool.num_heads) for project in (pool.q_proj, pool.k_proj, pool.v_proj))
    attended = attend(query, key, value).transpose(1, 2).flatten(2)
    with torch.no_grad():
        mean = mean + pool.positional_embedding[0].to(mean.dtype)
        own = [_heads(project(mean), pool.num_heads) for project in (pool.q_proj, pool.k_proj, pool.v_proj)]
        keys, values = (torch.cat(pair, dim=2) for pair in ((own[1], key), (own[2], value)))
        whole = attend(own[0], keys, values).transpose(1, 2).flatten(2)
        pooled = pool.c_proj(whole)[:, 0]
    return pool.c_proj(attended), pooled


def _heads(tokens: Tensor, heads: int) -> Tensor:
    """(B, N, D) -> (B, heads, N, D / heads)."""
    return tokens.unflatten(2, (heads, -1)).transpose(1, 2)
