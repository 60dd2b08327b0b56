"""LAVT's light decoder but for its last layer: levels merged from the deepest to the finest."""

from __future__ import annotations

from mmengine.model import BaseModule
from torch import Tensor, nn

from cmmasksd.models.convolutions import ConvBNReLU, EnlargeConcatConvBNReLU
from cmmasksd.registry import MODELS


@MODELS.register_module()
class TopDownNeck(BaseModule):
    """Merges levels that have read the sentence already, from the deepest to the finest (LAVT's ``SimpleDecoding``).

    Each step enlarges what there is to the next finer level (bilinearly, corners aligned, as LAVT does), lays both
    together and convolves them twice; in an order that gives LAVT's numbers for less work.

    Args:
        in_channels: widths of the backbone's levels, shallow to deep.
        channels: width of the result; None: half of the deepest level's, as in LAVT.

    Attributes:
        out_channels: width of the result.
    """

    def __init__(self, in_channels: tuple[int, ...] = (128, 256, 512, 1024), channels: int | None = None) -> None:
        super().__init__()
        *finer, deepest = in_channels
        self.out_channels = channels or deepest // 2
        widths = [deepest, *[self.out_channels] * (len(finer) - 1)]
        self.merges = nn.ModuleList(
            nn.ModuleList(
                [
                    EnlargeConcatConvBNReLU((above, own), self.out_channels),
                    ConvBNReLU(self.out_channels, self.out_channels, 3),
                ]
            )
            for above, own in zip(widths, reversed(finer))
        )

    def project(self, levels: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The levels as they are: nothing of them is known before the sentence."""
        return levels

    def fuse(
        self, projected: tuple[Tensor, ...], sentence: Tensor | None = None, image_index: Tensor | None = None
    ) -> Tensor:
        """Levels (E, C_l, h_l, w_l), shallow to deep -> (E, out_channels, h_0, w_0); the sentence is in them.

        Raises:
            ValueError: levels that several expressions share, from a backbone that does not read the sentence.
        """
        if image_index is not None:
            raise ValueError(
                'TopDownNeck does not look at the sentence: it needs a backbone that does, such as LanguageAwareSwin.'
            )
        *finer, x = projected
        for step, level in zip(self.merges, reversed(finer)):
            merge, refine = step.children()
            x = refine(merge(x, level))
        return x

    def forward(self, levels: tuple[Tensor, ...]) -> Tensor:
        """``fuse(project(levels))``."""
        return self.fuse(self.project(levels))
