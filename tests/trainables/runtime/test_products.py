"""Trials whose products are by oneDNN: near to those of torch."""

import pytest
import torch

from tests.support.tiny_trials import Trials
from trainables.errors import NodeUnfit
from trainables.models import products
from trainables.models.products import check_products

pytestmark = pytest.mark.skipif(not products.has_onednn(), reason="torch was built without oneDNN")


def test_a_build_of_torch_without_onednn_gives_the_trial_back(monkeypatch, trials: Trials):
    monkeypatch.setattr(products, "has_onednn", lambda: False)
    check_products("plain")
    with pytest.raises(NodeUnfit, match="torch was built without oneDNN on this machine"):
        trials.begin(trials.spec("nft", "1d").with_model(products="onednn"))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["exact", "fd"])
def test_mona_trains_alike_by_both_products_and_goes_on_bit_for_bit(trials: Trials, tmp_path, mode):
    settings = {"meta.meta_grad": mode}
    spec = trials.spec("mona", "1d", settings).with_model(products="onednn")
    reports, weights = trials.run(spec)
    again, resumed = trials.run_stopped(spec, tmp_path)
    assert [r.metrics for r in again] == [r.metrics for r in reports]
    assert all(torch.equal(resumed[name], value) for name, value in weights.items())
    plain, _ = trials.run(spec.with_model(products="plain"))
    assert reports[-1].metrics == pytest.approx(plain[-1].metrics, rel=1e-3)
