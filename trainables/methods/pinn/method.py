"""PINN: physics-informed neural networks.

Raissi, Perdikaris and Karniadakis, "Physics-informed neural networks: A deep learning framework for
solving forward and inverse problems involving nonlinear partial differential equations", J. Comput.
Phys. 378 (2019).

The one stage `solve` fits a network of coordinates to each scored sample: to the residual of its
equation, its initial state and its boundary conditions. It reads the input of a sample, never its
output. Tuning compares validation samples with their solutions, as in every method.

PDEBench's numbers (Takamoto et al., NeurIPS 2022) are of the same idea under another protocol. The
preset has its network, and fewer points and iterations.
"""

from trainables.methods.method import Method, Network
from trainables.methods.pinn.config import SolveConfig
from trainables.tasks.task import TaskInfo


def _unfit(info: TaskInfo) -> str | None:
    from trainables.methods.pinn.equations import fault_on  # the problems import SciPy

    return fault_on(info)


OF_SOLVER = (
    "width", "layers", "waves", "points", "lr", "initial_weight", "boundary_weight",
)  # fmt: skip

DEFAULT_SOLVE = SolveConfig()
# A task's recipe is of fine-tuning, and its epochs and rate are none of a solver.
OF_PRESET = {f"solve.{name}": getattr(DEFAULT_SOLVE, name) for name in ("epochs", "lr")}

PINN = Method(
    name="pinn",
    title="PINN",
    citation="Raissi et al., J. Comput. Phys. 378, 2019",
    stages={"solve": SolveConfig},
    control={},
    preset_name="default",
    preset=OF_PRESET,
    network=Network(
        title="PINN",
        build="trainables.methods.pinn.solver:build_solver",
        settings=tuple(f"solve.{name}" for name in OF_SOLVER),
        kinds=("dense",),
        unfit=_unfit,
    ),
)
