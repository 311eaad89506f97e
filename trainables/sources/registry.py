"""The registry of source data sets by their names in sweep files.

The sources are entry points of the group `sweeper.sources` (`trainables/plugins.py`). They are
plain data: importing this module loads neither torch nor numpy.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from trainables.errors import ConfigError
from trainables.plugins import Registry
from trainables.spec import Dimension

if TYPE_CHECKING:
    from trainables.sources.proxy import Proxy

RECORD = "imported.json"  # in a source's folder: its content hash, and the notes of the import


@dataclass(frozen=True, kw_only=True)
class ProxyEntry:
    """The properties of a proxy that are known without its data."""

    title: str
    dimension: Dimension
    classes: int
    loader: str  # "module:function", `function(home) -> Proxy`
    check: str  # "module:function", `function(home) -> str | None`, the fault of the data
    obtain: str  # instructions to obtain the data
    licence: str
    contents: str  # number and shape of the samples
    files: str = ""  # argument of `data import` in a shell; "" if a package holds the data
    md5: str = ""  # of `files`, if published
    dense: bool = False  # True: each image has a mask
    shuffles: str = ""  # the source whose samples it has, under a permutation of their labels


_WITH_MEANING: Mapping[str, ProxyEntry] = MappingProxyType(
    {
        "cifar10": ProxyEntry(
            title="CIFAR-10",
            dimension="2d",
            classes=10,
            loader="trainables.sources.cifar10:load_cifar10",
            check="trainables.sources.cifar10:find_cifar10_fault",
            obtain="Download the binary version (162 MB) from "
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            licence="none stated; cite Krizhevsky (2009)",
            contents="50,000 images, 3 x 32 x 32",
            files="cifar-10-binary.tar.gz",
            md5="c32a1d4ab5d03f1284b67883e8d87530",
        ),
        "conll2003": ProxyEntry(
            title="CoNLL-2003 named entities, English",
            dimension="1d",
            classes=8,
            loader="trainables.sources.conll2003:load_conll2003",
            check="trainables.sources.conll2003:find_conll2003_fault",
            obtain="Build it from your copy of the Reuters corpus "
            "(https://www.clips.uantwerpen.be/conll2003/ner/)",
            licence="text: Reuters corpus agreement (NIST), not redistributable",
            contents="14,041 sentences, cut into windows of 32 sub-words",
            files="eng.train",
        ),
        "digits": ProxyEntry(
            title="Handwritten digits, 8 x 8",
            dimension="2d",
            classes=10,
            loader="trainables.sources.digits:load_digits",
            check="trainables.sources.digits:find_digits_fault",
            obtain="It ships with scikit-learn: `pip install scikit-learn`",
            licence="CC BY 4.0 (UCI); scikit-learn's copy BSD-3-Clause",
            contents="1,797 images, 3 x 8 x 8",
        ),
        "digits_ink": ProxyEntry(
            title="Handwritten digits with their ink as masks, 8 x 8",
            dimension="2d",
            classes=10,
            loader="trainables.sources.digits:load_digits_ink",
            check="trainables.sources.digits:find_digits_ink_fault",
            obtain="It ships with scikit-learn: `pip install scikit-learn`",
            licence="CC BY 4.0 (UCI); scikit-learn's copy BSD-3-Clause",
            contents="1,797 images and masks, 8 x 8",
            dense=True,
        ),
        "noise": ProxyEntry(
            title="Gaussian noise with random labels and masks: a control that knows nothing",
            dimension="2d",
            classes=10,
            loader="trainables.sources.noise:load_noise",
            check="trainables.sources.registry:find_no_fault",
            obtain="It is drawn on the spot",
            licence="Apache-2.0",
            contents="2,000 images and masks, 32 x 32",
            dense=True,
        ),
        "noise_words": ProxyEntry(
            title="Random words under random labels: a control that knows nothing",
            dimension="1d",
            classes=8,
            loader="trainables.sources.noise:load_noise_words",
            check="trainables.sources.registry:find_no_fault",
            obtain="It is drawn on the spot",
            licence="Apache-2.0",
            contents="1,000 sentences, cut into windows of 32 sub-words",
        ),
        "python_source": ProxyEntry(
            title="Python's standard library as labelled tokens",
            dimension="1d",
            classes=12,
            loader="trainables.sources.python_source:load_python_source",
            check="trainables.sources.python_source:find_python_source_fault",
            obtain="It ships with Python, where the standard library comes as .py files",
            licence="PSF-2.0",
            contents="120,000 tokens, cut into windows of 32 sub-words",
        ),
        "tiny_imagenet": ProxyEntry(
            title="Tiny-ImageNet, 64 x 64",
            dimension="2d",
            classes=200,
            loader="trainables.sources.tiny_imagenet:load_tiny_imagenet",
            check="trainables.sources.tiny_imagenet:find_tiny_imagenet_fault",
            obtain="Download tiny-imagenet-200.zip (248 MB) from "
            "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
            licence="ImageNet's terms of access: research, not commercial",
            contents="10,000 images of 100,000, 3 x 64 x 64",
            files="tiny-imagenet-200.zip",
            md5="90528d7ca1a48142e341f4ef8d21d0de",
        ),
        "voc": ProxyEntry(
            title="PASCAL VOC 2012, foreground masks",
            dimension="2d",
            classes=20,
            loader="trainables.sources.voc:load_voc",
            check="trainables.sources.voc:find_voc_fault",
            obtain="Download VOCtrainval_11-May-2012.tar (2 GB) from "
            "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
            licence="images: flickr's terms of use",
            contents="1,464 images, 3 x 224 x 224, and masks, 128 x 128",
            files="VOCtrainval_11-May-2012.tar",
            md5="6cd6e144f989b92b3379bac3b3de84fd",
            dense=True,
        ),
    }
)


def _shuffled(name: str) -> ProxyEntry:
    """Return the control of a source for its labels: the same samples, whose labels say nothing."""
    entry = _WITH_MEANING[name]
    return replace(
        entry,
        title=f"{entry.title}, under shuffled labels",
        obtain=f"It is made of `{name}`. {entry.obtain}",
        files="",
        md5="",
        shuffles=name,
    )


OWN: Mapping[str, ProxyEntry] = MappingProxyType(
    {
        **_WITH_MEANING,
        **{
            f"{name}_shuffled": _shuffled(name)
            for name in ("cifar10", "conll2003", "digits", "python_source")
        },
    }
)

PROXIES: Registry[ProxyEntry] = Registry(
    "sweeper.sources",
    tuple(OWN),
    lambda value: isinstance(value, ProxyEntry),
    lambda entry: [("its `loader`", entry.loader), ("its `check`", entry.check)],
)


def proxy_folder(name: str, home: Path) -> Path:
    """Return the folder of the files of a source, in their official layout."""
    return home / "proxies" / name


def data_of(name: str) -> str:
    """Return the source whose files a source reads: another one if it only shuffles its labels."""
    return PROXIES[name].shuffles or name


def way_to_import(name: str) -> str:
    """Return instructions to obtain and import a source that no package holds."""
    entry = PROXIES[name]
    return f"{entry.obtain}, and run: sweeper data import {name} {entry.files}"


def load_proxy(name: str, home: Path) -> "Proxy":
    """Read the proxy `name`, from `home/proxies/` unless a package holds it.

    Raises:
        ConfigError: No proxy has this name.
        DataError: Its files are missing or damaged.
    """
    entry = _entry(name)
    proxy: Proxy = _resolve(entry.loader)(home)
    return replace(proxy, name=name, has_shuffled_labels=True) if entry.shuffles else proxy


def proxy_faults(name: str, home: Path) -> str | None:
    """Return the fault that prevents `load_proxy`, or None. The check is quick: it reads no data.

    Raises:
        ConfigError: No proxy has this name.
    """
    fault: str | None = _resolve(_entry(name).check)(home)
    return fault


def find_no_fault(home: Path) -> str | None:
    """Return None: a proxy that is drawn has no files. Its module loads torch."""
    return None


def _entry(name: str) -> ProxyEntry:
    if name in PROXIES:
        return PROXIES[name]
    near = get_close_matches(name, PROXIES, n=1)
    hint = f" Did you mean `{near[0]}`?" if near else ""
    raise ConfigError(f"Unknown proxy `{name}`.{hint} Known: {', '.join(sorted(PROXIES))}.")


def _resolve(path: str) -> Callable[[Path], Any]:
    module, _, function = path.partition(":")
    resolved: Callable[[Path], Any] = getattr(import_module(module), function)
    return resolved
