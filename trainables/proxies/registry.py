"""The source data sets, by the name that a sweep file uses. Plain data: no torch, no numpy."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from trainables.spec import Dimension

__all__ = ["PROXIES", "ProxyEntry"]


@dataclass(frozen=True, kw_only=True)
class ProxyEntry:
    """What is known of a proxy without opening it."""

    title: str
    dimension: Dimension
    classes: int
    loader: str  # "module:function", `function(home) -> Proxy`
    check: str  # "module:function", `function(home) -> str | None`, what keeps it from loading
    obtain: str  # how to get it
    licence: str
    dense: bool = False  # has a mask for each image


PROXIES: Mapping[str, ProxyEntry] = MappingProxyType(
    {
        "cifar10": ProxyEntry(
            title="CIFAR-10",
            dimension="2d",
            classes=10,
            loader="trainables.proxies.cifar10:load_cifar10",
            check="trainables.proxies.cifar10:find_cifar10_fault",
            obtain="Download the binary version (cifar-10-binary.tar.gz, 162 MB) from "
            "https://www.cs.toronto.edu/~kriz/cifar.html and unpack it",
            licence="none stated; cite Krizhevsky (2009)",
        ),
        "conll2003": ProxyEntry(
            title="CoNLL-2003 named entities, English",
            dimension="1d",
            classes=8,
            loader="trainables.proxies.conll2003:load_conll2003",
            check="trainables.proxies.conll2003:find_conll2003_fault",
            obtain="Build it from your copy of the Reuters corpus "
            "(https://www.clips.uantwerpen.be/conll2003/ner/)",
            licence="text: Reuters corpus agreement (NIST), not redistributable",
        ),
        "digits": ProxyEntry(
            title="Handwritten digits, 8 x 8",
            dimension="2d",
            classes=10,
            loader="trainables.proxies.digits:load_digits",
            check="trainables.proxies.digits:find_digits_fault",
            obtain="It ships with scikit-learn: `pip install scikit-learn`",
            licence="CC BY 4.0 (UCI); scikit-learn's copy BSD-3-Clause",
        ),
        "digits_ink": ProxyEntry(
            title="Handwritten digits with their ink as masks, 8 x 8",
            dimension="2d",
            classes=10,
            loader="trainables.proxies.digits_ink:load_digits_ink",
            check="trainables.proxies.digits_ink:find_digits_ink_fault",
            obtain="It ships with scikit-learn: `pip install scikit-learn`",
            licence="CC BY 4.0 (UCI); scikit-learn's copy BSD-3-Clause",
            dense=True,
        ),
        "noise": ProxyEntry(
            title="Gaussian noise with random labels and masks: a control that knows nothing",
            dimension="2d",
            classes=10,
            loader="trainables.proxies.noise:load_noise",
            check="trainables.proxies.noise:find_noise_fault",
            obtain="It is drawn on the spot",
            licence="Apache-2.0",
            dense=True,
        ),
        "noise_words": ProxyEntry(
            title="Random words under random labels: a control that knows nothing",
            dimension="1d",
            classes=8,
            loader="trainables.proxies.noise:load_noise_words",
            check="trainables.proxies.noise:find_noise_fault",
            obtain="It is drawn on the spot",
            licence="Apache-2.0",
        ),
        "python_source": ProxyEntry(
            title="Python's standard library as labelled tokens",
            dimension="1d",
            classes=12,
            loader="trainables.proxies.python_source:load_python_source",
            check="trainables.proxies.python_source:find_python_source_fault",
            obtain="It ships with Python, where the standard library comes as .py files",
            licence="PSF-2.0",
        ),
        "tiny_imagenet": ProxyEntry(
            title="Tiny-ImageNet, 64 x 64",
            dimension="2d",
            classes=200,
            loader="trainables.proxies.tiny_imagenet:load_tiny_imagenet",
            check="trainables.proxies.tiny_imagenet:find_tiny_imagenet_fault",
            obtain="Download tiny-imagenet-200.zip (248 MB) from "
            "http://cs231n.stanford.edu/tiny-imagenet-200.zip and unpack it",
            licence="ImageNet's terms of access: research, not commercial",
        ),
        "voc": ProxyEntry(
            title="PASCAL VOC 2012, foreground masks",
            dimension="2d",
            classes=20,
            loader="trainables.proxies.voc:load_voc",
            check="trainables.proxies.voc:find_voc_fault",
            obtain="Download VOCtrainval_11-May-2012.tar (2 GB) from "
            "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ and unpack it",
            licence="images: flickr's terms of use",
            dense=True,
        ),
    }
)
