"""The source as stages read it: windows and images, cached once, drawn in balance."""

from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.support.tiny_backbones import save_tiny_dinov2, save_tiny_roberta, save_tiny_swin
from trainables.errors import ConfigError, DataError
from trainables.models.backbone import Backbone
from trainables.models.backbones.loading import load_backbone
from trainables.seeding import generator
from trainables.sources.digits import load_digits, load_digits_ink
from trainables.sources.proxy import ImageProxy, TokenProxy, hashed_images, hashed_sentences
from trainables.sources.registry import load_proxy
from trainables.sources.source import (
    WINDOW,
    Source,
    balanced_choice,
    balanced_order,
    check_balanced,
    class_balanced_batch,
    cut_windows,
    label_subwords,
    load_source,
    source_indices,
)
from trainables.spec import BackboneSpec


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    """A folder with a tiny backbone of text and two of images."""
    folder = tmp_path_factory.mktemp("backbones")
    save_tiny_roberta(folder / "roberta")
    save_tiny_dinov2(folder / "dinov2")
    save_tiny_swin(folder / "swin")
    return folder


@pytest.fixture
def text(folders) -> Backbone:
    return load_backbone(BackboneSpec(name=str(folders / "roberta")), folders)


@pytest.fixture
def image(folders) -> Backbone:
    return load_backbone(BackboneSpec(name=str(folders / "dinov2"), tokens=16), folders)


def text_proxy(sentences: list[tuple[str, ...]], labels: list[tuple[int, ...]]) -> TokenProxy:
    return hashed_sentences("text", sentences, labels, ("B-x", "I-x", "B-y", "I-y"))


def image_proxy(counts: list[int]) -> ImageProxy:
    labels = np.repeat(np.arange(len(counts)), counts)
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 3, 8, 8), dtype=np.uint8)
    units = {"mean": (0.5, 0.4, 0.3), "std": (0.2, 0.3, 0.4)}
    return hashed_images("image", images, labels, **units)


def limit(monkeypatch, samples: int) -> None:
    monkeypatch.setattr("trainables.sources.source.LIMIT", samples)


@pytest.fixture
def digits(tmp_path, image, monkeypatch) -> Source:
    limit(monkeypatch, 600)
    return load_source(load_digits(tmp_path), image, tmp_path)


@pytest.mark.parametrize("name", ["dinov2", "swin"])
def test_images_are_normalised_and_embedded_by_the_frozen_embedder(tmp_path, folders, name):
    backbone = load_backbone(BackboneSpec(name=str(folders / name)), folders)
    proxy = image_proxy([5, 5])
    source = load_source(proxy, backbone, tmp_path)
    tokens, labels = source.batch(torch.tensor([7, 2]))
    pixels = torch.from_numpy(proxy.images[[7, 2]]).float() / 255
    mean, std = (torch.tensor(channels).view(3, 1, 1) for channels in (proxy.mean, proxy.std))
    torch.testing.assert_close(tokens, backbone.embed_source((pixels - mean) / std))
    assert labels.tolist() == [1, 0]
    assert tokens.shape == (2, backbone.grid[0] * backbone.grid[1], backbone.token_width)
    assert not tokens.requires_grad


def test_text_is_cut_into_windows_of_the_embedding_layer(tmp_path, text):
    sentences, labels = [("fox",) * 20, ("zzzzz",) * 12], [(2,) * 20, (-1,) * 11 + (0,)]
    source = load_source(text_proxy(sentences, labels), text, tmp_path)
    ids, _ = text.tokenize(sentences)
    stream = [number for sentence in ids for number in sentence]
    assert source.inputs[0].tolist() == stream[:32]
    tokens, _ = source.batch(torch.tensor([0]))
    torch.testing.assert_close(tokens, text.embed_source(torch.tensor([stream[:32]])))


def test_features_are_the_means_of_the_tokens(digits):
    tokens, _ = digits.batch(torch.arange(len(digits)))
    torch.testing.assert_close(digits.features, tokens.mean(1))


def test_the_draw_is_even_over_classes_where_these_allow(tmp_path, image, monkeypatch):
    limit(monkeypatch, 23)
    source = load_source(image_proxy([3, 50, 50]), image, tmp_path)
    assert Counter(source.labels.tolist()) == {0: 3, 1: 10, 2: 10}
    assert source.num_classes == 3
    assert len(source) == 23


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(0, 9))
def test_each_head_of_the_order_is_as_even_as_can_be(labels, seed):
    order = balanced_order(torch.tensor(labels), generator=generator(seed))
    assert sorted(order.tolist()) == list(range(len(labels)))
    have = Counter(labels)
    for head in range(1, len(labels) + 1):
        drawn = Counter(labels[index] for index in order[:head])
        most = max(drawn.values())
        assert all(drawn[label] >= min(most - 1, have[label]) for label in have)


@pytest.mark.parametrize("per_class", [2, 3, 100])
def test_the_choice_of_source_samples_is_even_and_always_the_same(per_class):
    labels = torch.tensor([2, 0, 0, 2, 2, 0, 4, 2, 0])
    chosen = balanced_choice(labels, per_class)
    assert torch.equal(chosen, balanced_choice(labels, per_class))
    assert torch.equal(chosen, chosen.unique())
    counts = torch.bincount(labels[chosen], minlength=5)
    assert torch.equal(counts, torch.bincount(labels, minlength=5).clamp_max(per_class))


def test_every_home_draws_the_same_samples(tmp_path, image, monkeypatch):
    limit(monkeypatch, 20)
    proxy = image_proxy([50, 50])
    first, again = (load_source(proxy, image, tmp_path / home) for home in "ab")
    assert torch.equal(first.inputs, again.inputs)
    assert torch.equal(first.features, again.features)


def test_a_second_load_maps_the_cache_and_computes_nothing(tmp_path, text, monkeypatch):
    proxy = text_proxy([("fox", "jumps")] * 200, [(2, -1)] * 200)
    first = load_source(proxy, text, tmp_path)
    for name in ("tokenize", "embed_source"):
        monkeypatch.setattr(text, name, lambda *_: pytest.fail("computed again"))
    second = load_source(proxy, text, tmp_path)
    for name in ("inputs", "labels", "features"):
        assert torch.equal(getattr(first, name), getattr(second, name))
    assert first.content_hash == second.content_hash


def test_what_a_source_is_made_from_tells_caches_apart(tmp_path, folders, image, monkeypatch):
    proxy = image_proxy([9, 9])
    swin = load_backbone(BackboneSpec(name=str(folders / "swin")), folders)
    coarse = load_backbone(BackboneSpec(name=str(folders / "dinov2"), tokens=4), folders)
    hashes = {
        load_source(proxy, image, tmp_path).content_hash,
        load_source(proxy, coarse, tmp_path).content_hash,
        load_source(proxy, swin, tmp_path).content_hash,
        load_source(image_proxy([9, 8]), image, tmp_path).content_hash,
    }
    limit(monkeypatch, 4)
    hashes.add(load_source(proxy, image, tmp_path).content_hash)
    assert len(hashes) == 5
    assert {path.name for path in (tmp_path / "cache" / "source").iterdir()} == hashes


def test_cutting_layers_leaves_the_source_as_it_is(tmp_path, folders, text):
    proxy = text_proxy([("fox",) * 64], [(2,) * 64])
    cut = load_backbone(BackboneSpec(name=str(folders / "roberta"), layers=1), folders)
    whole = load_source(proxy, text, tmp_path)
    assert load_source(proxy, cut, tmp_path).content_hash == whole.content_hash


def test_a_source_is_never_computed_in_low_precision(digits):
    plain, _ = digits.batch(torch.arange(4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside, _ = digits.batch(torch.arange(4))
    assert torch.equal(plain, inside)
    assert inside.dtype == torch.float32


def test_a_balanced_batch_has_so_many_different_samples_of_so_many_classes(digits):
    tokens, labels = class_balanced_batch(digits, classes=4, per_class=6, generator=generator(3))
    assert tokens.shape == (24, 16, 32)
    assert sorted(Counter(labels.tolist()).values()) == [6, 6, 6, 6]
    assert len({tuple(sample.flatten().tolist()) for sample in tokens}) == 24


def test_a_balanced_batch_is_a_function_of_the_generator(digits):
    first, again, other = (
        class_balanced_batch(digits, classes=10, per_class=2, generator=generator(seed))[0]
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_balanced_batches_reach_every_class_and_pass_over_those_too_small(tmp_path, image):
    source = load_source(image_proxy([2, 8, 8, 8]), image, tmp_path)
    drawn = set()
    for seed in range(20):
        _, labels = class_balanced_batch(source, classes=2, per_class=3, generator=generator(seed))
        drawn |= set(labels.tolist())
    assert drawn == {1, 2, 3}


@pytest.mark.parametrize(("classes", "per_class"), [(4, 6), (3, 7), (2, 1000)])
def test_more_classes_or_samples_than_there_are_is_a_config_error(classes, per_class):
    labels = torch.tensor([0] * 6 + [1] * 6 + [3] * 6)
    check_balanced(labels, 3, 6)
    with pytest.raises(ConfigError, match=rf"{classes} classes with {per_class} .*\[6, 6, 0, 6\]"):
        check_balanced(labels, classes, per_class)


@pytest.mark.parametrize("home", ["made", "mapped"])
def test_a_mask_goes_with_its_image(tmp_path, image, home, monkeypatch):
    limit(monkeypatch, 50)
    proxy = load_digits_ink(tmp_path)
    if home == "mapped":
        load_source(proxy, image, tmp_path)
    source = load_source(proxy, image, tmp_path)
    some = torch.tensor([41, 0, 7])
    ink = source.inputs[some][:, 0] > 128
    assert torch.equal(source.masks_of(some), ink.to(torch.uint8))
    assert source.masks_of(some).shape == (3, 8, 8)


def test_masks_change_neither_inputs_nor_labels_but_are_told_apart(tmp_path, digits, image):
    dense = load_source(load_digits_ink(tmp_path), image, tmp_path)
    for name in ("inputs", "labels", "features"):
        assert torch.equal(getattr(dense, name), getattr(digits, name))
    assert dense.content_hash != digits.content_hash


def test_asking_for_masks_that_are_not_there_names_the_dense_proxies(digits):
    assert digits.masks is None
    with pytest.raises(ConfigError, match=r"no masks\..* proxy: digits_ink, noise, voc\."):
        digits.masks_of(torch.tensor([0]))


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 99))
def test_endless_batches_are_whole_and_a_pass_repeats_no_sample(length, batch_size, seed):
    batches_a_pass = max(1, length // batch_size)
    batches = list(islice(source_indices(length, batch_size, generator(seed)), 3 * batches_a_pass))
    assert all(batch.shape == (batch_size,) for batch in batches)
    assert all(0 <= index < length for batch in batches for index in batch.tolist())
    if batch_size <= length:
        for start in range(0, len(batches), batches_a_pass):
            drawn = torch.cat(batches[start : start + batches_a_pass]).tolist()
            assert len(set(drawn)) == len(drawn) > length - batch_size


def test_endless_batches_are_a_function_of_the_generator_and_reach_every_sample():
    first, again, other = (
        torch.cat(list(islice(source_indices(10, 4, generator(seed)), 40))) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert sorted(set(first.tolist())) == list(range(10))
    assert not torch.equal(first[:8], first[8:16])  # each pass has an order of its own


def test_a_batch_larger_than_the_source_is_drawn_evenly_with_replacement():
    batch = next(source_indices(5, 5000, generator(0)))
    counts = torch.bincount(batch, minlength=5)
    assert chisquare(counts.numpy()).pvalue > 0.01


def test_a_proxy_of_the_other_dimension_is_a_config_error(tmp_path, text):
    with pytest.raises(ConfigError, match="`digits` is 2d, the backbone 1d"):
        load_source(load_digits(tmp_path), text, tmp_path)
    assert not (tmp_path / "cache").exists()


def test_no_sample_at_all_is_an_error(tmp_path, text):
    with pytest.raises(DataError, match=f"no window of {WINDOW} sub-words"):
        load_source(text_proxy([("fox",) * 64], [(-1,) * 64]), text, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tokens", "proxy"), [("minilm", 32, "python_source"), ("dinov2_small", 64, "digits")]
)
def test_packaged_weights_and_proxies_give_ten_classes_of_six(tmp_path, name, tokens, proxy):
    backbone = load_backbone(BackboneSpec(name=name, layers=1, tokens=tokens), tmp_path)
    source = load_source(load_proxy(proxy, tmp_path), backbone, tmp_path)
    batch, _ = class_balanced_batch(source, classes=10, per_class=6, generator=generator(0))
    assert batch.shape == (60, tokens, 384)
    assert torch.isfinite(batch).all()
    assert source.features.std(0).min() > 0
    assert torch.bincount(source.labels).min() >= 40
    classifier = make_pipeline(StandardScaler(), RidgeClassifier())
    scores = cross_val_score(classifier, source.features.numpy(), source.labels.numpy(), cv=3)
    largest = torch.bincount(source.labels).max().item() / len(source)
    assert scores.mean() > 2 * largest  # there is knowledge of the source to keep


streams = st.lists(st.integers(-1, 4), max_size=60).map(lambda x: np.array(x, dtype=np.int64))


def test_later_subwords_of_a_word_continue_its_entity():
    labels = label_subwords(
        [[2, -1, 3], [0, 0]],
        [[0, 0, 0, 1, 1, 2, 2], [0, 1]],
        classes=["B-LOC", "I-LOC", "B-PER", "I-PER"],
    )
    assert labels.tolist() == [2, 3, 3, -1, -1, 3, 3, 0, 0]


def test_without_a_scheme_every_subword_has_its_words_label():
    labels = label_subwords([[1, 0]], [[0, 0, 1]], classes=["number", "B-alone"])
    assert labels.tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([-1, -1, -1, 2], [2]),  # one label outvotes any number of words without
        ([1, 1, 0, -1], [1]),
        ([2, 1, 1, 2], [1]),  # a tie: the lower number
        ([-1, -1, -1, -1], []),
        ([-1, -1, -1, -1, 0, -1, -1, -1], [0]),
        ([0, 0, 0], []),  # no whole window
    ],
)
def test_a_windows_label_is_its_most_frequent_one(labels, expected):
    windows, of_window = cut_windows(np.arange(len(labels)), np.array(labels), length=4)
    assert of_window.tolist() == expected
    assert windows.shape == (len(expected), 4)


@given(streams, st.integers(1, 8))
def test_windows_are_stretches_of_the_stream_and_agree_with_a_count(labels, length):
    windows, of_window = cut_windows(np.arange(len(labels)), labels, length=length)
    starts = range(0, len(labels) - length + 1, length)
    kept = [start for start in starts if (labels[start : start + length] >= 0).any()]
    assert windows.tolist() == [list(range(start, start + length)) for start in kept]
    for start, label in zip(kept, of_window, strict=True):
        inside = labels[start : start + length].tolist()
        assert all(inside.count(label) >= inside.count(other) for other in inside if other >= 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["digits", "digits_ink", "noise_words"])
def test_shuffled_labels_are_the_same_labels_on_the_same_samples_in_another_order(
    name, text, image, tmp_path
):
    proxy = load_proxy(name, tmp_path)
    backbone = image if proxy.dimension == "2d" else text
    shuffled_proxy = replace(proxy, name="other", has_shuffled_labels=True)
    source, shuffled = (load_source(each, backbone, tmp_path) for each in (proxy, shuffled_proxy))
    again = load_source(shuffled_proxy, backbone, tmp_path / "elsewhere")
    assert torch.equal(source.inputs, shuffled.inputs)
    assert torch.equal(source.features, shuffled.features)
    assert (source.masks is None) == (shuffled.masks is None)
    assert torch.equal(source.labels.sort().values, shuffled.labels.sort().values)
    assert torch.equal(shuffled.labels, again.labels)
    assert shuffled.content_hash != source.content_hash
    # Of independent labels with shares p of the classes, a share sum p^2 agrees by chance.
    shares = torch.bincount(source.labels) / len(source)
    agree = (source.labels == shuffled.labels).float().mean()
    assert abs(agree - (shares**2).sum()) < 4 / len(source) ** 0.5
