"""Names of generated data sets: data that users have made have to be found again."""

import pytest

from trainables.spec import DataSpec
from trainables.tasks.generation import Generation
from trainables.tasks.registry import BENCHMARKS, TASKS

SMALL = DataSpec(samples=81, seed=3)  # 100 in all splits
KEYS = {  # by default, and of SMALL
    "pdebench/advection_1d": ("34c83aead583ba0b", "69c242c06708c17b"),
    "pdebench/advection_1d@hard": ("538489758578f686", "b085ccb2069688fd"),
    "pdebench/advection_1d@rank": ("0b6c98c80ea6fa52", "9892c3b79db1fe36"),
    "pdebench/burgers_1d": ("4a2d5f0830de3f42", "5727a04451e53261"),
    "pdebench/burgers_1d@hard": ("fb01e721f830d860", "8700635ef3d4cf35"),
    "pdebench/burgers_1d@rank": ("50e55bda6c68a81d", "c2d4e21d7b70e446"),
    "pdebench/darcy_2d": ("46e6c30ee4b70dc6", "b42f275a8e766d83"),
    "pdebench/darcy_2d@hard": ("5e0c47d6c9d265b7", "2cd4d2f967668fb7"),
    "pdebench/darcy_2d@rank": ("7065df3619bf4aa8", "3154c9876fd403d2"),
    "pdebench/diffusion_reaction_1d": ("fbee1b8f950e6fce", "d2e69e7463bf2596"),
    "pdebench/diffusion_reaction_1d@hard": ("8d63b896d97beda1", "d8fc2a9edf200241"),
    "pdebench/diffusion_reaction_1d@rank": ("ede7687f144daed2", "719ef3dfbf4cfc67"),
    "pdebench/diffusion_reaction_1d@orca": ("4a9fa86e41397023", "562c864f07dec160"),
    "pdebench/diffusion_reaction_2d": ("ba925e3afbbc4961", "66705f62ad604f24"),
    "pdebench/diffusion_reaction_2d@hard": ("536b976ae5965066", "c5369042b07ca1ec"),
    "pdebench/diffusion_reaction_2d@orca": ("f499ff47c8a55340", "27fae36d09f0064d"),
    "pdebench/diffusion_reaction_2d@rank": ("551940db31855b34", "ae1efae3682a881f"),
    "pdebench/diffusion_sorption_1d": ("54a77ca53d041298", "d805d8e134d01e8c"),
    "pdebench/diffusion_sorption_1d@hard": ("7e57043c252c3cc7", "6816fe357c7d190b"),
    "pdebench/diffusion_sorption_1d@rank": ("e37f544474471042", "4f583e70c0f54c15"),
    "pdebench/diffusion_sorption_1d@orca": ("37c8d05a015fa4ae", "8f9811ccf3c9306d"),
    "pdebench/navier_stokes_1d": ("9ad4f63ad0a30bbd", "20c7bc405167e663"),
    "pdebench/navier_stokes_1d@hard": ("effd9d04109fc34d", "e57d2468efdaac68"),
    "pdebench/navier_stokes_1d@rank": ("0162b51f7cd371f6", "150df1d338554752"),
    "pdebench/shallow_water_2d": ("62c3f57535ea6094", "5701e4cfc88af228"),
    "pdebench/shallow_water_2d@hard": ("01bf7b2b43183881", "330bbaaf41327c3a"),
    "pdebench/shallow_water_2d@orca": ("260f464d6ca40c0f", "4aaab1ace58cd90d"),
    "pdebench/shallow_water_2d@rank": ("17ede2f37846b219", "f2af41bd775c6b6e"),
}


@pytest.mark.parametrize("name", KEYS)
def test_a_data_set_keeps_its_key(name):
    assert (Generation.of(name, DataSpec()).key, Generation.of(name, SMALL).key) == KEYS[name]


def test_every_generated_task_has_a_key_here():
    generated = [n for n, info in TASKS.items() if BENCHMARKS[info.benchmark].problems]
    assert sorted(generated) == sorted(KEYS)
