"""Registered means it loads, and is what its entry says."""

import numpy as np
import pytest

from tests.trainables.sources.test_cifar10 import write_batches
from tests.trainables.sources.test_conll2003 import IOB1, write
from tests.trainables.sources.test_tiny_imagenet import write_class
from tests.trainables.sources.test_voc import object_mask, write_pairs
from trainables.errors import ConfigError, DataError
from trainables.sources.proxy import ImageProxy
from trainables.sources.registry import PROXIES, data_of, load_proxy, proxy_faults

PACKAGED = ["digits", "digits_ink", "noise", "noise_words", "python_source"]
BROUGHT = ["cifar10", "conll2003", "tiny_imagenet", "voc"]
SHUFFLED = ["cifar10_shuffled", "conll2003_shuffled", "digits_shuffled", "python_source_shuffled"]


@pytest.fixture
def home(tmp_path):
    """A home that holds small stand-ins for the data that users bring."""
    write_batches(tmp_path / "proxies" / "cifar10", records=20)
    write(tmp_path, IOB1 + "\nUN I-ORG\n\nDutch I-MISC\n")
    for number in range(200):
        write_class(tmp_path / "proxies" / "tiny_imagenet", f"n{number:08d}", images=1)
    write_pairs(tmp_path, [object_mask(label + 1) for label in range(20)])
    return tmp_path


def test_every_proxy_is_either_packaged_or_brought():
    assert sorted(PROXIES) == sorted(PACKAGED + BROUGHT + SHUFFLED)


@pytest.mark.slow
@pytest.mark.parametrize("name", PROXIES)
def test_a_proxy_is_what_its_entry_says(home, name):
    assert proxy_faults(name, home) is None
    proxy, entry = load_proxy(name, home), PROXIES[name]
    assert proxy.name == name
    assert proxy.dimension == entry.dimension
    assert len(proxy.content_hash) == 64
    if isinstance(proxy, ImageProxy):
        assert sorted(set(proxy.labels.tolist())) == list(range(entry.classes))
        assert proxy.images.dtype == np.uint8
        assert len(proxy.images) == len(proxy.labels)
        assert (proxy.masks is not None) == entry.dense
    else:
        assert len(proxy.classes) == entry.classes
        assert not entry.dense


@pytest.mark.parametrize("name", BROUGHT)
def test_a_proxy_that_is_not_there_says_how_to_get_it_and_where_to_put_it(tmp_path, name):
    fault = proxy_faults(name, tmp_path)
    entry = PROXIES[name]
    assert f"{entry.obtain}, and run: sweeper data import {name} {entry.files}" in fault
    assert str(tmp_path / "proxies" / name) in fault
    with pytest.raises(DataError, match=f"^{name}: "):
        load_proxy(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHUFFLED)
def test_a_source_with_shuffled_labels_is_had_with_its_original(home, tmp_path_factory, name):
    original = data_of(name)
    assert name == f"{original}_shuffled"
    assert data_of(original) == original
    empty = tmp_path_factory.mktemp("empty")
    assert proxy_faults(name, empty) == proxy_faults(original, empty)  # names what to import
    assert load_proxy(name, home).has_shuffled_labels
    assert not load_proxy(original, home).has_shuffled_labels


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match="Did you mean `cifar10`"):
        load_proxy("cifar_10", tmp_path)
    with pytest.raises(ConfigError, match=r"Known: cifar10, cifar10_shuffled, .*, voc\."):
        proxy_faults("imagenet", tmp_path)
