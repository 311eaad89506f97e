"""The loader of exported models for MLflow, whose file `MLmodel` names this module.

MLflow imports it, calls `_load_pyfunc` with the folder of the model, and passes inputs to
`predict`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from trainables.runtime.prediction import PredictionModel, load_model


class MlflowModel:
    """A trained model in the form that MLflow calls."""

    def __init__(self, model: PredictionModel) -> None:
        self.model = model

    def predict(
        self, model_input: Any, params: Mapping[str, Any] | None = None
    ) -> np.ndarray | pd.DataFrame:
        """Return the predictions of raw inputs [n, *input_shape], as `PredictionModel.predict`.

        Args:
            model_input: An array; or a DataFrame with a column for each number of a sample.
            params: Not used.

        Returns:
            Of classes or labels, a DataFrame with the probability of each in a column of its name.

        Raises:
            DataError: The inputs have another shape, are no numbers, or are not finite.
        """
        rows = model_input if isinstance(model_input, np.ndarray) else model_input.to_numpy()
        found, classes = self.model.predict(rows), list(self.model.classes)
        return pd.DataFrame(found, columns=classes) if classes else found


def _load_pyfunc(data_path: str) -> MlflowModel:
    """Return the model in a folder of `model_folder`.

    Raises:
        WeightsError: The folder is damaged, or another version wrote it.
    """
    folder = Path(data_path)
    return MlflowModel(load_model(folder, folder))
