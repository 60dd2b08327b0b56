"""The two graphs of an exported model: an image's, run once, and its expressions'."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class ImageGraph(nn.Module):
    """Letterboxed images (B, 3, H, W) uint8 -> what their expressions share: the neck's projections, or, of an image
    encoder that needs the text, patch embeddings.

    Args:
        model: a segmentor, in evaluation.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        preprocessor = self.model.data_preprocessor
        encoded = self.model.encode_images((images.float() - preprocessor.mean) / preprocessor.std)
        return encoded.projected or (encoded.embeddings,)


class ExpressionGraph(nn.Module):
    """What B images have, token ids (E, L) and the image of each expression (E,) -> probabilities (E, h, w) on the
    logits' grid.

    Args:
        model: a segmentor, in evaluation.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: tuple[Tensor, ...], input_ids: Tensor, image_index: Tensor) -> Tensor:
        model = self.model
        words = model.embed_text(input_ids)
        if model.image_needs_text:
            visual, text = model.encode_pair(features[0], words, input_ids, image_index)
            fused = model.fuse(model.project(visual), text.sentence, None)
        else:
            text = model.encode_text(words, input_ids)
            fused = model.fuse(tuple(features), text.sentence, image_index)
        return model.decode(fused, text).sigmoid()[:, 0]


@torch.no_grad()
def trace(model: Any, images: Tensor, input_ids: Tensor, opset: int) -> tuple[Any, Any]:
    """Both graphs as ONNX programs, whose numbers of images and of expressions are free.

    Args:
        model: a segmentor, in evaluation, on the CPU.
        images: two or more examples (B, 3, H, W) uint8, for torch takes a size of one for fixed.
        input_ids: two or more (E, L).
        opset: ONNX's, 18 or later.
    """
    image_graph, expression_graph = ImageGraph(model).eval(), ExpressionGraph(model).eval()
    features = image_graph(images)
    names = [f'features_{number}' for number in range(len(features))]
    index = torch.arange(len(input_ids)) % len(images)
    options: dict[str, Any] = dict(dynamo=True, opset_version=opset, verbose=False)
    image = torch.onnx.export(
        image_graph, (images,), input_names=['images'], output_names=names, dynamic_shapes=({0: 'images'},), **options
    )
    expressions = torch.onnx.export(
        expression_graph,
        (features, input_ids, index),
        input_names=[*names, 'input_ids', 'image_index'],
        output_names=['probabilities'],
        dynamic_shapes=(tuple({0: 'images'} for _ in features), {0: 'expressions'}, {0: 'expressions'}),
        **options,
    )
    return image, expressions
