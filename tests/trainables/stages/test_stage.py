import math

import pytest

from trainables.errors import NonFiniteLoss
from trainables.stages.stage import check_finite


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_named_with_its_epoch_and_the_way_out(value):
    check_finite("refine", {"loss": 1e30}, 0, hint="lower it")
    told = f"refine: the loss became {value} in epoch 3; lower it."
    with pytest.raises(NonFiniteLoss, match=f"^{told}$"):
        check_finite("refine", {"norm": 1.0, "loss": value}, 2, hint="lower it")
