"""Batches of two devices as one, on two devices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gathering_work
import pytest
import torch
from devices import on_devices

from trainer.gathering import gather_batch, world_size
from trainer.losses import ContrastiveLoss

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def gathered(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder: Path = tmp_path_factory.mktemp("devices")
    return on_devices(gathering_work.gather_and_learn, folder=folder)


def test_every_device_gets_the_whole_batch(gathered: list[dict[str, Any]]) -> None:
    queries, documents, ids = gathering_work.joined_batch()
    for device in gathered:
        assert torch.equal(device["queries"], queries)
        assert torch.equal(device["documents"], documents)
        assert torch.equal(device["query_ids"], ids.queries)
        assert torch.equal(device["document_ids"], ids.documents)
        assert torch.equal(device["owners"], ids.negative_owners)


def test_clips_meet_and_what_is_of_no_clip_stays_alone(gathered: list[dict[str, Any]]) -> None:
    for device in gathered:
        clips = device["clip_ids"].tolist()
        assert clips[1] == clips[4] == 7
        others = [clips[row] for row in (0, 2, 3, 5)]
        assert len(set(others)) == 4
        assert max(others) < 0


def test_averaged_gradients_are_those_of_the_joined_batch(gathered: list[dict[str, Any]]) -> None:
    queries, documents, ids = gathering_work.joined_batch()
    ids.clips[3:] -= 10 * (ids.clips[3:] < 0)  # as numbered for one device
    queries.requires_grad_()
    documents.requires_grad_()
    loss = ContrastiveLoss(0.3)
    expected = loss(queries, documents, ids)
    expected.loss.backward()
    assert expected.masked_by_identity > 0
    assert expected.masked_by_similarity > 0
    assert queries.grad is not None
    assert documents.grad is not None

    for rank, device in enumerate(gathered):
        assert device["loss"] == expected.loss.item()
        torch.testing.assert_close(device["of_scale"], loss.log_scale.grad)
        rows = slice(3 * rank, 3 * rank + 3)
        own = torch.cat([documents.grad[rows], documents.grad[gathering_work.NEGATIVES[rank]]])
        torch.testing.assert_close(device["gradients"][0] / 2, queries.grad[rows])
        torch.testing.assert_close(device["gradients"][1] / 2, own)


def test_devices_with_different_numbers_of_pairs_stop_alike(gathered: list[dict[str, Any]]) -> None:
    said = {device["uneven"] for device in gathered}
    assert said == {"devices hold different numbers of pairs: 3, 2"}


def test_one_device_has_nothing_to_gather() -> None:
    queries, documents, ids = gathering_work.joined_batch()

    assert world_size() == 1
    assert gather_batch(queries, documents, ids) == (queries, documents, ids)
