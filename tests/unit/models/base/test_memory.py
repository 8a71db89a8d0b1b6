from __future__ import annotations

import pytest
import torch

from dualclip_lightning.models.base import out_of_memory_advice


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
        RuntimeError("Out of memory on the device"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        MemoryError(),
    ],
)
def test_running_out_of_memory_names_what_to_reduce(error):
    with pytest.raises(RuntimeError, match=r"A batch of 8 does not fit in memory\. Lower eval") as raised, \
            out_of_memory_advice(8):  # fmt: skip
        raise error
    assert raised.value.__cause__ is error


def test_a_real_allocation_failure_names_what_to_reduce():
    with pytest.raises(RuntimeError, match="does not fit in memory"), out_of_memory_advice(8):
        torch.empty(2**60, dtype=torch.uint8)


def test_arguments_that_reduce_memory_are_named():
    wanted = r"Lower eval_batch_size of the data \(now 8\) or lower image_size or raise subsets\."
    with pytest.raises(RuntimeError, match=wanted), out_of_memory_advice(8, ("lower image_size", "raise subsets")):
        raise MemoryError


def test_other_errors_pass_through():
    with pytest.raises(RuntimeError, match="something else"), out_of_memory_advice(8):
        raise RuntimeError("something else")
