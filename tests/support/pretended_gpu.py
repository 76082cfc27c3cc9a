"""A GPU that is none: tensors on `cuda:0` whose numbers lie in this machine's memory, refused wherever CUDA would refuse them.

What works here says nothing of speed, and of CUDA's own kernels neither; it says that no tensor of one device is mixed with
one of the other, or read by NumPy, on any path that is run. `make gpu-check` runs the same paths on a real one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
_aten = torch.ops.aten
_MOVES = {_aten._to_copy.default, _aten.copy_.default}
_TAKE_CPU_INDICES = {_aten.index.Tensor, _aten.index_put_.default, _aten.index_put.default, _aten._index_put_impl_.default}


class _OnGpu(torch.Tensor):
    """A tensor that says it lies on the GPU, around one that doesn't; to PyTorch's own code it is one without memory."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner: torch.Tensor) -> _OnGpu:
        made = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, inner.size(), strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype, device="meta"
        )
        made.inner = inner
        return made  # type: ignore[no-any-return]

    @property
    def device(self) -> torch.device:
        return GPU

    @property
    def is_cuda(self) -> bool:
        return True

    def numpy(self, *, force: bool = False) -> Any:
        raise TypeError(
            "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first."
        )

    def tolist(self) -> Any:
        return self.inner.tolist()

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"on the pretended GPU: {self.inner!r}"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _called(func, args, kwargs or {})


class _Gpu(TorchDispatchMode):
    """Sees calls without tensors of the GPU, too: those that make some, or move some there."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _called(func, args, kwargs or {})


def _called(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    tensors = [each for each in _leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
    known = {id(tensor.inner): tensor for tensor in tensors if isinstance(tensor, _OnGpu)}
    asked = kwargs.get("device")
    if known and func not in _MOVES:
        _refuse_mixed(func, args, tensors)
    goes_to_gpu = bool(known) if asked is None else torch.device(asked).type != "cpu"
    inner_args, inner_kwargs = _mapped(args, _inner), _mapped(kwargs, _inner)
    found = func(*inner_args, **inner_kwargs | ({} if asked is None else {"device": CPU}))
    if func is _aten.copy_.default:
        return args[0]
    if not goes_to_gpu:
        return found.clone() if func is _aten._to_copy.default else found
    return _mapped(
        found, lambda each: known[id(each)] if id(each) in known else _outer(each)
    )  # what is changed in place comes back itself


def _inner(value: Any) -> Any:
    return value.inner if isinstance(value, _OnGpu) else value


def _outer(value: Any) -> Any:
    return _OnGpu(value) if isinstance(value, torch.Tensor) else value


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """The same nest of lists, tuples and dictionaries with its leaves changed."""
    if isinstance(value, list | tuple):
        return type(value)([_mapped(each, change) for each in value])
    if isinstance(value, dict):
        return {key: _mapped(each, change) for key, each in value.items()}
    return change(value)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _leaves(each)
    else:
        yield value


def _refuse_mixed(func: Any, args: Any, tensors: list[torch.Tensor]) -> None:
    """As CUDA does: numbers alone may come from the CPU, and what items are picked by."""
    if func in _TAKE_CPU_INDICES:
        indices = list(_leaves(args[1]))
        tensors = [tensor for tensor in tensors if not any(tensor is index for index in indices)]
    if any(not isinstance(tensor, _OnGpu) and tensor.dim() > 0 for tensor in tensors):
        raise RuntimeError(f"{func}: expected all tensors to be on the same device, but found at least two, cuda:0 and cpu!")


class _AnyGenerator(torch.Generator):
    """Of the CPU, whatever device it is asked for."""

    def __new__(cls, device: object = CPU) -> _AnyGenerator:
        return super().__new__(cls)


@contextmanager
def pretended_gpu(*, bfloat16: bool = True) -> Iterator[torch.device]:
    """All that runs inside finds one GPU.

    Args:
        bfloat16: Whether it multiplies bfloat16.

    Yields:
        Its device.
    """
    made = torch.tensor
    with pytest.MonkeyPatch.context() as patch, _Gpu():
        patch.setattr(torch.cuda, "_lazy_init", lambda: None)
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "device_count", lambda: 1)
        patch.setattr(torch.cuda, "set_device", lambda device: None)
        patch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: bfloat16)
        patch.setattr(torch, "Generator", _AnyGenerator)
        patch.setattr(torch, "tensor", lambda data, dtype=None, device=CPU: made(data, dtype=dtype).to(device))
        yield GPU
