"""Plugins: names from metadata, objects by look-up, and faults that name both sides."""

import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator

import pytest

from sweeper.planning.samplers import PRUNERS, SAMPLERS
from tests.support.command import ROOT
from tests.support.plugins import install, write_distribution
from trainables import plugins
from trainables.errors import PluginError
from trainables.methods.method import Method
from trainables.methods.registry import METHODS
from trainables.metrics import METRICS
from trainables.models.weights.description import BACKBONES
from trainables.sources.registry import PROXIES
from trainables.tasks.predictors import PREDICTORS
from trainables.tasks.registry import BENCHMARKS, BUILT_IN, TASKS, task_info

GROUP = "sweeper.methods"
SOURCE = """
from trainables.methods.method import Method
from trainables.stages.configs import RefineConfig

MINE = Method(name="mine", title="Mine", citation="", stages={"refine": RefineConfig}, control={})
HELD = {"mine": MINE}
"""
BENCHMARK = """
from trainables.tasks.benchmark import Benchmark

OURS = Benchmark(name="ours", tasks=(), reader=lambda info: None)
"""
STAGE = """
from trainables.methods.method import Method
from trainables.stages.configs import RefineConfig
from trainables.stages.stage import Stage, StageConfig
class WarmConfig(StageConfig):
    epochs: int = 1
class Warm(Stage[WarmConfig]):
    pass
STAGES = {"warm": WarmConfig, "refine": RefineConfig}
MINE = Method(name="mine", title="Mine", citation="", stages=STAGES, control={})
"""
Offer = Callable[..., None]


@pytest.fixture
def offer(tmp_path, monkeypatch) -> Iterator[Offer]:
    """Install a distribution with a method; its module is forgotten after the test."""

    def offer(distribution: str, value: str, source: str, *, name: str = "mine", group=GROUP):
        folder = tmp_path / distribution
        module = value.partition(":")[0]
        write_distribution(folder, distribution, {group: {name: value}}, {module: source})
        modules.append(module)
        install(folder, monkeypatch)

    modules: list[str] = []
    yield offer
    monkeypatch.undo()
    for module in modules:
        sys.modules.pop(module, None)
    plugins.reread()


def test_pyproject_and_the_registries_agree_on_the_built_in_names():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == plugins.DISTRIBUTION
    declared = project["entry-points"]
    for registry in (METHODS, BUILT_IN, PROXIES, METRICS, PREDICTORS, BACKBONES, SAMPLERS, PRUNERS):
        assert set(registry) == set(declared[registry.group])
        assert list(registry.usable()) == list(registry)


def test_names_are_read_where_a_library_replaced_the_finder_of_metadata():
    importlib_metadata = pytest.importorskip("importlib_metadata")
    found = list(importlib_metadata.distributions(name=plugins.DISTRIBUTION))
    assert found
    plugins.reread()
    assert METHODS["nft"].name == "nft"
    assert METHODS.offer("nft").is_ours


def test_a_method_of_a_plugin_follows_the_built_in_ones(offer: Offer):
    before = list(METHODS)
    offer("my-methods", "mine_a:MINE", SOURCE)
    assert list(METHODS) == [*before, "mine"]
    assert "mine_a" not in sys.modules
    assert isinstance(METHODS["mine"], Method)
    assert METHODS["mine"] is METHODS["mine"]
    assert METHODS.offer("mine").origin == "my-methods 1.0"


def test_an_entry_point_may_name_a_mapping(offer: Offer):
    offer("my-methods", "mine_b:HELD", SOURCE)
    assert METHODS["mine"].title == "Mine"


def test_two_plugins_of_one_name_are_refused_with_both(offer: Offer):
    offer("first", "mine_c:MINE", SOURCE)
    offer("second", "mine_d:MINE", SOURCE)
    with pytest.raises(PluginError, match=r"`mine_d:MINE` of second 1.0 and `mine_c:.*first 1.0"):
        METHODS["mine"]
    assert list(METHODS).count("mine") == 1
    assert "mine" not in METHODS.usable()


def test_a_plugin_never_replaces_a_built_in_method(offer: Offer):
    offer("sly", "mine_e:MINE", SOURCE, name="mona")
    with pytest.raises(
        PluginError, match=r"`mona`: two plugins.*of sly 1.0 and .*of crossmodal-.* 0"
    ):
        METHODS["mona"]
    assert METHODS["orca"].name == "orca"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("import no_such_package", r"of broken 1.0 .*ModuleNotFoundError.*no_such_package.*py:1"),
        ("\n\nMINE = (", r"SyntaxError.*mine_f.py:3"),
        ("1 / 0", r"ZeroDivisionError: division by zero \(.*mine_f.py:1"),
        ("OTHER = 1", r"AttributeError.*MINE"),
        ("MINE = 3", r"is a int, which is no method"),
        (SOURCE.replace('name="mine"', 'name="other"'), r"calls itself `other`"),
        (SOURCE + "\nMINE = {}", r"KeyError: 'mine'"),
        (STAGE, r"of its stage `warm` is ``, but has to be written as `module:Name`"),
        (
            STAGE.replace("epochs", 'implementation = "mine_f:Warmd"\n    epochs'),
            r"`warm` is `mine_f:Warmd` \(.*mine_f.py:6\), but .*mine_f.py has no `Warmd`. Did you "
            r"mean `Warm`\?",
        ),
        (
            STAGE.replace("epochs", 'implementation = "mine_z.y:Warm"\n    epochs'),
            r"`mine_z.y:Warm` \(.*\), but `mine_z.y` cannot be imported: ModuleNotFoundError",
        ),
        (
            STAGE.replace("epochs", 'implementation = "torch.nn:Lineare"\n    epochs'),
            r"torch/nn/__init__.py has no `Lineare`. Did you mean `Linear`\?",
        ),
    ],
)
def test_a_damaged_plugin_is_a_fault_where_it_is_named_alone(offer: Offer, source, fault):
    offer("broken", "mine_f:MINE", source)
    assert list(METHODS)[-1] == "mine"
    assert METHODS["nft"].name == "nft"
    with pytest.raises(PluginError, match=fault):
        METHODS["mine"]
    assert list(METHODS.usable()) == list(METHODS)[:-1]


def test_a_stage_is_found_without_importing_its_module(offer: Offer, tmp_path):
    text = STAGE.replace("epochs", 'implementation = "mine_apart:Apart"\n    epochs')
    offer("sound", "mine_g:MINE", text)
    apart = tmp_path / "sound" / "mine_apart.py"
    apart.write_text("1 / 0\nclass Apart: ...\n")
    assert METHODS["mine"].title == "Mine"
    assert "mine_apart" not in sys.modules


def test_tasks_of_a_damaged_benchmark_are_a_fault_where_one_is_named_alone(offer: Offer):
    before = list(TASKS)
    offer("broken", "ours_a:OURS", "1 / 0", name="ours", group="sweeper.tasks")
    assert list(TASKS) == before
    assert "ours/wafer" in TASKS
    with pytest.raises(PluginError, match=r"benchmark `ours` of broken 1.0.*ZeroDivisionError"):
        task_info("ours/wafer")


def test_a_task_that_a_benchmark_lacks_is_unknown(offer: Offer):
    offer("sound", "ours_b:OURS", BENCHMARK, name="ours", group="sweeper.tasks")
    assert "ours/wafer" not in TASKS
    assert "ours" in BENCHMARKS


def test_a_folder_of_sources_that_is_not_installed_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(plugins, "distributions", lambda: iter(()))
    plugins.reread()
    with pytest.raises(PluginError, match=r"not installed.*pip install -e \."):
        list(METHODS)
    monkeypatch.undo()
    plugins.reread()
    assert "mona" in METHODS


@pytest.mark.slow
def test_names_are_known_without_torch_and_without_importing_a_method():
    code = (
        "import sys\n"
        "from trainables.methods.registry import METHODS\n"
        "from trainables.tasks.registry import BENCHMARKS\n"
        "assert 'mona' in METHODS and 'pdebench' in BENCHMARKS and len(METHODS) > 8\n"
        "print([n for n in sys.modules if n == 'torch' or n.startswith('trainables.methods.m')])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['trainables.methods.method']"
