"""Bad sweep files beyond those of tests/bad_inputs: which line is named, and what is said."""

import pytest

from tests.bad_inputs.rows import PARAMETER, VALID, edit, parameter
from tests.support.sweep_files import faults, load


def test_the_file_that_the_rows_break_is_valid() -> None:
    assert load(VALID).notes == ()


AS_A_FILE = {
    "null": ("---\n", "x.yaml: is empty"),
    "open brace": ("a: 1\nb: {c: 1\n", "x.yaml:2: unclosed `{` opened at line 2"),
    "anchor": (VALID + "model: &a {head: linear}\n", "x.yaml:10: anchors (`&name`) are not read"),
    "yaml 1.1": ("%YAML 1.1\n---\nname: x\n", "sweep files are YAML 1.2"),
    "colon in plain text": ("a: b: c\n", "x.yaml:1: not valid YAML: mapping values are not allow"),
    "complex key": ("? [a]\n: b\n", "x.yaml:1: a key must be a word"),
    "surrogate": (edit("name: study", 'name: "\\ud800"'), "x.yaml:1: half of a surrogate pair"),
}  # fmt: skip

KEYS = {
    "wandb's run_cap": (VALID + "run_cap: 4\n",
        "x.yaml:10: unknown key `run_cap`. Write `search.t"),
    "wandb's metric": (VALID + "metric: {goal: minimize}\n",
        "x.yaml:10: unknown key `metric`. The task's metric decides"),
    "missing name": (edit("name: study\n", ""), "x.yaml: missing key `name`"),
    "missing methods": (edit("methods: [mona]\n", ""), "x.yaml: missing key `methods`"),
    "number as name": (edit("name: study", "name: 12"),
        "`name` must be a valid string, but got 12."),
    "quoted number": (edit("trials: 8", "trials: '8'"), "a valid integer, but got '8'."),
    "section as list": (edit("search: {trials: 8}", "search: [8]"), "x.yaml:9: `search` must be"),
    "methods as text": (edit("[mona]", "mona"), "x.yaml:2: `methods` must be a valid list"),
    "no methods": (edit("[mona]", "[]"), "x.yaml:2: `methods`"),
    "method twice": (edit("[mona]", "[mona, mona]"), "x.yaml:2: `methods` has `mona` twice"),
    "task on its own line": (
        edit("tasks: [pdebench/advection_1d]", "tasks:\n  - pdebench/advection_1d\n  - nope"),
        "x.yaml:5: unknown task `nope`"),
    "number as task": (edit("[pdebench/advection_1d]", "[3]"),
        "x.yaml:3: `tasks[0]` must be a val"),
    "backbone": (edit("minilm", "minilmm"),
        "x.yaml:4: unknown backbone `minilmm`. Did you mean `mi"),
    "backbone's dimension": (edit("minilm", "swin_base"),
        "x.yaml:4: `backbones.1d`: `swin_base` is"),
    "3d": (edit("{1d: minilm}", "{1d: minilm, 3d: x}"), "unknown dimension `backbones.3d`"),
    "backbone's key": (edit("minilm", "{name: minilm, layer: 2}"),
        "x.yaml:4: unknown key `backbones.1d.layer`. Did you mean `backbones.1d.layers`?"),
    "no layers": (edit("minilm", "{name: minilm, layers: 0}"),
        "`backbones.1d.layers` must be great"),
    "tokens not square": (edit("{1d: minilm}", "{1d: minilm, 2d: {name: swin_base, tokens: 50}}"),
        "`backbones.2d.tokens` must be a square number, such as 49 or 64"),
    "no backbone": (edit("[pdebench/advection_1d]", "[pdebench/darcy_2d]")
        .replace("{1d: p", "{2d: digits, 1d: p"),
        "x.yaml:4: `backbones.2d` is missing, but `pdebench/darcy_2d` is a 2d task."),
    "no proxy": (edit("proxies: {1d: python_source}\n", ""),
        "`proxies.1d` is missing, but `mona` re"),
    "proxy": (edit("python_source", "python_sauce"), "x.yaml:5: unknown proxy `python_sauce`. Did"),
    "proxy's dimension": (edit("python_source", "digits"),
        "x.yaml:5: `proxies.1d`: `digits` is for"),
    "model": (VALID + "model: {head: liner}\n",
        "x.yaml:10: `model.head` must be 'orca_pool' or 'linear', but got 'liner'. Did you me"),
    "data": (VALID + "data:\n  seed: 1\n  val_fraction: 0.7\n",
        "x.yaml:12: `data.val_fraction` mus"),
    "resolution": (VALID + "data: {resolution: {3d: 4}}\n", "x.yaml:10: `data.resolution`"),
    "no cpu": (VALID + "resources: {cpu: 0}\n",
        "x.yaml:10: `resources.cpu` must be greater than 0"),
    "no unit": (VALID + "budget: {wall: 30}\n", "x.yaml:10: `budget.wall` must be a duration"),
    "no time": (VALID + "budget: {wall: 0s}\n", "`budget.wall` must be over zero"),
    "yes": (VALID + "tracking: {required: yes}\n", "`tracking.required` must be a valid boolean"),
    "bare $": (VALID + "tracking: {uri: 'http://${HOST}'}\n",
        "`tracking.uri` must name environment"),
    "env elsewhere": (edit("minilm", "'./${env:HOME}'"),
        "x.yaml:4: `backbones.1d`: ${env:NAME} is"),
    "experiment": (VALID + "experiment: ../x\n", "x.yaml:10: `experiment` must be 1 to 63"),
    "profiles": (VALID + "profiles: [laptop]\n", "x.yaml:10: `profiles` must map names"),
    "profile's name": (VALID + "profiles: {../x: {}}\n", "x.yaml:10: profile name `../x`"),
    "auto": (VALID + "profiles: {auto: {}}\n", "`auto` chooses one"),
    "profile's key": (VALID + "profiles:\n  laptop:\n    taks: []\n",
        "x.yaml:12: unknown key `profiles.laptop.taks`. Did you mean `profiles.laptop.tasks`?"),
    "profile's value": (VALID + "profiles:\n  laptop:\n    search: {trials: 0}\n",
        "x.yaml:12: `search.trials` must be greater"),
}  # fmt: skip

PARAMETERS = {
    "bound on its own line": (parameter("meta.alpha:\n    min: 0.1\n    max: fast"),
        "x.yaml:9: `parameters.meta.alpha.max` must be a number, but got 'fast'."),
    "no max": (parameter("meta.alpha: {min: 0.1}"), "`parameters.meta.alpha` has no `max`."),
    "nothing": (parameter("meta.alpha: {}"),
        "`parameters.meta.alpha` needs `values`, or `min` and"),
    "both": (parameter("meta.alpha: {values: [1, 2], min: 0.1}"),
        "has values and min and max; keep"),
    "W&B's log_uniform": (parameter("meta.alpha: {distribution: log_uniform, min: -4, max: 0}"),
        "write log_uniform_values, whose bounds are values."),
    "normal": (parameter("meta.alpha: {distribution: normal, min: 0, max: 1}"),
        "only bounded ranges"),
    "low": (parameter("meta.alpha: {low: 0, max: 1}"),
        "`parameters.meta.alpha.low` is not a key here; write `min`."),
    "log": (parameter("meta.alpha: {log: true, min: 0.1, max: 1}"),
        "write `distribution: log_unifor"),
    "probabilities": (parameter("meta.alpha: {values: [1, 2], probabilities: [0.5, 0.5]}"),
        "are not taken: the sampler learns which choices are good."),
    "parameter's typo": (parameter("meta.alpha: {mn: 0.1, max: 1}"),
        "Did you mean `parameters.meta.alpha.min`?"),
    "float range of an integer": (
        parameter("meta.epochs: {distribution: log_uniform_values, min: 1, max: 8}"),
        "It takes integers"),
    "no step": (parameter("meta.alpha: {distribution: q_uniform, min: 0, max: 1}"), "needs a step"),
    "choice": (parameter("refine.optimizer:\n    values:\n    - adam\n    - adamm"),
        "x.yaml:10: `parameters.refine.optimizer.values[1]` must be 'adam', 'adamw' or 'sgd',"),
    "list for a mapping": (parameter("meta.alpha: [0.1, 1]"), "must say `values: [...]`"),
    "out of range": (parameter("refine.lr: {min: 0.1, max: 100.0}"),
        "`parameters.refine.lr.max` must be less than 10, but got 100."),
    "fixed unknown": (edit("refine.epochs: 8", "refine.epoch: 8"),
        "x.yaml:8: unknown parameter `refine.epoch`. Did you mean `refine.epochs`?"),
    "fixed list": (edit("refine.epochs: 8", "refine.epochs: [8]"),
        "x.yaml:8: `fixed.refine.epochs`"),
    "fixed text": (edit("refine.epochs: 8", "refine.lr: fast"),
        "must be a valid number, but got 'fa"),
    "proxy parameter": (parameter("proxy: {values: [conll2003, imagenet]}"),
        "unknown proxy `imagene"),
    "when nothing": (parameter("meta.alpha: {min: 0.1, max: 1, when: {}}"),
        "`parameters.meta.alpha.when` must map another parameter"),
    "when a list": (parameter("meta.alpha: {min: 0.1, max: 1, when: [a]}"),
        "must map another param"),
    "when never": (parameter("meta.alpha: {min: 0.1, max: 1, when: {meta.meta_grad: exat}}\n"
                             "  meta.meta_grad: {values: [exact, fd]}"),
        "never holds: `meta.meta_grad` is never 'exat'. Did you mean `exact`?"),
    "when continuous": (parameter("meta.alpha: {min: 0.1, max: 1, when: {refine.lr: 0.1}}\n"
                                  "  refine.lr: {min: 0.1, max: 0.9}"),
        "is drawn from a continuous range"),
    "when contradicts": (parameter(
            "meta.epochs: {min: 1, max: 3}\n"
            "  meta.classes: {min: 2, max: 4, when: {meta.epochs: 1}}\n"
            "  meta.alpha: {min: 0.1, max: 1, when: {meta.classes: 2, meta.epochs: 3}}"),
        "x.yaml:9: `parameters.meta.alpha.when` never holds: its conditions contradict each o"),
    "infeasible": (edit("[mona]", "[pare]").replace(PARAMETER, "  replace.lr: {min: 0.1, max: 1}")
        .replace("refine.epochs: 8", "replace.k0: 3, replace.k_end: 4"),
        "x.yaml:8: `pare` on `pdebench/advection_1d`: `replace`: k_end 4 is over k0 3."),
    "a method with nothing to search": (edit("[mona]", "[mona, nft]"),
        "`nft` has no parameter here"),
}  # fmt: skip

OPTIONS = {
    "empty value": ({"sets": ["search.trials="]}, "--set search.trials: has no value"),
    "near key": ({"sets": ["serach.trials=1"]}, "Did you mean `search`?"),
    "parameter": ({"sets": ["refine.lrr=1"]},
        "--set refine.lrr: unknown parameter `refine.lrr`. Did"),
    "block": ({"sets": ["data=a: b"]},
        "--set data: expected a scalar, a [list] or a {key: value} map"),
    "broken": ({"sets": ["tasks=[a"]}, "--set tasks: unclosed `[`"),
    "dots": ({"sets": ["search..trials=1"]}, "an empty name between dots"),
    "task": ({"sets": ["tasks=[pdebench/x_1d]"]}, "--set tasks: unknown task `pdebench/x_1d`."),
    "trials": ({"trials": 0},
        "--trials: `search.trials` must be greater than or equal to 1, but go"),
    "name": ({"name": "../x"}, "--name: `name` must be 1 to 63"),
    "profile": ({"profile": "labtop"}, "--profile: unknown profile `labtop`."),
}  # fmt: skip

TEXTS = {f"{group} {name}": row
         for group, rows in {"file": AS_A_FILE, "key": KEYS, "parameter": PARAMETERS}.items()
         for name, row in rows.items()}  # fmt: skip


@pytest.mark.parametrize(("text", "told"), TEXTS.values(), ids=TEXTS.keys())
def test_a_bad_file_is_told_with_its_line_and_the_way_out(text: str, told: str) -> None:
    (line,) = faults(text)  # one mistake makes one message
    assert line.startswith(told) if told.startswith("x.yaml") else told in line, line
    assert "\n" not in line


@pytest.mark.parametrize(("options", "told"), OPTIONS.values(), ids=OPTIONS.keys())
def test_a_bad_option_is_told_by_its_name(options: dict[str, object], told: str) -> None:
    assert told in "\n".join(faults(VALID, **options))


def test_every_fault_is_told_at_once_in_the_order_of_the_lines() -> None:
    text = (
        VALID.replace("mona]", "mnoa]").replace("trials: 8", "trials: 0").replace("study", "A B")
        + "modle: {}\n"
    )
    told = [fault.partition(": ")[0] for fault in faults(text)]
    assert told == ["x.yaml:1", "x.yaml:2", "x.yaml:9", "x.yaml:10"]


SECRETS = {
    "a key": VALID + "aws_secret_key: hunter2canary\n",
    "a key below": VALID + "tracking: {password: hunter2canary}\n",
    "a backbone's key": edit("minilm", "{name: minilm, api_key: hunter2canary}"),
    "fixed": edit("refine.epochs: 8", "refine.token: hunter2canary"),
    "a parameter": parameter("meta.secret: {value: hunter2canary}"),
    "tracking": VALID + "tracking: {uri: 'http://me:hunter2canary@host'}\n",
    "tracking's scheme": VALID + "tracking: {uri: 'htp://me:hunter2canary@host'}\n",
    "a query": VALID + "tracking: {uri: 'http://host?token=hunter2canary'}\n",
    "any address": edit("minilm", "'http://me:hunter2canary@host/x'"),
}


@pytest.mark.parametrize("text", SECRETS.values(), ids=SECRETS.keys())
def test_a_secret_is_refused_and_never_shown(text: str) -> None:
    assert "hunter2canary" not in "\n".join(faults(text))
