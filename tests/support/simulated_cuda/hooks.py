"""Compilation and loading of `hooks.cpp`. PyTorch looks for hooks once, at its import."""

import ctypes
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

SOURCE = Path(__file__).with_name("hooks.cpp")


def torch_folder() -> Path:
    """Return the folder of the package torch, without importing it."""
    spec = find_spec("torch")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])


def compile_hooks(compiler: str, library: Path) -> None:
    """Compile the hooks against the headers of the installed torch, which takes seconds."""
    include = torch_folder() / "include"
    headers = [f"-I{include}", f"-I{include / 'torch' / 'csrc' / 'api' / 'include'}"]
    options = ["-shared", "-fPIC", "-O0", "-std=c++20"]
    subprocess.run([compiler, *options, *headers, SOURCE, "-o", library], check=True)


def load_hooks(library: str) -> None:
    """Load the compiled hooks into this process, before torch is imported."""
    assert "torch" not in sys.modules, "torch is imported: it has looked for hooks"
    ctypes.CDLL(str(torch_folder() / "lib" / "libtorch_cpu.so"), mode=ctypes.RTLD_GLOBAL)
    ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL).install_guard()
