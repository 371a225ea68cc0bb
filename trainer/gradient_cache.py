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
generators is kept before each pass and put back.
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
        at_once: whether batches of one mini-batch a side go through with a single pass. It must be
            false where a model is told by its last pass which of its parameters got gradients, as
            `DistributedDataParallel` is when it looks for those that didn't.
    """

    model: Callable[..., Tensor]
    backward: Callable[[Tensor], object] = Tensor.backward
    no_sync: Callable[[], AbstractContextManager[object]] = nullcontext
    at_once: bool = True

    def step(
        self,
        queries: Sequence[MiniBatch],
        documents: Sequence[MiniBatch],
        compute_loss: Callable[[Tensor, Tensor], Outcome],
    ) -> Outcome:
        """Add the gradients of a batch to the parameters of the model, and of the loss.

        Args:
            queries: mini-batches, B inputs in all.
            documents: mini-batches, B+H inputs in all.
            compute_loss: embeddings [B, dim] and [B+H, dim] → the loss and what belongs to it.

        Returns:
            what `compute_loss` gave.
        """
        if self.at_once and len(queries) == len(documents) == 1:
            return self._at_once(queries[0], documents[0], compute_loss)
        passes = [_Pass(mini_batch) for mini_batch in (*queries, *documents)]
        with torch.no_grad(), self.no_sync():
            embedded = [one.first(self.model) for one in passes]
        # Not every torch knows that a weight cast without a graph is of no use for the second pass.
        torch.clear_autocast_cache()
        sizes = [len(rows) for rows in embedded]
        embeddings = torch.cat(embedded).requires_grad_()  # [B + B+H, dim]
        n_queries = sum(sizes[: len(queries)])
        outcome = compute_loss(embeddings[:n_queries], embeddings[n_queries:])
        self.backward(outcome.loss)
        assert embeddings.grad is not None
        gradients = torch.split(embeddings.grad, sizes)
        for number, (one, gradient) in enumerate(zip(passes, gradients, strict=True), start=1):
            with nullcontext() if number == len(passes) else self.no_sync():
                torch.autograd.backward(one.second(self.model), gradient)
        return outcome

    def _at_once(
        self,
        queries: MiniBatch,
        documents: MiniBatch,
        compute_loss: Callable[[Tensor, Tensor], Outcome],
    ) -> Outcome:
        with self.no_sync():
            embedded_queries = self.model(**queries)
        outcome = compute_loss(embedded_queries, self.model(**documents))
        self.backward(outcome.loss)
        return outcome


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
