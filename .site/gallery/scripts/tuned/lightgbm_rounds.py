import argparse

import lightgbm as lgb
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sweeper.integrations.lightgbm import train


def main(params, trial):
    parser = argparse.ArgumentParser(description="Boosted trees on digits")
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--num-leaves", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args([], argparse.Namespace(**params, seed=trial.seed))

    x, y = load_digits(return_X_y=True)
    x_train, x_valid, y_train, y_valid = train_test_split(x, y, test_size=0.25, random_state=0)
    train_data = lgb.Dataset(x_train, label=y_train)
    valid_data = lgb.Dataset(x_valid, label=y_valid, reference=train_data)
    params = {
        "objective": "multiclass",
        "num_class": 10,
        "metric": ["multi_logloss", "multi_error"],
        "learning_rate": args.learning_rate,
        "num_leaves": args.num_leaves,
        "feature_fraction": 0.8,
        "seed": args.seed,
        "num_threads": 1,
        "verbose": -1,
    }
    model = train(
        trial,
        params,
        train_data,
        num_boost_round=args.rounds,
        valid_sets=[valid_data],
        callbacks=[lgb.log_evaluation(period=5)],
    )
    model.save_model(trial.folder / "model.txt", num_iteration=model.best_iteration)
    print("best iteration", model.best_iteration, dict(model.best_score["valid_0"]))


if __name__ == "__main__":
    main()
