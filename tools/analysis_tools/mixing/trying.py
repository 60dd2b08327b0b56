"""A small segmentor with somebody's part in it, tried out stage by stage."""

from __future__ import annotations

import io
import textwrap
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.structures import InstanceData
from mmseg.structures import SegDataSample
from torch import nn

from cmmasksd.models.building import build_part
from cmmasksd.structures import Letterbox

from .parts import OURS, SIZE, TOKENS, Config

STAGES = ('builds', 'trains', 'predicts', 'resumes')


class Trial:
    """One combination: the other parts are ours.

    Args:
        encoder, head: configs.
        text: config of the text encoder, the ids of a sentence in its tokens, and its padding.
        loss: of the head and of both branches; None: binary cross-entropy.
    """

    def __init__(
        self, encoder: Config = OURS[0], head: Config = OURS[1], text: Any = OURS[2], loss: Any = None
    ) -> None:
        self.encoder, self.head, self.loss = encoder, head, loss
        self.text, self.row, self.padding = text

    def build(self) -> nn.Module:
        """A segmentor of these parts with both branches; the neck follows the encoder's widths, the head the text's."""
        torch.manual_seed(1)
        widths, words = build_part(self.encoder).out_channels, build_part(self.text)
        plain = len(set(widths[:2])) == 1  # one grid: a plain ViT
        neck = dict(
            type='CrossModalFPN', in_channels=widths, text_channels=8, out_channels=(8, 16, 32), scale_levels=plain
        )
        head = dict(self.head, loss_decode=self.loss)
        if 'word_channels' in head:
            head['word_channels'] = getattr(words, 'word_channels', words.embed_dims)
        branches = [dict(type=name, loss_decode=self.loss) for name in ('LMVSD', 'VMLSD')]
        torch.manual_seed(1)
        parts = dict(backbone=self.encoder, text_encoder=self.text, neck=neck, decode_head=head, distillation=branches)
        return build_part(dict(type='ReferringSegmentor', **parts))

    def batch(self, training: bool) -> dict[str, Any]:
        """Two random pictures with three expressions in all."""
        random = torch.Generator().manual_seed(2)
        images, samples = [], []
        for count in (2, 1):
            images.append(torch.randint(0, 256, (3, SIZE, SIZE), dtype=torch.uint8, generator=random))
            sample = SegDataSample(metainfo=dict(letterbox=Letterbox.fit((40, 30), (SIZE, SIZE))))
            ids = torch.full((count, TOKENS), self.padding)
            ids[:, : len(self.row)] = torch.tensor(self.row)
            masks = torch.rand(count, *((SIZE, SIZE) if training else (40, 30)), generator=random) > 0.5
            sample.expressions = InstanceData(input_ids=ids, masks=masks.float() if training else masks)
            samples.append(sample)
        return dict(inputs=images, data_samples=samples)

    def trains(self, model: nn.Module) -> None:
        """One step: losses and gradients must be finite and reach the embeddings."""
        before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
        losses = self.step(model, optimiser_of(model))
        if not all(torch.as_tensor(loss).isfinite() for loss in losses.values()):
            raise ValueError(f'a loss is not finite: {losses}')
        moved = {name.split('.')[0] for name, p in model.named_parameters() if not torch.equal(p, before[name])}
        still = {'backbone', 'text_encoder', 'neck', 'decode_head', 'distillation'} - moved
        if still:
            raise ValueError(f'nothing moved in {", ".join(sorted(still))}')

    def predicts(self, model: nn.Module) -> None:
        """One evaluation at the pictures' own size."""
        samples = model.eval().test_step(self.batch(training=False))
        shapes = [tuple(sample.predictions.masks.shape) for sample in samples]
        if shapes != [(2, 40, 30), (1, 40, 30)]:
            raise ValueError(f'masks of shapes {shapes}')

    def resumes(self, model: nn.Module) -> None:
        """Saved after a step, and loaded into a model built anew, it takes the same next step, to the last bit."""
        optimiser, file = optimiser_of(model), io.BytesIO()
        self.step(model, optimiser)
        torch.save(dict(model=model.state_dict(), optimiser=optimiser.state_dict()), file)
        file.seek(0)
        saved, other = torch.load(file, weights_only=True), self.build()
        other.load_state_dict(saved['model'])
        resumed = optimiser_of(other)
        resumed.load_state_dict(saved['optimiser'])
        self.step(model, optimiser)
        self.step(other, resumed)
        state = model.state_dict()
        differing = [name for name, value in other.state_dict().items() if not torch.equal(value, state[name])]
        if differing:
            raise ValueError(f'{len(differing)} weights differ after a resume, such as {differing[0]}')

    def step(self, model: nn.Module, optimiser: OptimWrapper) -> dict[str, Any]:
        torch.manual_seed(3)  # masks, and what drops out
        return model.train().train_step(self.batch(training=True), optimiser)

    def try_out(self) -> dict[str, str]:
        """``yes`` for each stage that works; at the first that does not, the reason, and after it where it stands."""
        cells = dict.fromkeys(STAGES, '')
        try:
            model = self.build()
            cells['builds'] = 'yes'
            for stage in STAGES[1:]:
                getattr(self, stage)(model)
                cells[stage] = 'yes'
        except Exception as error:  # whatever somebody's part does: the table is there to tell it
            failed = next(stage for stage in STAGES if not cells[stage])
            reason = textwrap.shorten(str(error) or type(error).__name__, 110, placeholder=' ...')
            cells |= {stage: f'see "{failed}"' for stage in STAGES if not cells[stage]} | {failed: reason}
        return cells


def optimiser_of(model: nn.Module) -> OptimWrapper:
    return OptimWrapper(torch.optim.Adam(model.parameters(), lr=1e-3))
