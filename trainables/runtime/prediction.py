"""Trained models for users: raw inputs in, outputs of the task in their unit out.

    model = load_model(folder, home)
    model.predict(x)    # probabilities [n, k], fields [n, c, *grid], or vectors [n, k]

Inputs are those that the task's store receives before its normalisation. The batches are those of
the evaluation at the end of a trial, so that the outputs have the same bits.
"""

from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from trainables.errors import ConfigError, DataError, TrainableError, WeightsError
from trainables.models.backbones.loading import build_backbone, load_backbone
from trainables.models.backbones.reading import NetworkReader
from trainables.models.cross_modal import CrossModalModel
from trainables.models.origin import ModelOrigin
from trainables.runtime import checkpoints
from trainables.runtime.model_building import complete, model_of, network_of, with_backbone
from trainables.runtime.model_folder import (
    CONFIG,
    DECODED,
    UNITS,
    best_weights,
    check_is_model,
    count_numbers,
    is_checkpoint,
    read_model,
    read_origin,
)
from trainables.runtime.model_task import ModelTask
from trainables.spec import TrialSpec
from trainables.tasks.loading import load_task
from trainables.tasks.registry import register_own
from trainables.tasks.store.normalisation import Normalisation
from trainables.tasks.store.split import Rows
from trainables.tasks.store.statistics import Standardiser
from trainables.tasks.task import TaskShape
from trainables.training.evaluation import gather, rows_at_once
from trainables.training.state import supervised

LARGEST = np.finfo(np.float32).max

Raw = np.ndarray | Sequence[np.ndarray]  # inputs of one shape, or sounds
THRESHOLD = 0.5  # probability above which a label is predicted


class PredictionModel(nn.Module):
    """A trained network in evaluation mode, with the normalisation of its task.

    `forward` maps inputs of the network to its outputs, as in training. `predict` maps raw inputs
    to outputs that mean something to a user.

    Args:
        network: The trained network.
        spec: The trial that trained it.
        task: Facts about its task.
        normalisation: The steps between raw samples and those of the network.
    """

    def __init__(
        self,
        network: CrossModalModel,
        *,
        spec: TrialSpec,
        task: ModelTask,
        normalisation: Normalisation,
    ) -> None:
        super().__init__()
        self.network = network
        self.spec, self.task, self.normalisation = spec, task, normalisation
        self.requires_grad_(False).eval()

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of classes or labels, in the order of `predict`; empty for other tasks."""
        return self.task.classes

    @property
    def device(self) -> torch.device:
        """The device of the network."""
        parameter: Tensor = next(self.network.parameters())
        return parameter.device

    def forward(self, x: Tensor) -> Tensor:
        """Return the network's outputs of its inputs [n, c, *grid]: logits, or fields."""
        outputs: Tensor = self.network(x)
        return outputs

    def predict(self, x: Raw, batch_size: int | None = None) -> np.ndarray:
        """Return predictions of raw inputs.

        Args:
            x: Numbers [n, *input_shape], as the task's store receives them before its
                normalisation; or rows [n, k] of the k numbers of a sample. If there is one channel,
                its axis may be left out. Of a task of sounds also sounds [l] or [c, l], in the
                sample rate of the task.
            batch_size: Samples to compute at once; None: as in the evaluation of a trial. It
                changes the last bits of the outputs.

        Returns:
            By the kind of the task: probabilities of the classes, float64 [n, classes];
            probabilities of each label, float64 [n, labels]; fields, float32 [n, c, *grid], in the
            unit of the raw outputs (of tasks that classify pixels: probabilities, float64); or
            vectors, float32 [n, k], in the unit of the outputs.

        Raises:
            DataError: The inputs have another shape, are no numbers, or are not finite.

        Example:
            >>> model.predict(np.load("waves.npy")).shape  # doctest: +SKIP
            (100, 1, 128)
        """
        if batch_size is not None and batch_size < 1:
            raise DataError(f"batch_size must be 1 or more, but is {batch_size}.")
        rows = self.normalisation.network_inputs(self._checked(x))
        outputs = np.concatenate(list(self._outputs(rows, batch_size)))
        return self._in_unit(outputs)

    def labels(self, x: Raw, batch_size: int | None = None) -> np.ndarray:
        """Return predicted labels of raw inputs.

        `x` and `batch_size` are as of `predict`.

        Returns:
            The name of the most probable class of each sample, [n]; or, if labels may occur
            together, whether the probability of each is at least one half, bool [n, labels].

        Raises:
            ConfigError: The task has no labels.
            DataError: As of `predict`.
        """
        if not self.classes:
            raise ConfigError(
                f"{self.task.name} has no labels, since it is a {self.task.kind} task: call "
                "`predict`."
            )
        return self.as_labels(self.predict(x, batch_size))

    def as_labels(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the labels of predicted probabilities [n, k], as `labels` does."""
        if self.task.kind == "multilabel":
            return np.asarray(probabilities >= THRESHOLD)
        names: np.ndarray = np.array(self.classes)[probabilities.argmax(axis=1)]
        return names

    @torch.inference_mode()
    def _outputs(self, rows: Rows, batch_size: int | None) -> Iterator[np.ndarray]:
        step, device = batch_size or rows_at_once(rows), self.device
        for start in range(0, len(rows), step):
            # An array as index copies rows, so that read-only inputs are allowed.
            batch = gather(rows, np.arange(start, min(start + step, len(rows))), device)
            # Kernels round by the layout of their input and its place in memory, so that both are
            # the same for equal numbers from any file.
            batch = batch.clone(memory_format=torch.contiguous_format)
            with supervised(self.spec.model.precision, device):
                outputs = self(batch).float()
            yield outputs.cpu().numpy()

    def _in_unit(self, outputs: np.ndarray) -> np.ndarray:
        """Return probabilities of logits, or values in the unit of the raw outputs.

        Probabilities are double precision, so that they have the order of their logits.
        """
        if not self.task.gives_probabilities:
            values: np.ndarray = self.normalisation.raw_outputs(outputs)
            return values
        logits = torch.from_numpy(outputs).double()
        is_exclusive = self.task.kind == "classification"
        probabilities: np.ndarray = (
            logits.softmax(dim=1) if is_exclusive else logits.sigmoid()
        ).numpy()
        return probabilities

    def _checked(self, x: Raw) -> np.ndarray:
        """Return raw inputs [n, *input_shape].

        Raises:
            DataError: The inputs have another shape, are no numbers, or are not finite.
        """
        expected = self.task.input_shape
        try:
            x = np.asarray(x if self.task.sound is None else self.task.sound.inputs(x, expected))
        except (TypeError, ValueError, RuntimeError) as error:  # ragged lists, or a tensor's kind
            raise DataError(f"inputs are no array: {error}") from error
        if x.dtype.kind not in "buif":
            raise DataError(f"inputs must be real numbers, but are {x.dtype}.")
        # A row of a table has all numbers of a sample. Rows of sounds have their shape by now.
        flat, bare = (prod(expected),), expected[expected[0] == 1 :]
        if x.ndim and x.shape[1:] in (flat, bare):
            x = x.reshape(len(x), *expected)
        if x.shape[1:] != expected or x.ndim != len(expected) + 1 or not len(x):
            shape = ", ".join(map(str, expected))
            raise DataError(
                f"inputs have the shape {list(x.shape)}, but {self.task.name} takes [n, {shape}]: "
                "n samples, at least one, of "
                f"{expected[0]} channel{'s' * (expected[0] != 1)} each."
            )
        if x.dtype.kind == "f":
            # Beyond single precision a number becomes infinite. NaN is below no bound.
            finite = (np.abs(x) <= LARGEST).reshape(len(x), -1).all(axis=1)
            if not finite.all():
                raise DataError(
                    f"inputs are not finite in {np.count_nonzero(~finite)} of {len(x)} samples, as "
                    f"single precision has them, the first in row {np.argmin(finite)}."
                )
        return x


def load_model(folder: Path, home: Path) -> PredictionModel:
    """Return the trained model of a checkpoint, with its best weights, or an exported model.

    Args:
        folder: A checkpoint folder of a trial, or a folder of an exported model.
        home: SWEEPER_HOME. A checkpoint needs its data of the task and its pretrained weights; an
            exported model needs nothing of it.

    Raises:
        ConfigError: The task or the backbone is unknown.
        CorruptCheckpoint: A file is missing or altered, or its weights belong to another model.
        DataError: The folder holds no model, no description of it or no best weights, or the data
            are missing.
        WeightsError: The pretrained weights are missing, or an exported model is damaged.
    """
    if is_checkpoint(folder):
        return _from_checkpoint(folder, home)
    check_is_model(folder)
    return _from_export(folder, home)


def _from_checkpoint(folder: Path, home: Path) -> PredictionModel:
    trial = read_origin(folder, home).spec
    register_own(trial.definition, home)
    task = load_task(trial.task, trial.data, home)
    if trial.backbone is None:
        trial = complete(trial, task.info)
    backbone = None if trial.backbone is None else load_backbone(trial.backbone, trial.home)
    network = model_of(trial, backbone, task)
    checkpoints.load_weights(network, best_weights(folder))
    return PredictionModel(
        network,
        spec=trial,
        task=ModelTask.of(task),
        normalisation=Normalisation.of(task.manifest),
    )


def _exported_network(
    origin: ModelOrigin, shape: TaskShape, weights: Path, home: Path
) -> CrossModalModel:
    """Build the network of an exported model, before its weights are loaded.

    Raises:
        ConfigError: Its method, or the package of the method's network, is not here.
        WeightsError: The description asks for a larger network than the weights can fill.
    """
    spec = origin.spec
    if spec.backbone is None:
        spec = complete(spec, shape.info)
    # An untrusted description must not fill the memory: the method's network is counted before it
    # is built.
    with torch.device("meta"):
        network = network_of(spec, shape)
    count = 0 if network is None else sum(each.numel() for each in network.parameters())
    if count > count_numbers(weights):
        raise WeightsError(f"its network has {count} weights, but {weights.name} holds fewer.")
    if spec.backbone is not None:
        # The description stands in for a folder of pretrained weights, of which an export needs
        # none.
        reader = NetworkReader(
            name=spec.backbone.name,
            description=dict(origin.network),
            folder=None,
            home=home,
            layers=spec.backbone.layers,
        )
        backbone = build_backbone(reader, spec.backbone)
        return with_backbone(spec, backbone, shape, network_of(spec, shape))
    return model_of(spec, None, shape)


def _from_export(folder: Path, home: Path) -> PredictionModel:
    found = read_model(folder, home)
    origin, task, spec = found.origin, found.config.task, found.origin.spec
    # Only decoded and regression tasks have these standards. Predictors of other tasks read
    # neither.
    nothing = Standardiser(np.zeros(1, np.float32), np.ones(1, np.float32))
    shape = TaskShape(
        info=task.info,
        input_shape=task.network_shape,
        output_shape=task.output_shape,
        output_unit=origin.output_unit or (0.0, 1.0),
        output_standard=found.standards.get(DECODED, nothing),
        output_units=found.standards.get(UNITS, nothing),
    )
    try:
        network = _exported_network(origin, shape, found.weights, home)
        checkpoints.load_weights(network, found.weights)
    except TrainableError as error:
        raise WeightsError(f"{folder}: {error}") from error
    except Exception as error:  # an untrusted description may make a library raise anything
        raise WeightsError(
            f"{folder}: its {CONFIG} describes no network that can be built "
            f"({type(error).__name__}: {error}). It was written with "
            f"{', '.join(f'{name} {number}' for name, number in found.config.versions.items())}."
        ) from error
    return PredictionModel(network, spec=spec, task=task, normalisation=found.normalisation)
