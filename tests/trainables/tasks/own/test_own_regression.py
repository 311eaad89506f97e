"""A regression from its files on: imported, verified, trained, and predicted in its unit."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score, root_mean_squared_error

from tests.support.own_tasks import definition
from tests.support.tiny_trials import make_trials
from trainables.errors import DataError
from trainables.runtime.prediction import load_model
from trainables.spec import DataSpec
from trainables.tasks.importing import import_own
from trainables.tasks.loading import describe_data, load_task
from trainables.tasks.own.benchmark import own_benchmark
from trainables.tasks.registry import register, task_info
from trainables.tasks.verification import verify_folder

NAME = "mine/diabetes"


def import_arrays(folder, home, x, y, **changes):
    """Write samples into `folder`, import them into `home`, and return the folder of the data."""
    np.savez(folder / "samples.npz", x=x, y=y)
    given = {"path": "samples.npz", "key": "x", "layout": "NL"}
    task = definition(NAME, kind="regression", input=given, **changes)
    register(own_benchmark([task], home, {NAME: folder / "diabetes.task.yaml"}))
    return import_own(NAME, home)


@pytest.fixture
def home(tmp_path):
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def test_numbers_are_imported_with_the_baseline_of_scikit_learn(tmp_path, home):
    x, y = load_diabetes(return_X_y=True)
    folder = import_arrays(tmp_path, home, x, y)
    info, task = task_info(NAME), load_task(NAME, DataSpec(), home)
    assert (info.kind, info.metric, info.loss) == ("regression", "rmse", "mse")
    assert (info.dimension, info.input_shape, info.channels) == ("1d", (1, 10), (1, 1))
    assert describe_data(NAME, DataSpec()).y_shape == task.output_shape == (1,)
    assert not verify_folder(folder, NAME).faults
    dummy = DummyRegressor().fit(task.train.y, task.train.y)
    expected = root_mean_squared_error(task.test.y, dummy.predict(task.test.y))
    assert task.baselines == {"mean": pytest.approx(expected, rel=1e-6)}


def test_constant_outputs_are_a_finding_and_nothing_but_these_is_refused(tmp_path, home):
    x, y = load_diabetes(return_X_y=True)
    constant = np.stack([y, np.full(len(y), 4.5), y / 7], axis=1)
    folder = import_arrays(tmp_path, home, x, constant)
    verified = verify_folder(folder, NAME)
    assert not verified.faults
    assert "train: 1 of 3 outputs constant, from 0: 1." in verified.findings
    content = folder / "train.arrow"
    before = content.read_bytes()
    constant[:, [0, 2]] = (1, 2)
    np.savez(tmp_path / "samples.npz", x=x, y=constant)
    with pytest.raises(DataError, match="nothing to learn"):
        import_own(NAME, home, replace=True)
    assert content.read_bytes() == before


def test_outputs_that_are_alike_in_single_precision_are_not_called_constant(tmp_path, home):
    x, y = load_diabetes(return_X_y=True)
    with pytest.raises(DataError, match=r"1\.09951163e\+12 in single precision\. If they differ"):
        import_arrays(tmp_path, home, x, 2**40 + np.arange(len(y)))


def test_damaged_data_are_replaced_by_the_same_files(tmp_path, home):
    x, y = load_diabetes(return_X_y=True)
    folder = import_arrays(tmp_path, home, x, y)
    whole = (folder / "train.arrow").read_bytes()
    (folder / "train.arrow").write_bytes(whole[:-9] + b"x" * 9)
    assert verify_folder(folder, NAME).faults
    import_own(NAME, home, replace=True)
    assert not verify_folder(folder, NAME).faults
    assert (folder / "train.arrow").read_bytes() == whole


def test_a_split_in_which_the_metric_is_not_defined_is_refused(tmp_path, home):
    """Each trial is measured on validation."""
    x, y = load_diabetes(return_X_y=True)
    splits = {"val": 1.2 / len(y), "test": 0.25}
    with pytest.raises(DataError, match=r"val split: .* needs two samples or more"):
        import_arrays(tmp_path, home, x, y, metric="one_minus_r2", splits=splits)


@pytest.mark.slow
def test_a_trained_model_predicts_the_numbers_of_raw_inputs(tmp_path, home):
    """It does so about as well as ridge regression, and better than the mean."""
    x, y = load_diabetes(return_X_y=True)
    y = np.stack([y * 1e6, y / 1e6], axis=1)
    splits = {"val": 0.15, "test": 0.25}
    import_arrays(tmp_path, home, 100 * x, y, metric="one_minus_r2", splits=splits)
    trials = make_trials(home)
    settings = {"refine.epochs": 12, "refine.batch_size": 32, "refine.lr": 3e-3}
    plain = trials.spec("nft", "1d", settings)
    spec = plain.model_copy(update={"task": NAME, "data": DataSpec()})
    trial = trials.begin(spec)
    *_, last = trial.reports()
    train, test = trial.domains.target.train, trial.domains.target.test
    ridge = RidgeCV().fit(train.x[:, 0], train.y)
    linear = 1 - r2_score(test.y, ridge.predict(test.x[:, 0]))
    # Errors are squared: the root-mean-square error is at most 1.15 times that of the ridge.
    assert last.metrics["test/one_minus_r2"] < min(0.9**2, 1.15**2 * linear)
    trial.save(tmp_path / "checkpoint")
    predicted = load_model(tmp_path / "checkpoint", home).predict(100 * x)
    assert predicted.shape == y.shape
    errors = (root_mean_squared_error(y[:, i], predicted[:, i]) for i in range(2))
    assert all(error < 0.9 * spread for error, spread in zip(errors, y.std(axis=0), strict=True))
