"""Which kernel computes attention: the fused ones are fast, plain mathematics differentiates twice.

On a CPU, and on a GPU with the flash and memory-efficient kernels, fused attention has neither a
second derivative nor forward mode. Every backbone here calls PyTorch's
`scaled_dot_product_attention`, so that a context can choose.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

from torch.nn.attention import SDPBackend, sdpa_kernel


def attention(kernel: Literal["fused", "math"]) -> AbstractContextManager[None]:
    """Returns a context in which attention runs on `kernel`. Make a new one for each `with`."""
    return sdpa_kernel(SDPBackend.MATH) if kernel == "math" else nullcontext()
