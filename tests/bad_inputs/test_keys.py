"""Keys and scalars of the sweep file: rows 22 to 49."""

import pytest

from tests.bad_inputs.rows import PARAMETER, VALID, Command, Row, edit, ids

NAMING = "`name` must be 1 to 63 of a-z, 0-9, - and _, and start with a letter or digit, but got "

ROWS = [
    Row(22, "a typing error", edit("search:", "serach:"),
        "x.yaml:9: unknown key `serach`. Did you mean `search`?"),
    Row(22, "one below", edit("trials:", "trails:"),
        "x.yaml:9: unknown key `search.trails`. Did you mean `search.trials`?"),
    Row(23, "missing", edit("parameters:\n" + PARAMETER, "model: {}"),
        "x.yaml:2: `mona` has no parameter here to search. Name one in `parameters`, or set "),
    Row(24, "no parameters", edit("parameters:\n" + PARAMETER, "parameters: {}"),
        "x.yaml:6: `mona` has no parameter here to search. Name one in `parameters`, or set "),
    Row(25, "a number with an exponent", edit("min: 1e-4", "min: 1E-4"), "x.yaml: valid", code=0),
    Row(25, "the same in quotes", edit("min: 1e-4", "min: '1e-4'"),
        "x.yaml:7: `parameters.meta.alpha.min` must be a number, but got '1e-4'."),
    Row(26, "a word for a number", edit("min: 1e-4", "min: fast"),
        "x.yaml:7: `parameters.meta.alpha.min` must be a number, but got 'fast'."),
    Row(27, "yes and no",
        edit("[mona]", "[orca]").replace(PARAMETER, "  align.mmd_unbiased: {values: [on, true]}"),
        "x.yaml:7: `parameters.align.mmd_unbiased.values[0]` must be a valid boolean, but got "
        "'on'. Only true and false are booleans in YAML 1.2."),
    Row(28, "octal", edit("trials: 8", "seed: 010"),
        "x.yaml:9: 010 starts with a zero, which some readers of YAML take for octal; write 10, "
        "or quote it."),
    Row(29, "a duration without units", VALID + "budget: {wall: 1:30}\n",
        "x.yaml:10: `budget.wall` must be a duration with its unit, such as 45s, 90m, 1h30m or "
        "2d, but got '1:30'."),
    Row(30, "a name that looks like a date", edit("name: study", "name: 2024-01-01"),
        "x.yaml: valid", code=0),
    Row(31, "null", edit("name: study", "name: null"), "x.yaml: missing key `name`."),
    Row(31, "an empty name", edit("name: study", "name: ''"), f"x.yaml:1: {NAMING}an empty text."),
    Row(31, "spaces", edit("name: study", "name: '  '"), f"x.yaml:1: {NAMING}'  '."),
    *(Row(32, f"name {name}", edit("name: study", f"name: '{name}'"),
          f"x.yaml:1: {NAMING}'{name}'.")
      for name in ("../../etc", "/abs", "a/b", ".", "..", "-rf", "UPPER")),
    Row(33, "long", edit("name: study", f"name: {'a' * 300}"),
        f"x.yaml:1: {NAMING}'{'a' * 77}...'."),
    Row(34, "a line break", edit("name: study", 'name: "Mona\\nPDE"'),
        rf"x.yaml:1: {NAMING}'Mona\nPDE'."),
    Row(34, "emoji", edit("name: study", "name: 🙂"), f"x.yaml:1: {NAMING}'🙂'."),
    Row(34, "right to left", edit("name: study", "name: a\u202eb"),
        rf"x.yaml:1: {NAMING}'a\u202eb'."),
    Row(36, "a direction", VALID + "mode: minimise\n",
        "x.yaml:10: unknown key `mode`. The task's metric decides: lower is better."),
    *(Row(37, f"trials {trials}", edit("trials: 8", f"trials: {trials}"),
          f"x.yaml:9: `search.trials` must be {told}, but got {got}.")
      for trials, told, got in (
          ("0", "greater than or equal to 1", "0"),
          ("-1", "greater than or equal to 1", "-1"),
          ("2.5", "a valid integer", "2.5"),
          ("true", "a valid integer", "true"),
          ("1000000000", "less than or equal to 100000", "1000000000"))),
    Row(40, "less than no GPU", VALID + "resources: {gpu: -1}\n",
        "x.yaml:10: `resources.gpu` must be greater than or equal to 0, but got -1."),
    Row(40, "a GPU and a half", VALID + "resources: {gpu: 1.5}\n",
        "x.yaml:10: `resources.gpu` must be 1 or less, or a whole number, but got 1.5."),
    Row(40, "a variable's value", VALID + "resources: {env: [WANDB_API_KEY=x]}\n",
        "x.yaml:10: `resources.env[0]` must be the name of an environment variable"),
    Row(40, "bytes", VALID + "resources: {memory: 10}\n",
        "x.yaml:10: `resources.memory` must be a size with its unit, such as 500MB or 10GiB, but "
        "got 10."),
    Row(41, "a pruner", VALID + "pruning: {type: ashaa}\n",
        "x.yaml:10: `pruning.type`: unknown pruner `ashaa`. Did you mean `asha`? Known: asha, "
        "median, none, promote."),
    *(Row(41, f"a pruner of before, {name}", VALID + f"pruning: {{type: {name}}}\n",
          f"x.yaml:10: `pruning.type`: `{name}` is gone: write `promote`, which is as good.")
      for name in ("hyperband", "pasha", "curves")),
    Row(41, "a sampler that is gone", edit("trials: 8", "sampler: bohb"),
        "x.yaml:9: `search.sampler`: `bohb` is gone: write `random`, which is as good."),
    Row(41, "a pruner as a sampler", edit("trials: 8", "sampler: hyperband"),
        "x.yaml:9: `search.sampler`: unknown sampler `hyperband`."),
    Row(42, "later than the last epoch", VALID + "pruning: {min_epochs: 50}\n",
        "x.yaml:10: `pruning.min_epochs: 50` is over the 8 epochs of `refine`, so that no trial "
        "is ever pruned. Lower it, or write `type: none`."),
    Row(42, "no rung",
        VALID + "pruning:\n  type: promote\n  min_epochs: 8\n",
        "x.yaml:12: `pruning.min_epochs: 8` is not below the 8 epochs of `refine`, so that no "
        "trial is ever paused. Lower it, or write `type: none`."),
    Row(42, "a promotion of all", VALID + "pruning: {type: promote, eta: 1}\n",
        "x.yaml:10: `pruning.eta` must be greater than or equal to 2, but got 1."),
    Row(42, "a factor of one", VALID + "pruning: {eta: 1}\n",
        "x.yaml:10: `pruning.eta` must be greater than or equal to 2, but got 1."),
    Row(43, "checkpoints", VALID + "checkpoints: {every: 0}\n",
        "x.yaml:10: `checkpoints.every` must be greater than or equal to 1, but got 0."),
    Row(43, "two last ones", VALID + "checkpoints: {last: 2}\n",
        "x.yaml:10: `checkpoints.last` must be less than or equal to 1, but got 2."),
    Row(44, "attempts", VALID + "failures: {max_attempts: -1}\n",
        "x.yaml:10: `failures.max_attempts` must be greater than or equal to 1, but got -1."),
    *(Row(45, f"uri {uri}", VALID + f"tracking: {{uri: '{uri}'}}\n",
          f"x.yaml:10: `tracking.uri` must start with one of http:, https:, sqlite:, postgresql:, "
          f"mysql:, mssql:, databricks:, but got '{uri}'.")
      for uri in ("htp://x", "localhost:5000", "file:///etc", "/etc", "s3://bucket/x")),
    Row(46, "a password", VALID + "tracking: {uri: 'http://me:hunter2@host'}\n",
        "x.yaml:10: `tracking.uri` must hold no password; put it in MLFLOW_TRACKING_PASSWORD, but "
        "got 'http://***@host'."),
    Row(46, "a key", VALID + "api_key: hunter2\n",
        "x.yaml:10: `api_key` looks like a secret: a sweep file holds none. Put it in the "
        "environment, and write ${env:NAME} in `tracking.uri` or `notify`."),
    Row(46, "a password of a webhook", VALID + "notify: ['https://me:hunter2@host/hook']\n",
        "x.yaml:10: `notify[0]`: it has a password or a token in it; a sweep file holds no "),
    Row(46, "a token in a query", VALID + "notify: ['https://host/hook?token=hunter2']\n",
        "x.yaml:10: `notify[0]`: it has a password or a token in it; a sweep file holds no "),
    Row(46, "a token in a path",
        VALID + "notify:\n  - https://host/hook\n  - https://host/services/hunter2x9Zq8fJ3k\n",
        "x.yaml:12: `notify[1]`: it has what looks like a token in it; a sweep file holds no "),
    *(Row(46, f"a token of letters in {place}", VALID + f"notify: ['{address}']\n",
          "x.yaml:10: `notify[0]`: what follows the first part of a webhook's path is a secret as "
          "a rule; a sweep file holds no secret: put it in the environment, and write ${env:NAME}.")
      for place, address in (
          ("Slack", "https://hooks.slack.com/services/TABC/BDEF/abcdefghijklmnopqrstuvwx"),
          ("a path", "https://host/hooks/abc"), ("a fragment", "https://x.org/a#abc"))),
    Row(46, "a secret path in the environment", VALID + "notify: ['https://host/a/${env:HOME}']\n",
        "x.yaml: valid", code=0),
    Row(46, "a service's own address", VALID + "notify: ['slack://hunter2/b/c']\n",
        "x.yaml:10: `notify[0]`: an address of `slack` has a secret in it as a rule; a sweep "),
    Row(46, "a token in a profile that is not used",
        VALID + "profiles: {later: {notify: ['https://host/?key=hunter2']}}\n",
        "x.yaml:10: `notify`: it has a password or a token in it; a sweep file holds no secret"),
    Row(46, "one text for a list", VALID + "notify: https://host/hunter2\n",
        "x.yaml:10: `notify` must be a valid list."),
    Row(46, "an address without a scheme", VALID + "notify: [host/hook]\n",
        "x.yaml:10: `notify[0]`: it must be an address with its scheme, such as https:// or "),
    Row(46, "an address without a host", VALID + "notify: ['https:///hook']\n",
        "x.yaml:10: `notify[0]`: it names no host, or no valid port."),
    Row(46, "a variable of the shell", VALID + "notify: ['https://host/${HOOK}']\n",
        "x.yaml:10: `notify[0]`: write environment variables as ${env:NAME}."),
    Row(46, "another tool's key", VALID + "webhook: https://host\n",
        "x.yaml:10: unknown key `webhook`. Write `notify`."),
    Row(47, "a webhook that is not in the environment", VALID + "notify: ['${env:NO_SUCH_HOOK}']\n",
        "x.yaml:10: `notify[0]`: the environment variable NO_SUCH_HOOK is not set; set it."),
    Row(47, "not in the environment", VALID + "tracking: {uri: 'http://${env:NO_SUCH_HOST}:5000'}\n",
        "x.yaml:10: `tracking.uri`: the environment variable NO_SUCH_HOST is not set; set it."),
    Row(49, "a method", edit("[mona]", "[mnoa]"),
        "x.yaml:2: unknown method `mnoa`. Did you mean `mona`? The nearest of "),
    Row(49, "a task", edit("advection_1d]", "advecton_1d]"),
        "x.yaml:3: unknown task `pdebench/advecton_1d`. Did you mean `pdebench/advection_1d`?"),
    Row(49, "frames that a problem has not", edit("advection_1d]", "advection_1d@orca]"),
        "x.yaml:3: unknown task `pdebench/advection_1d@orca`. Did you mean "
        "`pdebench/advection_1d@rank`? Known: pdebench/advection_1d, pdebench/advection_1d@hard, "),
    Row(49, "two suffixes", edit("advection_1d]", "shallow_water_2d@hard@orca]"),
        "x.yaml:3: unknown task `pdebench/shallow_water_2d@hard@orca`. Did you mean "),
    Row(49, "code", edit("[mona]", "['os:system']"), "x.yaml:2: unknown method `os:system`."),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=ids(ROWS))
def test_a_key_or_scalar_is_told(command: Command, row: Row) -> None:
    told = command.tells(row)
    assert len(told.err) == bool(row.code), "one mistake makes one message"
    assert "hunter2" not in "".join(told.err)


@pytest.mark.slow  # it starts a process with torch for the floors
def test_row_38_more_at_once_than_fit_is_told_by_plan(command: Command) -> None:
    (command.folder / "x.yaml").write_text(edit("trials: 8", "max_concurrent: 500"))
    told = command("plan", "x.yaml")
    assert told.code == 0
    more = "`search.max_concurrent: 500` is more than the cluster holds: "
    assert any(line.startswith(more) for line in (*told.out, *told.err))
