"""An ablation on a tuned base: launched, and compared."""

import pytest

from tests.support.command import Shell
from tests.support.small_sweep import EPOCHS, Sweep, finish, plain

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

ARMS = """
compare_by: {refine.freeze: [none, body]}
base: tuned
replicate: {seeds: 2}
"""
STUDY = "nft/pdebench/advection_1d"


class Ablation(Sweep):
    def file(self):
        path = super().file()
        path.write_text(path.read_text() + ARMS)
        return path


def test_arms_have_the_settings_of_the_tuned_base_and_are_compared(tmp_path, data_home):
    shell = Shell(tmp_path, {"SWEEPER_HOME": str(data_home)})
    sweep = Ablation(shell, "ablation")
    finish(sweep.start("--trials", "2"))
    params = {
        (study, number): params
        for study, number, params in sweep.rows("select study, number, params from trials")
    }
    assert len(params) == 2 + 2 * 3
    values = sweep.rows(f"select number from trials where study = '{STUDY}' order by value limit 1")
    best = plain(params[STUDY, values[0][0]])
    for arm in ("none", "body"):
        of_arm = plain(params[f"{STUDY}/refine.freeze={arm}", 0])
        assert of_arm == best | {"refine.freeze": arm}
    measured = sweep.rows("select study, number, payload from events where kind='measured'")
    assert len(measured) == 8 * EPOCHS
    told = shell.run("compare", "ablation", "--by", "refine.freeze", "--json").json
    (task,) = told["tasks"]
    assert [each["label"] for each in task["methods"]] == [
        "nft refine.freeze=none", "nft refine.freeze=body"
    ]  # fmt: skip
    (difference,) = task["comparisons"]
    assert difference["pairs"] == 2
    assert "shipped 0 records" in shell.run("sync", "ablation").out
    page = shell.run("compare", "ablation", "--html", "page.html")
    assert "NFT with refine.freeze=body" in page.out
    assert "NFT with refine.freeze=body" in (tmp_path / "page.html").read_text()
