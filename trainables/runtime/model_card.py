"""The model card of an exported model: a README.md for people. Loads no torch."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from trainables.methods.registry import METHODS
from trainables.models.origin import ModelOrigin
from trainables.runtime.model_task import ModelConfig, ModelTask
from trainables.spec import BackboneSpec

LICENCES: Mapping[str, str] = MappingProxyType(  # of named weights, as their sources state them
    {
        "roberta_base": "MIT",
        "minilm": "Apache-2.0",
        "gpt2": "MIT",
        "swin_base": "Apache-2.0",
        "dinov2_small": "Apache-2.0",
    }
)
OUTPUTS = {
    "classification": "probabilities of the classes, float64 {shape}",
    "multilabel": "a probability of each label, float64 {shape}",
    "dense": "fields in the unit of the data, float32 {shape}",
    "regression": "vectors in the unit of the data, float32 {shape}",
}
MANY_CLASSES = 20
TEMPLATE = """# {task.title} by {title}

A network that `sweeper` trained on `{task.name}` by {how}.

## Use
```python
import sweeper

model = sweeper.load_model("FOLDER")  # a torch module in evaluation mode
y = model.predict(x)  # x: raw inputs [n, {input_shape}]
```
or `sweeper predict FOLDER INPUT -o OUT`. The model normalises its inputs itself.
{outputs}

## Task and data
- Task: `{task.name}`, {task.kind}, {task.dimension}; data: {task.data_source}
- Hash of the data: `{task.content_hash}`
- Protocol: {task.protocol}
- Licence of the data: {task.licence}
- Citation of the data: {citation}

## Results
Lower is better. The task's metric is `{task.metric}`.

| metric | value |
|---|--:|{rows}

## Training
- Method: {title}{published}
- Sweep and trial: {sweep}, {trial}; seed {seed}
{network}

Settings:
```json
{settings}
```

## Versions
{versions}
"""


def model_card(origin: ModelOrigin, config: ModelConfig) -> str:
    """Return the card of a model in Markdown.

    Args:
        origin: The trial, and its network.
        config: Its task, metrics and versions of libraries.
    """
    task, spec, method = config.task, origin.spec, METHODS.get(origin.spec.method)
    title = spec.method if method is None else method.title
    how = title if spec.backbone is None else f"cross-modal fine-tuning ({title})"
    rows = "".join(f"\n| `{name}` | {value:.6g} |" for name, value in config.metrics.items())
    settings: dict[str, Any] = {"model": spec.model.model_dump(mode="json"), **spec.stages}
    return TEMPLATE.format(
        task=task,
        title=title,
        how=how,
        rows=rows,
        input_shape=", ".join(map(str, task.input_shape)),
        citation=task.citation or "not stated",
        outputs=_outputs(task),
        published=f" ({method.citation})" if method is not None else "",
        sweep=_code(config.sweep),
        trial=_code(config.trial),
        seed=spec.seed,
        network=_network(origin, title),
        settings=json.dumps(settings, indent=1, default=str),
        versions=", ".join(f"{name} {number}" for name, number in config.versions.items()),
    )


def _outputs(task: ModelTask) -> str:
    shape = f"[n, {', '.join(map(str, task.output_shape))}]"
    outputs = OUTPUTS[task.kind].format(shape=shape)
    if task.mask == "ignored":
        outputs = f"a probability of each point, float64 {shape}"
    if not task.classes:
        return f"Outputs are {outputs}."
    names = ", ".join(f"`{name}`" for name in task.classes[:MANY_CLASSES])
    rest = len(task.classes) - MANY_CLASSES
    return f"Outputs are {outputs}.\nClasses: {names}{f' and {rest} more' if rest > 0 else ''}."


def _network(origin: ModelOrigin, title: str) -> str:
    """Return what the trial began with: a network of random weights, or a backbone and a source."""
    spec = origin.spec
    lines = [f"- Network: {title}, from random weights"]
    if spec.backbone is not None:
        first = spec.backbone.pretrained_layers
        of = "" if first is None else f" in the first {first} layers, others random"
        lines = [
            f"- Backbone: `{spec.backbone.name}` ({spec.backbone.weights} weights{of})",
            f"- Hash of the pretrained weights: `{origin.weights_hash}`",
            f"- Licence of the pretrained weights: {_licence(spec.backbone)}",
        ]
    if spec.proxy is not None:
        lines.append(f"- Source data: `{spec.proxy}`")
    return "\n".join(lines)


def _code(text: str) -> str:
    return f"`{text}`" if text else "not stated"


def _licence(backbone: BackboneSpec) -> str:
    if backbone.weights == "random":
        return "none, since the body began from random weights"
    return LICENCES.get(backbone.name, "as the source of these weights states it")
