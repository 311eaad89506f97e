"""The table that a launch ends with shows the trivial predictors that its tasks have."""

import pytest

from sweeper.cli.tables import show_summary


def summary(*baselines: dict[str, float]) -> dict:
    studies = [
        {
            "study": f"nft/task_{index}",
            "trials": {"complete": 2},
            "best": {"trial": 2, "validation": 0.5, "test": 0.4, "seeds": 1},
            "control": None,
            "baselines": each,
        }
        for index, each in enumerate(baselines)
    ]
    return {"sweep": "s", "state": "finished", "studies": studies, "notes": []}


@pytest.mark.parametrize(
    ("baselines", "columns"),
    [
        (({"majority": 0.875},), ["majority"]),
        (({"mean": 0.25, "identity": 0.75},), ["predict mean", "identity"]),
        (({"mean": 0.25}, {"majority": 0.875}), ["predict mean", "majority"]),
        (({"prior": 0.625},), ["prior"]),
        (({},), ["predict mean", "identity"]),
    ],
)
def test_its_columns_are_those_of_the_studies(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    baselines: tuple[dict[str, float], ...],
    columns: list[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    show_summary(summary(*baselines), as_json=False)
    out = capsys.readouterr().out
    header = out.splitlines()[1]
    assert header.split("control test")[1].split() == " ".join(columns).split()
    for each in baselines:
        for value in each.values():
            assert str(value) in out
