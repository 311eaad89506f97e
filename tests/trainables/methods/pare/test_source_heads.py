"""Heads for what the source was: closed forms of their losses, and pixels that are not asked."""

import pytest
import torch
from torch.nn import functional

from trainables.methods.pare.source_heads import LabelHead, MaskHead
from trainables.seeding import generator

WIDTH, GRID = 8, (2, 3)


def features(batch=4):
    return torch.randn(batch, 6, WIDTH, generator=generator(0))


@pytest.fixture
def mask_head():
    return MaskHead(WIDTH, GRID, (5, 7), generator=generator(1))


def test_labels_are_told_from_the_mean_of_the_features():
    head, x = LabelHead(WIDTH, 3, generator=generator(1)), features()
    logits = head(x)
    assert logits.shape == (4, 3)
    torch.testing.assert_close(head(x.flip(1)), logits)
    labels = torch.tensor([0, 2, 1, 1])
    expected = -logits.log_softmax(1)[torch.arange(4), labels].mean()
    torch.testing.assert_close(head.loss(logits, labels), expected)


def test_masks_are_told_place_by_place(mask_head):
    x = features()
    linear = mask_head.predictor.linear
    assert linear.weight.shape == (1, WIDTH)  # a 1 x 1 convolution
    image = (x @ linear.weight[0] + linear.bias).view(4, 1, *GRID)
    expected = functional.interpolate(image, (5, 7), mode="bilinear")[:, 0]
    torch.testing.assert_close(mask_head(x), expected)


def test_pixels_to_be_ignored_do_not_count(mask_head):
    logits = mask_head(features(batch=2)) * 50
    masks = torch.randint(0, 2, logits.shape, generator=generator(2), dtype=torch.uint8)
    ignored = torch.rand(logits.shape, generator=generator(3)) < 0.3
    masks[ignored] = 255
    right = torch.where(masks == 1, logits.sigmoid(), 1 - logits.sigmoid())[~ignored]
    torch.testing.assert_close(mask_head.loss(logits, masks), -right.log().mean())
    changed = logits + 3 * ignored
    assert torch.equal(mask_head.loss(changed, masks), mask_head.loss(logits, masks))


def test_the_losses_of_parts_add_up_to_that_of_the_whole(mask_head):
    logits = mask_head(features(batch=5))
    masks = torch.randint(0, 2, logits.shape, generator=generator(2), dtype=torch.uint8)
    masks[torch.rand(logits.shape, generator=generator(3)) < 0.3] = 255
    masks[3] = 255
    masks[4, 1:] = 255
    parts = [slice(0, 3), slice(3, 4), slice(4, 5)]
    losses = [mask_head.loss(logits[part], masks[part], masks) for part in parts]
    total = sum(loss * len(masks[part]) / 5 for loss, part in zip(losses, parts, strict=True))
    torch.testing.assert_close(total, mask_head.loss(logits, masks))
    apart = sum(mask_head.loss(logits[p], masks[p]) * len(masks[p]) / 5 for p in parts)
    assert (apart - total).abs() > 0.01


def test_a_mask_of_which_nothing_is_known_costs_nothing(mask_head):
    logits = mask_head(features(batch=1))
    loss = mask_head.loss(logits, torch.full((1, 5, 7), 255, dtype=torch.uint8))
    loss.backward()
    assert loss.item() == 0
    assert mask_head.predictor.linear.weight.grad.abs().sum() == 0
