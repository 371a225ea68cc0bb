"""Batches that don't fit into memory at once, with exactly the gradients that they would have.

A contrastive loss needs the embeddings of the whole batch, and is no sum over its inputs: adding
up the gradients of smaller batches is another, poorer loss. But the embeddings are small; what
fills memory is the graph that leads to them. So (GradCache: Gao, Zhang, Han and Callan, 2021,
arXiv 2101.06983)

1. embed the mini-batches one after the other, without a graph;
2. compute the loss from all embeddings, and its gradient at each of them;
3. embed the mini-batches again, with a graph, and send that gradient through it.

By the chain rule the sum of what the third step leaves is the gradient of the whole batch. It costs
one more pass forward. Dropout must do the same thing both times, so the state of the random number
generators is kept before each pass and put back. Where all graphs fit into memory, they can be kept
instead, to the same end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor

MiniBatch = Mapping[str, Tensor]  # arguments of the model


class HasLoss(Protocol):
    """What a loss function gives: the loss, and whatever else it wants to say."""

    @property
    def loss(self) -> Tensor: ...


Outcome = TypeVar("Outcome", bound=HasLoss)


@dataclass(frozen=True, slots=True)
class GradientCache:
    """A model, trained through batches of any size.

    Args:
        model: a mini-batch's tensors → its embeddings [rows, dim].
        backward: takes the loss back to the embeddings; where gradients are scaled, it scales.
        no_sync: within it, gradients stay on this device. All passes but the last are, so that the
            devices exchange gradients once a batch, and as often as each other.
        keep_graphs: don't go through the model twice. It must be false where a model is told by its
            last pass which of its parameters got gradients, as `DistributedDataParallel` is when
            it looks for those that didn't.
    """

    model: Callable[..., Tensor]
    backward: Callable[[Tensor], object] = Tensor.backward
    no_sync: Callable[[], AbstractContextManager[object]] = nullcontext
    keep_graphs: bool = False

    def step(
        self, mini_batches: Sequence[MiniBatch], compute_loss: Callable[[Tensor], Outcome]
    ) -> Outcome:
        """Add the gradients of a batch to the parameters of the model, and of the loss.

        Args:
            mini_batches: n inputs in all.
            compute_loss: embeddings [n, dim], in the order of the mini-batches → the loss and what
                belongs to it.

        Returns:
            what `compute_loss` gave.
        """
        if self.keep_graphs:
            return self._with_all_graphs(mini_batches, compute_loss)
        passes = [_Pass(mini_batch) for mini_batch in mini_batches]
        with torch.no_grad(), self.no_sync():
            embedded = [one.first(self.model) for one in passes]
        # Not every torch knows that a weight cast without a graph is of no use for the second pass.
        torch.clear_autocast_cache()
        embeddings = torch.cat(embedded).requires_grad_()  # [n, dim]
        outcome = compute_loss(embeddings)
        self.backward(outcome.loss)
        assert embeddings.grad is not None
        gradients = torch.split(embeddings.grad, list(map(len, embedded)))
        for number, (one, gradient) in enumerate(zip(passes, gradients, strict=True), start=1):
            with self._syncing(number == len(passes)):
                torch.autograd.backward(one.second(self.model), gradient)
        return outcome

    def _with_all_graphs(
        self, mini_batches: Sequence[MiniBatch], compute_loss: Callable[[Tensor], Outcome]
    ) -> Outcome:
        embedded = []
        for number, mini_batch in enumerate(mini_batches, start=1):
            with self._syncing(number == len(mini_batches)):
                embedded.append(self.model(**mini_batch))
        outcome = compute_loss(torch.cat(embedded))
        self.backward(outcome.loss)
        return outcome

    def _syncing(self, is_last: bool) -> AbstractContextManager[object]:
        return nullcontext() if is_last else self.no_sync()


class _Pass:
    """A mini-batch, embedded twice with the same dropout."""

    def __init__(self, mini_batch: MiniBatch) -> None:
        self.mini_batch = mini_batch
        tensors = mini_batch.values()
        self.devices = sorted({tensor.get_device() for tensor in tensors if tensor.is_cuda})

    def first(self, model: Callable[..., Tensor]) -> Tensor:
        """Embeddings [rows, dim], as the generators have it."""
        self.cpu_state = torch.get_rng_state()
        self.cuda_states = [torch.cuda.get_rng_state(device) for device in self.devices]
        return model(**self.mini_batch)

    def second(self, model: Callable[..., Tensor]) -> Tensor:
        """The same again. It leaves the generators where the first did."""
        torch.set_rng_state(self.cpu_state)
        for device, state in zip(self.devices, self.cuda_states, strict=True):
            torch.cuda.set_rng_state(state, device)
        return model(**self.mini_batch)
