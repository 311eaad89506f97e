"""Seeds that are added until claims are decided: interrupted, resumed, and told."""

import signal
from collections import Counter
from pathlib import Path

from tests.support.servers.cluster import shell_on
from tests.support.small_sweep import EPOCHS, STUDY, Sweep, finish, wait_for_epochs

# Training hardly begins at the small rates, so that each seed shows the difference. Two corrected
# claims need the second look, whatever their pairs.
QUESTION = """
compare_by: {refine.lr: [1.0e-6, 2.0e-6, 3.0e-3, 1.0e-2]}
replicate: {until: decided, most: 8}
question:
  title: Do rates matter?
  published: They do.
  claims:
    - {says: A, contrast: [refine.lr=0.01, refine.lr=1e-06], expect: better, QUANTITY}
    - {says: B, contrast: [refine.lr=0.01, refine.lr=2e-06], expect: better, QUANTITY}
    - {says: C, contrast: [refine.lr=0.003, refine.lr=2e-06], expect: better, QUANTITY}
"""


class Asked(Sweep):
    """A sweep with a question."""

    def file(self) -> Path:
        file = super().file()
        (before, _rates, after) = file.read_text().partition("parameters:\n")
        after = after.split("\n", 1)[1]
        question = QUESTION.replace("QUANTITY", "quantity: refine/train_loss")
        file.write_text(before + after.replace("trials: 4", "trials: 1") + question)
        return file


def test_seeds_are_added_to_undecided_claims_alone(tmp_path, ray_head, data_home):
    shell = shell_on(ray_head, tmp_path, data_home)
    sweep = Asked(shell, "asked")
    told = shell.run("plan", str(sweep.file())).out
    assert "28 to 36 trials of 4 studies" in told
    begun = sweep.start()
    wait_for_epochs(sweep, 29 * EPOCHS)
    begun.send_signal(signal.SIGINT)
    finish(begun, code=130)
    assert "look after 6 seeds: 3 arms get more" in finish(shell.start("resume", "asked"))
    studies = Counter(study for (study,) in sweep.rows("select study from trials"))
    assert [studies[f"{STUDY}/refine.lr={lr}"] for lr in ("1e-06", "2e-06", "0.003", "0.01")] == [
        7, 9, 9, 9
    ]  # fmt: skip
    (asked,) = shell.run("compare", "asked", "--json").json["questions"]
    assert [(each["verdict"], each["looks"], each["n"]) for each in asked["claims"]] == [
        ("holds here", [1, 2], 6), ("holds here", [2, 2], 8), ("holds here", [2, 2], 8)
    ]  # fmt: skip
    options = ("--set", "replicate.most=12")
    refused = shell.run("launch", str(sweep.file()), *options, code=2)
    assert "replicate.most" in refused.err
