"""`sweeper audit`: what it prints and writes, and what it refuses."""

import pytest

from sweeper.cli.main import run
from sweeper.commands.audit import BenchmarkRow
from tests.support.browser import browser, needs_chromium
from trainables.tasks.audit import benchmark


@pytest.fixture(autouse=True)
def folder(here, monkeypatch):
    monkeypatch.setattr(benchmark, "SIZES", dict.fromkeys(benchmark.SIZES, (30, 32)))
    return here


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nasbench360/ecg"], "sweeper data import nasbench360/ecg challenge2017.pkl"),
        (["nasbench360"], "nasbench360: none of its tasks can be audited."),
        (["pdebench/advection"], "There is no task `pdebench/advection`"),
        (["mine/task"], "There is no task `mine/task`"),
        (["pdebench", "--html", "none/page.html"], "a file in a folder that exists is needed"),
        (["pdebench/advection_1d", "--html", "a.html"], "--html is for the audit of a benchmark"),
    ],
)
def test_a_mistake_exits_with_2_and_the_way_out(arguments, told, command):
    error = " ".join(command("audit", *arguments, code=2).err.split())
    assert told in error
    assert "Traceback" not in error


@pytest.mark.slow
def test_a_benchmark_has_a_table_a_page_and_json(command, folder):
    found = command("audit", "pdebench", "--json").json
    assert (found["command"], found["schema"], found["benchmark"]) == ("audit", 1, "pdebench")
    rows = {row["task"]: row for row in found["tasks"]}
    assert len(rows) == 8
    burgers = rows["pdebench/burgers_1d"]
    assert burgers["verdict"] == "cannot rank"
    assert burgers["published"]["pare"] == 8.3e-3
    assert burgers["data_source"] == "generated"
    hidden = rows["pdebench/darcy_2d"]["predictors"]
    assert "hides u(0)" in next(p for p in hidden if p["name"] == "coarse_solver")["reason"]
    page = (folder / "audit_pdebench.html").read_text()
    assert page.count("data:image/png;base64") == 8
    assert "Data of our generator" in page
    assert "http" not in page.replace("http://www.w3.org", "")

    out = command("audit", "pdebench", "--html", "other.html").out
    assert "pdebench/burgers_1d (generated data): cannot rank" in out
    assert (folder / "other.html").exists()


@pytest.mark.slow
def test_a_task_has_findings_and_json(command):
    out = " ".join(command("audit", "pdebench/burgers_1d").out.split())
    assert "The floor is isotropic_filter" in out
    assert "knows the equation; " in out
    assert "linear map explains" in out
    assert "training samples" in out
    found = command("audit", "pdebench/burgers_1d", "--json").json
    assert found["predictor"] == "isotropic_filter"
    assert found["first_direction"] > 0.99
    keys = "task metric data_source samples nearest constant_outputs first_direction linear_share"
    keys += " balance detectable predictor floor predictors curve findings"
    assert list(found) == ["schema", "command", *keys.split()]
    assert list(found["curve"][0]) == ["samples", "values"]


def test_the_keys_of_a_benchmarks_row_stay():
    audited = benchmark.AuditedTask(task="a/b", title="B", metric="m", protocol="p")
    keys = "task title metric protocol verdict data_source samples predictor floor predictors"
    keys += " published best_published ratio frames_floor reason argument not_audited"
    found = BenchmarkRow(audit=audited).to_json()
    assert list(found) == keys.split()
    assert (found["verdict"], found["reason"], found["argument"]) == ("not audited", None, {})


@needs_chromium
@pytest.mark.slow
def test_the_page_is_seen_in_a_browser(folder):
    assert run(["audit", "pdebench"]) == 0
    with browser() as window:
        window.open((folder / "audit_pdebench.html").as_uri(), dark=True)
        assert "cannot rank" in window.text()
        loaded = "[...document.images].filter(each => each.complete && each.naturalWidth > 0)"
        assert window.run(f"return {loaded}.length") == 8
        assert window.run("return document.body.scrollWidth <= window.innerWidth")
