import pytest

from trainables.tasks.own.formats import samples


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Read few rows or files at once, so that all data take several blocks."""
    monkeypatch.setattr(samples, "READ_BYTES", 500)
    for module in ("formats.hdf5", "own.formats.matlab"):
        monkeypatch.setattr(f"trainables.tasks.{module}.SLAB_BYTES", 500)
