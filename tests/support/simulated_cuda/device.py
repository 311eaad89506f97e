"""A CUDA device made of CPU memory, for one process that does nothing else.

Its tensors say that they are on `cuda:0` and compute on the CPU, so that real values flow through
the whole code. What fails on a GPU fails here: operators on tensors of two devices, a generator of
the CPU for a tensor of the GPU, `numpy()` of a tensor of the GPU. `COUNTS` counts what makes the
host wait for the device, and the copies between the two, by the lines of `trainables` that cause
them. Kernels, precision and speed are not simulated; attention runs on PyTorch's `math` backend.

`install` cannot be undone: `runs.py` calls it in a process of its own.
"""

import gc
import sys
import weakref
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch.nn.attention import SDPBackend
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")
ROOT = str(Path(__file__).resolve().parents[3] / "trainables") + "/"
MEMORY = 2**34  # of the card, in bytes
aten = torch.ops.aten

WAITING = {  # operators whose result, or whose shape, the host reads from the device
    "_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "bincount",
    "repeat_interleave", "_unique2", "unique_dim", "unique_consecutive", "_linalg_eigh",
    "_linalg_svd", "_linalg_check_errors", "linalg_lstsq",
}  # fmt: skip
COPYING = {aten.copy_.default, aten._to_copy.default}
MIXING = {*COPYING, aten.detach.default, aten.lift_fresh.default}  # take tensors of any device
INDEXING = {aten.index.Tensor, aten._unsafe_index.Tensor, aten.index_put.default,
            aten.index_put_.default, aten._index_put_impl_.default}  # fmt: skip


@dataclass
class Counts:
    """Events by the lines of `trainables` that caused them, the innermost first."""

    waits: Counter[str] = field(default_factory=Counter)  # of the host for the device
    to_device: Counter[str] = field(default_factory=Counter)  # copies from ordinary memory
    page_locked: Counter[str] = field(default_factory=Counter)  # copies that nothing waits for
    kernels: int = 0  # operators that are not views

    def clear(self) -> None:
        self.waits.clear()
        self.to_device.clear()
        self.page_locked.clear()
        self.kernels = 0


COUNTS = Counts()
PAGE_LOCKED: dict[int, weakref.ref[torch.Tensor]] = {}  # by the address of the memory


class WrongDevice(RuntimeError):
    """An operation that a GPU refuses."""


class SimulatedTensor(torch.Tensor):
    """A tensor on `cuda:0`. Its values are on the CPU."""

    __module__ = "torch"  # by its first word, opt_einsum knows whose tensor it is
    values: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, values: torch.Tensor) -> "SimulatedTensor":
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            values.size(),
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            layout=values.layout,
            device=CUDA,
        )
        made.values = values.detach()
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})

    def __repr__(self, **_) -> str:
        return f"SimulatedTensor({self.values})"

    def tolist(self):
        COUNTS.waits[f"tolist {site()}"] += 1
        return self.values.tolist()

    def numpy(self, *, force: bool = False):
        if not force:
            raise TypeError("can't convert cuda:0 device type tensor to numpy: copy it to the host")
        return self.detach().cpu().numpy()

    def __array__(self, *_, **__):
        return self.numpy()

    # safetensors looks for tensors that share memory.
    def untyped_storage(self) -> torch.UntypedStorage:
        return self.values.untyped_storage()

    def data_ptr(self) -> int:
        return self.values.data_ptr()


class SimulatedGenerator(torch._C.Generator):
    """A generator of either device. One of the GPU draws as one of the CPU does."""

    def __new__(cls, device: torch.device | str = "cpu") -> "SimulatedGenerator":
        made = super().__new__(cls)
        if torch.device(device).type == "cuda":
            GENERATORS[made._cdata] = made  # operators get another object with the same data
        return made


# Those of the GPU, by the address of their data.
GENERATORS: weakref.WeakValueDictionary[int, SimulatedGenerator] = weakref.WeakValueDictionary()


class SimulatedEvent:
    """A mark in the queue of the device, which is always empty."""

    def record(self) -> None: ...

    def synchronize(self) -> None: ...


class SimulatedDevice(TorchDispatchMode):
    """Sends every operator to `run`, also those that make a tensor on the device from none."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {})


def run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run an operator on the CPU, or refuse it as a GPU would.

    Raises:
        WrongDevice: A tensor or a generator is on the wrong device.
    """
    if func in (aten.pin_memory.default, aten._pin_memory.default):
        return page_locked(args[0].clone())
    if kwargs.get("pin_memory"):
        return page_locked(func(*args, **{**kwargs, "pin_memory": False}))
    leaves = tree_leaves((args, kwargs))
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    ours = [tensor for tensor in tensors if isinstance(tensor, SimulatedTensor)]
    theirs = [tensor for tensor in tensors if not isinstance(tensor, SimulatedTensor)]
    named = [leaf for leaf in leaves if isinstance(leaf, torch.device)]
    if kwargs.get("device") is not None:
        named = [torch.device(kwargs["device"])]
    to = named[0].type if named else None
    if not ours and to != "cuda":
        return func(*args, **kwargs)
    drawing = [leaf for leaf in leaves if isinstance(leaf, torch._C.Generator)]
    if any(generator._cdata not in GENERATORS for generator in drawing):
        raise WrongDevice(f"{func}: a generator of the CPU for a tensor of the GPU, {site()}")
    if ours:
        check_devices(func, args, theirs)
    # The result of a copy to the host is the only one on the CPU.
    is_written = func is aten.copy_.default and not isinstance(args[0], SimulatedTensor)
    is_for_host = to == "cpu" or is_written
    count(func, args, theirs, is_for_host=is_for_host)
    if func is aten._fused_sdp_choice.default:
        return SDPBackend.MATH.value
    plain = {key: CPU if key == "device" else value for key, value in kwargs.items()}
    out = func(*tree_map(_values, args), **tree_map(_values, plain))
    if is_for_host:
        return out.clone() if any(out is tensor.values for tensor in ours) else out
    written = {id(tensor.values): tensor for tensor in ours}
    # In inference mode a view of another tensor, such as a parameter, is no inference tensor.
    is_view = any(each.alias_info and not each.alias_info.is_write for each in func._schema.returns)
    is_other = is_view and not any(tensor.is_inference() for tensor in ours)
    with torch.inference_mode(False) if is_other else nullcontext():
        return tree_map(lambda leaf: _on_device(leaf, written), out)


def check_devices(func: Any, args: tuple[Any, ...], theirs: list[torch.Tensor]) -> None:
    """Refuse tensors of the CPU beside those of the GPU.

    Raises:
        WrongDevice: An operator takes both.
    """
    if func in MIXING:
        return
    if func in INDEXING:  # indices may be on the CPU
        theirs = [t for t in theirs if t is args[0] or (len(args) > 2 and t is args[2])]
    # A number on the CPU may stand beside tensors of a GPU, but it cannot be written to, and fused
    # optimisers refuse it.
    written = args[0] if func._schema.is_mutable else None
    wrong = [t for t in theirs if t.dim() > 0 or t is written or "_fused_" in str(func)]
    if wrong:
        shapes = [tuple(tensor.shape) for tensor in wrong]
        raise WrongDevice(f"{func}: tensors of cuda:0, and of cpu of shapes {shapes}, {site()}")


def count(
    func: Any, args: tuple[Any, ...], theirs: list[torch.Tensor], *, is_for_host: bool
) -> None:
    """Count the kernel, the copy, and the reason to wait for the device, if the operator has
    one."""
    aliases = [argument.alias_info for argument in func._schema.arguments]
    COUNTS.kernels += all(alias is None or alias.is_write for alias in aliases)
    name = func._schema.name.removeprefix("aten::")
    if is_for_host or name in WAITING or (func in INDEXING and has_mask(args)):
        COUNTS.waits[f"{name} {site()}"] += 1
    elif theirs and (func in COPYING or func in INDEXING):
        ours = COUNTS.page_locked if is_page_locked(theirs[0]) else COUNTS.to_device
        ours[f"{name} {site()}"] += 1


def page_locked(tensor: torch.Tensor) -> torch.Tensor:
    """Note that a tensor and its views are in page-locked memory."""
    PAGE_LOCKED[tensor.untyped_storage().data_ptr()] = weakref.ref(tensor)
    return tensor


def is_page_locked(tensor: torch.Tensor) -> bool:
    """Return whether a copy of this tensor to the device lets the host go on."""
    noted = PAGE_LOCKED.get(tensor.untyped_storage().data_ptr())
    return noted is not None and noted() is not None


def has_mask(args: tuple[Any, ...]) -> bool:
    """Return whether an index is a mask, whose places a GPU has to count first."""
    masks = [i for i in args[1] if i is not None and i.dtype in (torch.bool, torch.uint8)]
    is_filled = len(args) > 2 and args[2].numel() == 1  # by one number: no places are needed
    return bool(masks) and not is_filled


def site() -> str:
    """Return the innermost lines of `trainables` that are running, at most two."""
    frame, lines = sys._getframe(1), []
    while frame is not None and len(lines) < 2:
        if frame.f_code.co_filename.startswith(ROOT):
            lines.append(f"{frame.f_code.co_filename[len(ROOT) :]}:{frame.f_lineno}")
        frame = frame.f_back
    return "at " + (" < ".join(lines) or "a line of a library")


def _values(leaf: Any) -> Any:
    if isinstance(leaf, torch.device):
        return torch.device(CPU)
    return leaf.values if isinstance(leaf, SimulatedTensor) else leaf


def _on_device(leaf: Any, written: dict[int, SimulatedTensor]) -> Any:
    if not isinstance(leaf, torch.Tensor):
        return leaf
    return written[id(leaf)] if id(leaf) in written else SimulatedTensor(leaf)


def live_bytes() -> int:
    """Return the bytes of all tensors that are on the device."""
    gc.collect()
    found = [each for each in gc.get_objects() if isinstance(each, SimulatedTensor)]
    storages = {each.values.untyped_storage().data_ptr(): each.values for each in found}
    return sum(values.untyped_storage().nbytes() for values in storages.values())


def install() -> None:
    """Give this process the device, after `load_hooks`."""
    torch._C._set_only_lift_cpu_tensors(True)  # `torch.tensor(..., device="cuda")` copies
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # `module.to("cuda")`
    properties = SimpleNamespace(
        name="simulated", total_memory=MEMORY, major=9, minor=0, multi_processor_count=1
    )
    answers = {
        "_lazy_init": None, "is_initialized": True, "is_available": True, "device_count": 1,
        "is_bf16_supported": True, "is_tf32_supported": True,
        "current_device": 0, "synchronize": None, "empty_cache": None,
        "get_device_name": properties.name, "get_device_properties": properties,
        "get_device_capability": (9, 0), "mem_get_info": (MEMORY, MEMORY), "manual_seed_all": None,
        "reset_peak_memory_stats": None, "max_memory_allocated": 0, "max_memory_reserved": 0,
        "memory_allocated": 0, "memory_reserved": 0, "set_per_process_memory_fraction": None,
    }  # fmt: skip
    torch.Generator = SimulatedGenerator
    for name, answer in answers.items():
        setattr(torch.cuda, name, lambda *_, answer=answer, **__: answer)
    torch.cuda.Event = SimulatedEvent
    SimulatedDevice().__enter__()
