import argparse

import joblib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler


def main(params, trial):
    parser = argparse.ArgumentParser(description="Linear classifier on digits, batch by batch")
    parser.add_argument("--alpha", type=float, default=1e-4)
    parser.add_argument("--penalty", choices=["l2", "l1", "elasticnet"], default="l2")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=100)
    args = parser.parse_args([], argparse.Namespace(**params))

    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.25, random_state=0)
    scaler = StandardScaler().fit(x_train)
    x_train, x_test = scaler.transform(x_train), scaler.transform(x_test)

    rng = np.random.RandomState(0)
    model = SGDClassifier(alpha=args.alpha, penalty=args.penalty, random_state=rng)
    first, path = 0, trial.folder / "model.joblib"
    if trial.restore():
        first, rng, model = joblib.load(trial.restore())
    for epoch in range(first, args.epochs):
        order = rng.permutation(len(x_train))
        for start in range(0, len(order), args.batch_size):
            batch = order[start : start + args.batch_size]
            model.partial_fit(x_train[batch], y_train[batch], classes=np.arange(10))
        accuracy = accuracy_score(y_test, model.predict(x_test))
        joblib.dump((epoch + 1, rng, model), path)
        trial.save(path)
        trial.report(epoch + 1, {"accuracy": accuracy})


if __name__ == "__main__":
    main()
