"""Gradients through the cache, against those of the same passes with all their graphs kept."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn
from toy_model import inputs, noise, toy_model

from trainer.gradient_cache import GradientCache, MiniBatch
from trainer.losses import ContrastiveLoss, ContrastiveOutcome, NoMask, PairIds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class Dropping(nn.Module):
    """A model of a few numbers, with dropout: features [n, 3] → embeddings [n, 4]."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.passes = 0
        self.with_graph = 0

    def forward(self, features: Tensor) -> Tensor:
        self.passes += 1
        self.with_graph += torch.is_grad_enabled()
        dropped: Tensor = nn.functional.dropout(self.linear(features), 0.4, self.training)
        return dropped


class Squares(nn.Module):
    """A loss with a parameter of its own, of embeddings [n, 4], in whatever type they have."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, embeddings: Tensor) -> ContrastiveOutcome:
        loss = self.weight * (embeddings @ embeddings.T).square().logsumexp(dim=1).sum()
        nothing = torch.zeros(())
        return ContrastiveOutcome(loss, nothing, nothing, nothing, nothing, nothing)


def features(*sizes: int) -> list[MiniBatch]:
    generator = torch.Generator().manual_seed(sum(sizes))
    return [
        {"features": torch.randn(size, 3, generator=generator, dtype=torch.float64)}
        for size in sizes
    ]


def expected_gradients(
    model: nn.Module,
    loss: nn.Module,
    mini_batches: Sequence[MiniBatch],
    compute_loss: Callable[[Tensor], ContrastiveOutcome],
) -> tuple[Tensor, dict[str, Tensor]]:
    """All graphs at once, the passes in the same order; leaves the gradients at None."""
    outcome = compute_loss(torch.cat([model(**mini_batch) for mini_batch in mini_batches]))
    torch.autograd.backward(outcome.loss)
    found = gradients(model) | {f"loss.{name}": tensor for name, tensor in gradients(loss).items()}
    model.zero_grad()
    loss.zero_grad()
    return outcome.loss.detach(), found


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {
        name: parameter.grad
        for name, parameter in module.named_parameters()
        if parameter.grad is not None
    }


@pytest.mark.parametrize("keep_graphs", [False, True])
@pytest.mark.parametrize("sizes", [(2, 3, 1, 4, 4), (6,), (1,) * 6])
def test_gradients_are_exact_dropout_and_all(sizes: tuple[int, ...], keep_graphs: bool) -> None:
    model, loss = Dropping().double(), Squares()
    mini_batches = features(*sizes)
    torch.manual_seed(3)
    expected_loss, expected = expected_gradients(model, loss, mini_batches, loss)
    after_one_pass = torch.get_rng_state()

    torch.manual_seed(3)
    outcome = GradientCache(model, keep_graphs=keep_graphs).step(mini_batches, loss)

    assert outcome.loss.item() == expected_loss.item()
    found = gradients(model) | {"loss.weight": loss.weight.grad}
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-12, atol=1e-12)
    assert torch.equal(torch.get_rng_state(), after_one_pass)


@pytest.mark.parametrize("bfloat16", [False, True])
def test_it_works_for_the_real_model_with_or_without_autocast(bfloat16: bool) -> None:
    """Sounds and texts, mini-batches of all shapes, one autocast around both passes."""
    model, loss = toy_model().train(), ContrastiveLoss(0.5, mask=NoMask())
    mini_batches = [
        inputs(model, [noise(1), "wind", noise(2, 1.0)]),
        inputs(model, ["a dog, far off"]),
        inputs(model, ["rain", "leaves in the wind"]),
        inputs(model, [noise(3)]),
        inputs(model, ["barking", "a cat"]),
    ]
    ids = PairIds(torch.arange(4), torch.arange(5), torch.arange(4), torch.tensor([3]))

    def compute_loss(embeddings: Tensor) -> ContrastiveOutcome:
        outcome: ContrastiveOutcome = loss(embeddings[:4], embeddings[4:], ids)
        return outcome

    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        torch.manual_seed(0)
        expected_loss, expected = expected_gradients(model, loss, mini_batches, compute_loss)
        torch.manual_seed(0)
        outcome = GradientCache(model).step(mini_batches, compute_loss)

    assert outcome.loss.item() == pytest.approx(expected_loss.item(), rel=1e-6)
    found = gradients(model)
    assert found.keys() | {"loss.log_scale"} == expected.keys()
    assert "audio_projector.net.0.weight" in found
    tolerance: dict[str, Any] = (
        {"rtol": 0.02, "atol": 2e-3} if bfloat16 else {"rtol": 1e-4, "atol": 1e-6}
    )
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], **tolerance)
    torch.testing.assert_close(loss.log_scale.grad, expected["loss.log_scale"])


@pytest.mark.parametrize(("keep_graphs", "passes", "with_graph"), [(False, 8, 4), (True, 4, 4)])
def test_the_cache_holds_one_graph_at_a_time_for_a_second_pass(
    keep_graphs: bool, passes: int, with_graph: int
) -> None:
    model = Dropping().double()

    GradientCache(model, keep_graphs=keep_graphs).step(features(2, 2, 1, 3), Squares())

    assert (model.passes, model.with_graph) == (passes, with_graph)


@pytest.mark.parametrize("keep_graphs", [False, True])
def test_a_scaled_loss_scales_all_gradients_once(keep_graphs: bool) -> None:
    model, loss = Dropping().double().eval(), Squares()
    mini_batches = features(2, 2, 2, 2)
    _, expected = expected_gradients(model, loss, mini_batches, loss)

    GradientCache(
        model,
        backward=lambda loss: (1024 * loss).backward(),  # type: ignore[no-untyped-call]
        keep_graphs=keep_graphs,
    ).step(mini_batches, loss)

    for name, gradient in gradients(model).items():
        torch.testing.assert_close(gradient, 1024 * expected[name])


@pytest.mark.parametrize(
    ("keep_graphs", "synced"),
    [(False, [False, False, False, True]), (True, [False, True])],
)
def test_devices_exchange_gradients_in_the_last_pass_only(
    keep_graphs: bool, synced: list[bool]
) -> None:
    """As do the passes of `DistributedDataParallel`: it asks when it goes forward."""
    model, inside = Dropping().double(), False
    seen: list[bool] = []
    model.register_forward_pre_hook(lambda *_: seen.append(not inside))

    @contextmanager
    def no_sync() -> Iterator[None]:
        nonlocal inside
        inside = True
        yield
        inside = False

    GradientCache(model, no_sync=no_sync, keep_graphs=keep_graphs).step(features(2, 3), Squares())

    assert seen == synced
