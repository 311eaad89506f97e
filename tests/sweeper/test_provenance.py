"""The processor in the provenance of a result."""

from pathlib import Path

import pytest

from sweeper.provenance import collect, processor

TWO_CORES = """processor\t: 0
cpu family\t: 6
model\t\t: {model}
model name\t: Intel(R) Xeon(R) Processor

processor\t: 1
model name\t: another
"""


@pytest.mark.parametrize("model", [143, 207])
def test_a_processor_is_told_by_its_numbers(tmp_path, model):
    file = tmp_path / "cpuinfo"
    file.write_text(TWO_CORES.format(model=model))
    assert processor(file) == f"Intel(R) Xeon(R) Processor, cpu family 6, model {model}"


def test_a_machine_without_the_file_has_a_processor():
    assert processor(Path("absent"))
    assert collect()["processor"] == processor()


def test_kernels_of_an_older_processor_make_another_one(monkeypatch):
    here = processor()
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    assert processor() == f"{here}, ATEN_CPU_CAPABILITY=avx2"
