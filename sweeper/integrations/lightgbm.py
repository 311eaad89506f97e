"""Boosting by LightGBM that goes on where its trial was."""

from typing import Any

from sweeper.integrations import importing
from trainables.runtime.programs.function import Trial
from trainables.seeding import derive_seed

with importing("lightgbm"):
    import lightgbm as lgb
    from lightgbm.basic import _choose_param_value
    from lightgbm.callback import CallbackEnv


def train(
    trial: Trial, params: dict[str, Any], train_set: lgb.Dataset, num_boost_round: int, **rest: Any
) -> lgb.Booster:
    """Call `lightgbm.train`, report the metrics of each round (`ndcg_5`), and save its model.

    A resumed trial differs from an undisturbed one if rows are sampled (bagging, GOSS).
    """

    def seed(env: CallbackEnv) -> None:
        of_round = derive_seed(trial.seed, "round", env.iteration) % 2**31
        env.model.reset_parameter({"feature_fraction_seed": of_round})

    def report(env: CallbackEnv) -> None:
        if env.iteration + 1 < env.end_iteration:  # else there is nothing to go on with
            env.model.save_model(trial.folder / "round.txt")
            trial.save(trial.folder / "round.txt")
        found = {f"{data}_{name}": value for data, name, value, *_ in env.evaluation_result_list}
        trial.report(env.iteration + 1, {k.replace("@", "_"): v for k, v in found.items()})

    seed.before_iteration = True  # type: ignore[attr-defined]
    kept = trial.restore()
    done = lgb.Booster(model_file=kept).current_iteration() if kept else 0
    callbacks = [*rest.pop("callbacks", ()), seed, report]
    params = _choose_param_value("num_iterations", params, num_boost_round)  # by any alias
    rounds = params.pop("num_iterations") - done
    return lgb.train(params, train_set, rounds, init_model=kept, callbacks=callbacks, **rest)
