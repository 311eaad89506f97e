"""The Fourier operator: what it is a function of, and what it leaves alone."""

import subprocess
import sys

import pytest
import torch

from tests.support.shapes import shape_of
from trainables.models.networks.fno import build_fno

pytestmark = pytest.mark.filterwarnings("ignore")


def operator(*side: int, channels=(2, 3), modes=3):
    torch.manual_seed(0)
    task = shape_of((channels[0], *side), (channels[1], *side))
    return build_fno(task, modes=modes, width=4, layers=2)


@pytest.mark.parametrize("side", [(16,), (17,), (8, 8), (9, 5)])
def test_fields_of_any_grid_are_mapped_to_fields_on_it(side):
    assert operator(*side)(torch.randn(2, 2, *side)).shape == (2, 3, *side)


def test_an_operator_is_one_of_functions_and_not_of_grids():
    """A band-limited function on twice the points has the same image at the common points."""
    layers = operator(16)
    coarse, fine = (torch.arange(n) / n for n in (16, 32))

    def wave(x):
        return torch.stack([torch.sin(2 * torch.pi * x), torch.cos(4 * torch.pi * x)])[None]

    # The coordinates of a grid end with its last point, so that they are cut out of the inputs.
    layers.operator.positional_embedding = None
    layers.operator.lifting.fcs[0] = torch.nn.Conv1d(2, 8, 1)
    first = layers.operator.fno_blocks.convs[0]
    values = [first(wave(x).repeat(1, 2, 1)) for x in (coarse, fine)]
    torch.testing.assert_close(values[0], values[1][..., ::2], rtol=1e-4, atol=1e-5)


def test_frequencies_beyond_those_kept_do_not_reach_the_convolution():
    conv = operator(32, modes=3).operator.fno_blocks.convs[0]
    x = torch.arange(32) / 32
    high = torch.sin(2 * torch.pi * 8 * x).repeat(1, 4, 1)
    assert (conv(high) - conv(torch.zeros(1, 4, 32))).abs().max() < 1e-5
    low = torch.sin(2 * torch.pi * 2 * x).repeat(1, 4, 1)
    assert (conv(low) - conv(torch.zeros(1, 4, 32))).abs().max() > 1e-3


def test_bfloat16_does_not_reach_the_transforms():
    layers, x = operator(11, 7), torch.randn(2, 2, 11, 7)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layers(x), operator(11, 7)(x))


def test_a_state_holds_tensors_alone_and_can_be_loaded():
    layers = operator(16)
    state = layers.state_dict()
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    layers.load_state_dict(state)


@pytest.mark.slow
def test_the_library_is_imported_without_wandb():
    code = (
        "import sys\n"
        "from tests.support.shapes import shape_of\n"
        "from trainables.models.networks.fno import build_fno\n"
        "assert 'neuralop' not in sys.modules\n"
        "build_fno(shape_of((1, 8), (1, 8)), modes=2, width=4, layers=1)\n"
        "assert 'neuralop' in sys.modules and 'wandb' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
