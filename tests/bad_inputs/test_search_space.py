"""The search space: rows 50 to 67."""

import pytest

from tests.bad_inputs.rows import VALID, Command, Row, edit, ids, parameter

ALPHA = "x.yaml:7: `parameters.meta.alpha"
EPOCHS = "x.yaml:7: `parameters.meta.epochs"

ROWS = [
    Row(50, "min over max", parameter("meta.alpha: {min: 1, max: 0.1}"),
        f"{ALPHA}.min` 1 is over max 0.1; swap them."),
    Row(51, "min is max", parameter("meta.alpha: {min: 0.1, max: 0.1}"),
        f"{ALPHA}.min` equals max (0.1); write it under `fixed`."),
    *(Row(52, f"log of {low}",
          parameter(f"meta.alpha: {{distribution: log_uniform_values, min: {low}, max: 1}}"),
          f"{ALPHA}.min` must be over 0 on a log scale, but got {low}.") for low in ("0", "-1")),
    Row(53, "no number", parameter("meta.alpha: {min: 0.1, max: .nan}"),
        "x.yaml:7: .nan is not a finite number."),
    Row(53, "infinity", parameter("meta.alpha: {min: -.inf, max: 1}"),
        "x.yaml:7: -.inf is not a finite number."),
    Row(54, "half an integer", parameter("meta.epochs: {min: 1.5, max: 8}"),
        f"{EPOCHS}.min` must be a valid integer, but got 1.5."),
    *(Row(55, f"step {step}",
          parameter(f"meta.alpha: {{distribution: q_uniform, min: 0, max: 1, q: {step}}}"),
          f"{ALPHA}.q` must be over 0 and up to max - min, but got {step}.")
      for step in ("0", "-0.1", "2")),
    Row(55, "steps on a log scale",
        parameter("meta.alpha: {distribution: q_log_uniform_values, min: 0.1, max: 1, q: 0.1}"),
        f"{ALPHA}.q` on a log scale only integers with `q: 1` can be stepped."),
    Row(55, "a step of what has none",
        parameter("meta.alpha: {distribution: log_uniform_values, min: 0.1, max: 1, q: 0.1}"),
        f"{ALPHA}.q` is not for log_uniform_values; write q_uniform."),
    Row(56, "a step that misses the end", parameter("meta.epochs: {min: 10, max: 105, q: 30}"),
        f"{EPOCHS}`: steps of 30 from 10 do not reach 105; the largest value is 100.", code=0),
    Row(57, "no choice", parameter("refine.optimizer: {values: []}"),
        "x.yaml:7: `parameters.refine.optimizer.values` is empty; write the choices, or `fixed`."),
    Row(57, "letters", parameter("refine.optimizer: {values: adam}"),
        "x.yaml:7: `parameters.refine.optimizer.values` must be a list, but got 'adam'. Write "
        "['adam']."),
    Row(57, "one choice", parameter("meta.epochs: {values: [2]}").replace("trials: 8", "trials: 2"),
        "x.yaml: valid", code=0),
    *(Row(58, f"twice {values}", parameter(f"meta.epochs: {{values: [{values}]}}"),
          f"{EPOCHS}.values`: {told} are the same value; keep one.")
      for values, told in (
          ("1, 1", "1 and 1"), ("1, 1.0", "1 and 1.0"), ("1, true", "1 and true"))),
    *(Row(59, f"choice {value}", parameter(f"meta.epochs: {{values: [{value}, 2]}}"),
          f"{EPOCHS}.values[0]` must be a number, a text, true, false or null, but got {told}.")
      for value, told in (("[1]", "[1]"), ("{a: 1}", "a mapping"))),
    Row(60, "distribution", parameter("meta.alpha: {distribution: unifrom, min: 0, max: 1}"),
        "x.yaml:7: unknown distribution `unifrom`. Did you mean `uniform`?"),
    Row(60, "type", parameter("meta.alpha: {type: float, min: 0, max: 1}"),
        f"{ALPHA}.type` is not a key here; write `distribution`."),
    *(Row(61, f"name {name}", parameter(f"'{name}': {{min: 0, max: 1}}"),
          f"x.yaml:7: unknown parameter `{name}`.")
      for name in ("meta/alpha", "meta.al pha", "trial_id", "seed", "meta.alpha.x")),
    Row(62, "searched and fixed", edit("refine.epochs: 8", "refine.epochs: 8, meta.epochs: 3")
        .replace("  meta.alpha", "  meta.epochs: {values: [1, 2]}\n  meta.alpha"),
        "x.yaml:9: `meta.epochs` is in `parameters` too (line 7); it is fixed.", code=0),
    Row(63, "a typing error", parameter("meta.alhpa: {min: 0.1, max: 1}"),
        "x.yaml:7: unknown parameter `meta.alhpa`. Did you mean `meta.alpha`?"),
    Row(63, "no stage", parameter("lr: {min: 0.1, max: 1}"),
        "x.yaml:7: unknown parameter `lr`. Write its stage: refine.lr."),
    Row(63, "of another method", parameter("align.distance: {values: [mmd, none]}"),
        "x.yaml:7: `align.distance` is of orca, recraft, l2g, but not of mona."),
    Row(63, "a stage of another method", VALID + "stages: {align: {distinct: 2}}\n",
        "x.yaml:10: stage `align` is of orca, recraft, l2g, but not of mona."),
    Row(63, "a stage's typing error", VALID + "stages: {mets: {distinct: 2}}\n",
        "x.yaml:10: unknown stage `mets`. Did you mean `meta`?"),
    Row(63, "the stage of the objective", VALID + "stages: {refine: {distinct: 2}}\n",
        "x.yaml:10: `stages.refine.distinct`: `refine` reports the objective, so that its result "
        "is the trial: take it out."),
    Row(64, "a grid without steps", edit("trials: 8", "sampler: grid"),
        "x.yaml:7: `parameters.meta.alpha` is continuous, so that `search.sampler: grid` needs its "
        "`values` or a step `q`."),
    Row(64, "an unknown sampler", edit("trials: 8", "sampler: grit"),
        "x.yaml:9: `search.sampler`: unknown sampler `grit`. Did you mean `grid`? Known: auto, "
        "cmaes, cqr, gp, grid, nsga2, qmc, random, tpe."),
    Row(64, "priors of a grid", parameter("meta.epochs: {values: [1, 2]}")
        .replace("trials: 8", "trials: 4, sampler: grid, priors: true"),
        "x.yaml:9: `search.priors: true` is for samplers that draw, but `search.sampler: grid` "
        "tries every combination: write `tpe`, or take `priors` out."),
    *(Row(64, f"prior {prior}", parameter(f"meta.alpha: {{min: 0.1, max: 1.0, prior: {prior}}}"),
          f"{ALPHA}.prior{told}")
      for prior, told in (
          ("3", "` must be a mapping, such as {default: 3, confidence: medium}."),
          ("{confidence: low}",
           "` needs a `default`, around which good values are expected."),
          ("{default: 5}", ".default` is 5, but must be from 0.1 to 1.0."),
          ("{default: much}", ".default` is 'much', but must be from 0.1 to 1.0."),
          ("{default: 0.5, confidence: sure}",
           ".confidence` must be one of low, medium, high, but got 'sure'."))),
    Row(64, "an unknown key of a prior",
        parameter("meta.alpha: {min: 0.1, max: 1.0, prior: {default: 0.5, confidance: low}}"),
        "x.yaml:7: unknown key `parameters.meta.alpha.prior.confidance`. Did you mean "
        "`parameters.meta.alpha.prior.confidence`?"),
    Row(64, "a prior that is no choice",
        parameter("meta.epochs: {values: [1, 2], prior: {default: 3}}"),
        f"{EPOCHS}.prior.default` is 3, but must be one of 1, 2."),
    Row(64, "a prior that is no step",
        parameter("meta.epochs: {min: 1, max: 9, q: 2, prior: {default: 4}}"),
        f"{EPOCHS}.prior.default` is 4, but must be a step of 2 from 1 to 9."),
    Row(64, "a prior of a constant", parameter("meta.epochs: {value: 2, prior: {default: 2}}"),
        f"{EPOCHS}.prior` has no effect on a constant, which is not searched; take it out."),
    Row(64, "a prior of a fixed parameter",
        edit("refine.epochs: 8", "refine.epochs: 8, meta.epochs: 3").replace(
            "  meta.alpha", "  meta.epochs: {values: [1, 2], prior: {default: 2}}\n  meta.alpha"),
        f"{EPOCHS}.prior` has no effect: `meta.epochs` is in `fixed` (line 9); take one out."),
    Row(64, "priors that are a word", edit("trials: 8", "trials: 8, priors: on"),
        "x.yaml:9: `search.priors` must be a valid boolean, but got 'on'."),
    Row(64, "a warm start from no sweep", edit("trials: 8", "trials: 8, warm_start: [small]"),
        "x.yaml:9: `search.warm_start[0]`: unknown sweep `small`: "),
    Row(64, "a warm start from a path", edit("trials: 8", "trials: 8, warm_start: [../small]"),
        "x.yaml:9: `search.warm_start` must be the name of a sweep, a .csv file, or a database of "
        "Optuna (.db, .sqlite)"),
    Row(64, "a warm start with configurations",
        edit("trials: 8", "trials: 8, warm_start: {small: {x: [{meta.alpha: a}]}}"),
        "x.yaml:9: `search.warm_start` must be a list of names of finished sweeps, whose "),
    *(Row(64, f"a bound that no trial keeps {bound}",
          edit("trials: 8", f"trials: 8, constraints: {{{name}: '{bound}'}}"),
          f"x.yaml:9: `search.constraints.{name}: {bound}`: no trial can keep it, so that none is ")
      for name, bound in (("epochs", "<= 0"), ("epochs", "<= 7"), ("epochs", ">= 500"),
                          ("parameters", "<= 0"))),
    Row(64, "epochs of trials that pause",
        parameter("refine.epochs: {values: [2, 4]}").replace("fixed: {refine.epochs: 8}\n", "")
        + "pruning: {type: promote, min_epochs: 1}\n",
        "x.yaml:7: `parameters.refine.epochs`: `pruning.type: promote` compares trials after as "),
    *(Row(64, f"an ablation's {key} without arms", VALID + f"{key}: {value}\n",
          f"x.yaml:10: `{key}` has no effect without `compare_by`, which names arms: take it out.")
      for key, value in (("base", "tuned"), ("tune", "per_arm"), ("max_arms", "5"))),
    *(Row(64, f"an ablation without arms {empty}", VALID + f"compare_by: {empty}\n",
          "x.yaml:10: `compare_by` has no arm; list two or more, or take it out.")
      for empty in ("{}", "[]")),
    Row(64, "a factor that is searched", VALID + "compare_by: {meta.alpha: [0.1, 0.2]}\n",
        "x.yaml:7: `parameters.meta.alpha` is searched, but `compare_by` pins it in each arm: "),
    Row(65, "a condition on nothing",
        parameter("meta.alpha: {min: 0.1, max: 1, when: {refine.optimiser: adam}}"),
        f"{ALPHA}.when` refers to what is neither searched nor fixed: unknown parameter "
        "`refine.optimiser`."),
    Row(65, "a circle",
        parameter("meta.epochs: {min: 1, max: 3, when: {meta.classes: 2}}\n"
                  "  meta.classes: {min: 2, max: 4, when: {meta.epochs: 1}}"),
        "x.yaml:7: circular condition in `when`: `meta.epochs` needs `meta.classes` needs "
        "`meta.epochs`."),
    Row(66, "points to begin with", VALID + "initial: [{meta.alpha: 5}]\n",
        "x.yaml:10: unknown key `initial`. The first trial is the method's preset; change it "
        "under `fixed`."),
    Row(66, "the preset", edit("refine.epochs: 8", "refine.epochs: 0"),
        "x.yaml:8: `fixed.refine.epochs` must be greater than or equal to 1, but got 0."),
    Row(67, "an integer over 64 bits", edit("trials: 8", "seed: 9223372036854775808"),
        "x.yaml:9: 9223372036854775808 is over the largest integer, 2^63 - 1."),
    Row(67, "over the largest number", parameter("meta.alpha: {min: 0.1, max: 1e400}"),
        "x.yaml:7: 1e400 is not a finite number."),
    Row(67, "under the least number", parameter("meta.alpha: {min: 1e-310, max: 1}"),
        "x.yaml:7: 1e-310 is too close to zero; write 0, or more."),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=ids(ROWS))
def test_a_parameter_is_told(command: Command, row: Row) -> None:
    told = command.tells(row)
    assert len(told.err) == bool(row.code), "one mistake makes one message"
