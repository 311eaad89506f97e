"""Tables for papers: whole, escaped, and in bold only what the test sets apart."""

import re

import pytest

from sweeper.render.latex import Row, comparison_table
from sweeper.render.page.evidence_figures import compared as of_evidence
from sweeper.results.compare import compare
from sweeper.results.reproduction.files import load
from tests.support.command import ROOT
from tests.support.compared_ledgers import Scores, write

EVIDENCE = ROOT / "trainables" / "evidence"
ADVECTION, DARCY = "pdebench/advection_1d", "pdebench/darcy_2d@hard"
SIX = [0.20, 0.21, 0.19, 0.22, 0.20, 0.18]
PUBLISHED = [
    {"method": m, "value": v, "metric": "nrmse", "protocol": p, "citation": c}
    for m, v, p, c in (
        ("orca", 0.0098, "one-shot", "Shen et al., ICML 2023"),
        ("pare", 0.0027, "one-shot", "Cai & al., 100 %"),
        ("unet", 3.2e-6, "rollout", "Takamoto et al., 2022"),
    )
]


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """PaRe below MoNA on one task, over six seeds; alone on another, with one."""
    facts = {"title": "Advection 1D", "published": PUBLISHED, "baselines": {"mean": 1.0}}
    ledger = write(
        tmp_path_factory.mktemp("a"), "a_b",
        [Scores(method="pare", task=ADVECTION, best=SIX, control=[v + 0.3 for v in SIX],
                facts=facts),
         Scores(method="mona", task=ADVECTION, best=[v + 0.1 for v in SIX], facts=facts),
         Scores(method="pare", task=DARCY, best=[3.25e-5], facts={"protocol": "rollout"})],
    )  # fmt: skip
    return compare([ledger])


def cells(text: str) -> dict[str, list[str]]:
    """Return the rows of a table by their heads, each cell as often as it is wide."""
    found = {}
    for line in text.splitlines():
        if not line.endswith(r"\\"):
            continue
        head, *row = line.removesuffix(r" \\").split(" & ")
        wide = re.match(r"\\multicolumn\{(\d+)\}\{c\}\{(.*)\}", row[0])
        found[head] = [wide[2]] * int(wide[1]) if wide else row
    return found


@pytest.mark.parametrize("rows", [(), (Row.control,), (Row.published, Row.baselines), tuple(Row)])
def test_a_comparison_is_a_whole_table_of_booktabs(compared, rows):
    text = comparison_table(compared, rows)
    for what in ("table", "tabular"):
        assert text.count(rf"\begin{{{what}}}") == text.count(rf"\end{{{what}}}") == 1
    assert text.count("{") == text.count("}")
    assert text.count("$") % 2 == 0
    assert [text.count(rf"\{rule}") for rule in ("toprule", "midrule", "bottomrule")] == [1, 2, 1]
    (columns,) = re.findall(r"\\begin\{tabular\}\{(l+c*)\}", text)
    assert all(len(row) == len(columns) - 1 for row in cells(text).values())
    assert r"\label{tab:a_b}" in text
    assert r"% \usepackage{booktabs}" in text


def test_tasks_are_rows_and_methods_columns_with_mean_interval_and_seeds(compared):
    found = cells(comparison_table(compared))
    assert found["Task"] == ["PaRe", "MoNA"]
    mean, interval, n = found["Advection 1D (nRMSE)"][0].split("~")
    assert (mean, n) == (r"$\mathbf{0.2}$", "($n = 6$)")
    low, high = map(float, interval.strip("$[]").split(", "))
    assert 0.18 <= low < 0.2 < high <= 0.22
    assert found["Advection 1D (nRMSE)"][1].startswith("$0.3$~$[")
    assert found[r"pdebench/darcy\_2d@hard (nRMSE)"] == [r"$3.25 \cdot 10^{-5}$~($n = 1$)", "--"]


def test_its_caption_has_the_test_and_the_protocols(compared):
    (caption,) = re.findall(r"\\caption\{(.*)\}", comparison_table(compared, tuple(Row)))
    assert r"95\,\% intervals" in caption
    assert "In bold: significantly lower than every other method on the task (sign-flip" in caption
    assert "Advection 1D: one-shot, generated data, 200 / 30 / 40 samples; " in caption
    assert "rollout, generated data" in caption
    assert "The control is vanilla fine-tuning with the preset's settings, not tuned." in caption
    assert "rank with ours nowhere." in caption


def test_few_seeds_have_a_deviation_and_names_are_those_of_the_papers(tmp_path):
    facts = {"title": "Darcy 2D (hard)"}
    few = Scores(
        method="contrastive_pare", task=DARCY, best=[0.1, 0.3], control=[0.4, 0.6], facts=facts
    )
    text = comparison_table(compare([write(tmp_path, "a", [few])]), (Row.control,))
    found = cells(text)
    assert found["Task"] == ["Contrastive PaRe"]
    assert found["Darcy 2D (hard) (nRMSE)"] == [r"$0.2 \pm 0.1414$"]
    assert found[r"\quad control"] == [r"$0.5 \pm 0.1414$"]
    assert r"means over seeds, $\pm$ standard deviations of fewer than 6 seeds; n = 2" in text


def test_as_many_seeds_everywhere_are_in_the_caption_alone(tmp_path):
    ledger = write(
        tmp_path, "a",
        [Scores(method="pare", task=ADVECTION, best=SIX),
         Scores(method="mona", task=ADVECTION, best=SIX[::-1])],
    )  # fmt: skip
    text = comparison_table(compare([ledger]))
    assert "($n" not in text
    assert "; n = 6 seeds. Nothing is in bold: no method is significantly lower" in text
    assert r"\mathbf" not in text
    assert "Protocol: one-shot, generated data, 200 / 30 / 40 samples." in text


def test_the_best_of_three_is_bold_only_if_it_beats_both(tmp_path):
    def table(third: list[float]) -> str:
        errors = [[0.2 + 0.01 * k for k in range(8)], [0.5 + 0.02 * k for k in range(8)], third]
        scores = [
            Scores(method=name, task=ADVECTION, best=best)
            for name, best in zip(("pare", "mona", "orca"), errors, strict=True)
        ]
        return comparison_table(compare([write(tmp_path / str(len(third)), "a", scores)]))

    assert table([0.9 + 0.01 * k for k in range(8)]).count(r"\mathbf") == 1
    assert table([0.25]).count(r"\mathbf") == 0


def test_control_baselines_and_published_have_rows_of_their_own(compared):
    found = cells(comparison_table(compared, tuple(Row)))
    assert found["Task"] == ["PaRe", "MoNA", "ORCA", "U-Net"]
    assert found[r"\quad control"][2:] == ["", ""]
    assert found[r"\quad mean predictor"] == ["$1$"] * 4
    assert found[r"\quad without a network"] == ["$1$ (the mean output)"] * 4
    one_shot = r"\quad published, one-shot"
    assert found[f"{one_shot} (Shen et al., ICML 2023)"] == ["", "", "$0.0098$", ""]
    assert rf"{one_shot} (Cai \& al., 100 \%) & $0.0027$ &  &  &  \\" in comparison_table(
        compared, (Row.published,)
    )
    rollout = found[r"\quad published, rollout (Takamoto et al., 2022)"]
    assert rollout == ["", "", "", r"$3.2 \cdot 10^{-6}$"]
    assert r"\quad control & $0.5$~$[" in comparison_table(compared, (Row.control,))


def test_the_control_of_an_ablation_stands_below_its_arms():
    compared = of_evidence(load(EVIDENCE / "contrastive_forms.json"))
    table = comparison_table(compared, (Row.control,)).splitlines()
    (row,) = [line for line in table if "control &" in line]
    controls = compared.tasks[0].controls
    means = ["--" if each.mean is None else f"{each.mean:.4g}" for each in controls]
    cells = row.split(" & ")[1:]
    assert set(means) > {"--"}  # some have a control, and some are of a method without one
    assert all(mean in cell for mean, cell in zip(means, cells, strict=True))


def test_a_comparison_escapes_what_latex_would_read_as_its_own(tmp_path):
    method, title = "a%b&c#d$e{f}g~h^i\\j_k", "[x\x1b&\u202e_ < y|z > 0"
    scores = Scores(method=method, task=ADVECTION, best=[0.1], facts={"title": title})
    text = comparison_table(compare([write(tmp_path, "a", [scores])]), tuple(Row))
    escaped = r"a\%b\&c\#d\$e\{f\}g\textasciitilde{}h\textasciicircum{}i\textbackslash{}j\_k"
    assert f"Task & {escaped} " in text
    hidden = r"{[}x\textbackslash{}x1b\&\textbackslash{}u202e\_"
    assert rf"{hidden} \textless{{}} y\textbar{{}}z \textgreater{{}} 0 (nRMSE)" in text
