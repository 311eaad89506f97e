"""The U-Net and Perceiver IO as functions of their inputs."""

import pytest
import torch

from tests.support.shapes import shape_of
from trainables.models.networks.perceiver_io import build_perceiver_io
from trainables.models.networks.unet import build_unet

SIDES = [(31,), (128,), (11, 7), (40, 33)]


def perceiver(input_shape, output_shape, kind="dense"):
    torch.manual_seed(0)
    return build_perceiver_io(
        shape_of(input_shape, output_shape, kind),
        latents=4,
        latent_width=16,
        blocks=2,
        block_layers=1,
        bands=3,
    )


@pytest.mark.slow  # MONAI takes seconds to import
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("side", SIDES)
def test_a_unet_maps_fields_of_any_grid(side, norm):
    unet = build_unet(shape_of((2, *side), (3, *side)), width=2, norm=norm)
    assert unet(torch.randn(1, 2, *side)).shape == (1, 3, *side)


@pytest.mark.slow
def test_a_unet_without_padding_is_that_of_the_library():
    unet = build_unet(shape_of((1, 64), (1, 64)), width=2, norm="batch")
    x = torch.randn(3, 1, 64)
    assert torch.equal(unet(x), unet.unet(x))


@pytest.mark.slow
def test_a_unet_of_pdebench_s_width_has_about_as_many_weights():
    """PDEBench's has 2.71 million in 1D and 7.77 million in 2D; MONAI's last step up is wider."""
    for side, weights in (((64,), 2.71e6), ((64, 64), 7.77e6)):
        unet = build_unet(shape_of((1, *side), (1, *side)), width=32, norm="batch")
        assert sum(p.numel() for p in unet.parameters()) == pytest.approx(weights, rel=0.02)


@pytest.mark.parametrize("side", SIDES)
def test_perceiver_io_maps_fields_of_any_grid(side):
    network = perceiver((2, *side), (3, *side))
    assert network(torch.randn(2, 2, *side)).shape == (2, 3, *side)


@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression"])
def test_perceiver_io_maps_to_a_number_for_each_class_label_or_output(kind):
    network = perceiver((2, 9), (5,), kind)
    outputs = network(torch.randn(3, 2, 9))
    assert outputs.shape == (3, 5)
    outputs.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_perceiver_io_tells_places_apart():
    """The same values at other points are another sample."""
    network = perceiver((1, 16), (2,), "classification")
    x = torch.randn(1, 1, 16)
    assert not torch.allclose(network(x), network(x.flip(-1)), atol=1e-6)
    network.places.zero_()
    torch.testing.assert_close(network(x), network(x.flip(-1)))
