"""What this machine computes best in. Imports torch, and not the model, which takes longer."""

from __future__ import annotations

import os

import torch

from alm2vec_search.errors import ModelError, one_line


def require_device(device: str) -> None:
    """
    Raises:
        ModelError: the device isn't there.
    """
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(
            f"the device {device} can't be used: {one_line(error)}",
            hint="--device cpu works everywhere",
        ) from error


def preferred_device() -> str:
    """The GPU, if there is one that torch can use."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def device_memory(device: str) -> int:
    """Bytes that a device has in all."""
    if device.startswith("cuda"):
        return int(torch.cuda.get_device_properties(torch.device(device)).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def device_name(device: str) -> str:
    """As its maker calls it."""
    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name(torch.device(device)))
    return str(torch.cpu.get_capabilities().get("cpu_name", "CPU"))


def preferred_dtype(device: str) -> str:
    """What is quickest on this device without being worse: bfloat16 where it is native.

    On a CPU with AVX-512 BF16 or AMX the small model's encoder is twice as fast in it. A collection
    remembers the type it was made in, so that another machine can still search it.
    """
    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    if device != "cpu" or not hasattr(torch.cpu, "get_capabilities"):  # an older torch has none
        return "float32"
    capabilities = torch.cpu.get_capabilities()
    native = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    return "bfloat16" if native else "float32"
