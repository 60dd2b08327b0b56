"""CompileHook: the same numbers and the same checkpoints; a wrong name is named."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from cmmasksd.engine import CompileHook


def run_hook(model, *args, **options):
    CompileHook(*args, **options).before_run(SimpleNamespace(model=model))
    return model


def losses_and_gradients(model, batch):
    torch.manual_seed(5)
    losses = model(**model.data_preprocessor(batch, True), mode='loss')
    sum(losses.values()).backward()
    return losses, {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.slow
def test_a_compiled_model_trains_with_the_same_numbers(tiny_model, make_batch):
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    plain, compiled = tiny_model().train(), run_hook(tiny_model().train(), backend=backend)
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    (one, gradients), (other, theirs) = (losses_and_gradients(model, make_batch((1, 1))) for model in (plain, compiled))
    assert len(graphs) >= 4
    assert one.keys() == other.keys() and len(one) == 3
    for name, loss in one.items():
        torch.testing.assert_close(other[name], loss)
    for name, gradient in gradients.items():
        assert (gradient is None) == (theirs[name] is None)
        if gradient is not None:
            torch.testing.assert_close(theirs[name], gradient)


def test_nothing_is_compiled_before_it_is_run(tiny_model):
    model = run_hook(tiny_model(), verbs=['neck.project'], backend='eager')
    assert 'project' in vars(model.neck) and 'fuse' not in vars(model.neck)


def test_shapes_are_static_unless_asked_otherwise(tiny_model, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, 'compile', lambda method, **options: asked.append(options) or method)
    run_hook(tiny_model(), verbs=['neck.fuse'], mode='reduce-overhead')
    run_hook(tiny_model(), verbs=['neck.fuse'], dynamic=True)
    assert asked == [dict(dynamic=False, mode='reduce-overhead'), dict(dynamic=True)]


@pytest.mark.parametrize('verb', ['nck.project', 'neck.projekt'])
def test_a_verb_that_does_not_exist_is_named(tiny_model, verb):
    with pytest.raises(ValueError, match=verb):
        run_hook(tiny_model(), verbs=[verb])
