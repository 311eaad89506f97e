"""A sweep small enough for a test: tiny backbones from local folders, real solutions, seconds."""

from pathlib import Path

from tests.support.tiny_backbones import save_tiny_roberta, save_tiny_swin

FILE = """
name: {name}
experiment: pdebench
methods: [mona]
tasks: [pdebench/advection_1d, pdebench/darcy_2d@hard]
backbones:
  1d: {{name: {roberta}, tokens: 16}}
  2d: {{name: {swin}}}
proxies: {{1d: python_source, 2d: digits}}
model: {{head: linear}}
data: {{samples: 48, val_fraction: 0.25, test_fraction: 0.25, resolution: {{1d: 64, 2d: 16}}}}
parameters:
  meta.alpha: {{distribution: log_uniform_values, min: 1.0e-4, max: 1.0}}
  meta.beta: {{distribution: log_uniform_values, min: 1.0e-5, max: 1.0e-2}}
  meta.lambda: {{distribution: log_uniform_values, min: 1.0e-2, max: 10.0}}
  meta.epochs: {{values: [1, 2]}}
  refine.lr: {{distribution: log_uniform_values, min: 1.0e-5, max: 1.0e-2}}
fixed:
  meta.classes: 4
  meta.per_class: 2
  meta.batch_size: 16
  refine.epochs: 4
  refine.batch_size: 16
  refine.warmup_epochs: 1
search: {{trials: {trials}, startup_trials: 2}}
pruning: {{type: asha, min_epochs: 1, eta: 2}}
resources: {{cpu: 1, gpu: 0}}
"""


def write(folder: Path, *, name: str = "tiny", trials: int = 4) -> Path:
    """Write the sweep's file and its backbones into `folder`."""
    roberta, swin = folder / "roberta", folder / "swin"
    if not roberta.exists():
        save_tiny_roberta(roberta)
        save_tiny_swin(swin)
    file = folder / f"{name}.yaml"
    file.write_text(FILE.format(name=name, roberta=roberta, swin=swin, trials=trials))
    return file
