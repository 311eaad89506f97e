"""The code of a sweep's results: that of its methods, and no other."""

import json
import sys

import pytest

from sweeper.planning.catalog import catalog
from sweeper.planning.science_code import code_of, data_hashes
from sweeper.spec.loader import loads_sweep
from trainables import code_hash

FILE = """
name: x
methods: [{method}]
tasks: [pdebench/advection_1d]
backbones: {{1d: minilm}}
proxies: {{1d: python_source}}
search: {{trials: 2}}
"""


@pytest.fixture
def version(monkeypatch, tmp_path):
    """Return the code of a method's sweep, with some modules replaced."""
    real = code_hash.parse_module

    def code(method: str = "orca", **changed: str) -> dict[str, str]:
        def parse(file):
            text = changed.get(file.stem)
            if text is None:
                return real(file)
            (tmp_path / file.name).write_text(f"{file.read_text()}\n{text}\n")
            return real(tmp_path / file.name)

        monkeypatch.setattr(code_hash, "parse_module", parse)
        code_hash.read_module.cache_clear()  # the files themselves do not change here
        return code_of(loads_sweep(FILE.format(method=method), catalog()))

    yield code
    code_hash.read_module.cache_clear()


def test_the_code_of_a_method_has_its_stages_and_what_they_share(version):
    code = version()
    for name in ("methods.orca.alignment", "stages.fine_tuning", "training.optim",
                 "models.cross_modal", "distances.otdd", "metrics.fields"):  # fmt: skip
        assert f"trainables.{name}" in code


def test_other_methods_names_and_storage_are_no_part_of_it(version):
    code = version()
    assert not any(
        name.startswith(("trainables.methods.mona", "trainables.storage", "trainables.spec",
                         "trainables.tasks.pde_bench", "trainables.runtime", "sweeper"))
        for name in code
    )  # fmt: skip


PROGRAM = """
name: x
program: {command: [echo, "{lr}"], metric: loss, steps: 1}
parameters: {lr: {min: 0.0, max: 1.0}}
search: {trials: 2}
"""


def test_a_program_has_no_code_of_this_package_as_its_text_is_a_setting():
    sweep = loads_sweep(PROGRAM, catalog())
    assert code_of(sweep) == {}
    assert '"code"' in json.dumps(sweep.resolved)


@pytest.mark.slow
def test_only_an_edit_of_the_science_involved_changes_it(version):
    before = version()
    assert version(alignment="# a remark", meta_alignment="x = 1", stage_store="x = 1") == before
    after = version(alignment="x = 1")
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"trainables.methods.orca.alignment"}


@pytest.mark.slow
def test_it_is_read_without_torch_and_data_that_are_not_here_have_no_hash(version, here):
    had = "torch" in sys.modules
    version()
    assert data_hashes(loads_sweep(FILE.format(method="orca"), catalog())) == {}
    assert ("torch" in sys.modules) == had
