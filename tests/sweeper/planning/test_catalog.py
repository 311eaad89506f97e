"""The catalog: methods of plugins that cannot be tuned are refused with the way out."""

import pytest

from sweeper.errors import UsageError
from sweeper.planning import catalog
from trainables.methods.method import Method
from trainables.methods.mona.config import MetaConfig


def test_a_method_without_a_stage_that_reports_the_objective_is_refused(monkeypatch):
    method = Method(name="x", title="X", citation="", stages={"meta": MetaConfig}, control={})
    monkeypatch.setattr(catalog, "METHODS", {"x": method})
    with pytest.raises(UsageError, match="`x`: 0 of its stages report the objective"):
        catalog.catalog.__wrapped__().methods["x"]
