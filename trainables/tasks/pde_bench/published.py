"""What PDEBench's eight published files hold, and what the papers on cross-modal tuning take of it.

    series   `tensor`, or `density`, `pressure` and `Vx`: [n, t, m], and `t-coordinate`
    fields   `nu` [n, m, m] and `tensor` [n, 1, m, m]
    groups   `0000`, `0001` and so on, each with `data` [t, *grid, c] and `grid/t`

Layouts and sums: https://github.com/pdebench/PDEBench; points and channels: ORCA's loader (Shen et
al., ICML 2023). Speeds, times and which end of a file is the test set are those of the generator of
the same name (`COMPAT`). A literal table: reading it loads nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

__all__ = ["PUBLISHED", "PublishedFile"]


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """One file: its layout, and what of it is x and y."""

    layout: Literal["series", "fields", "groups"]
    md5: str  # of the edition that is published today
    datafile: int  # its number at the University of Stuttgart, DaRUS
    megabytes: int
    arrays: tuple[str, ...] = ("tensor",)  # of series: laid end to end
    stride: int = 1  # every how many points are kept
    attributes: Mapping[str, str] = field(default_factory=dict)  # of the file -> of the problem
    output_channel: int = 0  # of groups


PUBLISHED: Mapping[str, PublishedFile] = MappingProxyType(
    {
        "pdebench/advection_1d": PublishedFile(
            layout="series",
            md5="d595bbfd2c659df995a93cd40d6ea568",
            datafile=255674,
            megabytes=8_233,
            stride=4,
            attributes={"beta": "beta"},
        ),
        "pdebench/burgers_1d": PublishedFile(
            layout="series",
            md5="9021eba35332d127306f11ef84c1a60f",
            datafile=281365,
            megabytes=8_233,
            attributes={"Nu": "nu"},
        ),
        "pdebench/diffusion_reaction_1d": PublishedFile(
            layout="series",
            md5="69a429239778d529cd419ed5888ea835",
            datafile=133177,
            megabytes=4_137,
            attributes={"Nu": "nu", "rho": "rho"},
        ),
        "pdebench/diffusion_sorption_1d": PublishedFile(
            layout="groups",
            md5="9d466d1213065619d087319e16d9a938",
            datafile=133020,
            megabytes=4_137,
        ),
        "pdebench/navier_stokes_1d": PublishedFile(
            layout="series",
            md5="45655bd77d006ab539c52b7fbcf099b9",
            datafile=164668,
            megabytes=12_411,
            arrays=("density", "pressure", "Vx"),
            attributes={"eta": "eta", "zeta": "zeta"},
        ),
        "pdebench/darcy_2d": PublishedFile(
            layout="fields",
            md5="294f9a03a4aa16b0e386469ca8b471be",
            datafile=133218,
            megabytes=1_311,
            stride=2,
            attributes={"beta": "beta"},
        ),
        "pdebench/shallow_water_2d": PublishedFile(
            layout="groups",
            md5="75d838c47aa410694bdc912ea7f22282",
            datafile=133021,
            megabytes=6_619,
        ),
        "pdebench/diffusion_reaction_2d": PublishedFile(
            layout="groups",
            md5="b8d0b86064193195ddc30c33be5dc949",
            datafile=133017,
            megabytes=13_238,
            output_channel=1,
        ),
    }
)
