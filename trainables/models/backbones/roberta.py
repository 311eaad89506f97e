"""RoBERTa and BERT (including MiniLM), the backbones of sequences.

The body is the encoder alone. It has no attention mask, because a target has no padding tokens. The
source embedder adds the embeddings of words, positions and token types, and then normalises them
(Liu et al., arXiv 1907.11692; Devlin et al., NAACL 2019). The positions of RoBERTa start after the
index of its padding token, those of BERT at 0.
"""

from typing import Any

from torch import Tensor, nn
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

from trainables.models.backbone import Geometry, Role
from trainables.models.backbones.reading import NetworkReader
from trainables.models.backbones.words import Embedding, WordBackbone
from trainables.models.weights.limits import kept_layers
from trainables.spec import BackboneSpec

CLASSES = {"bert": (BertConfig, BertModel), "roberta": (RobertaConfig, RobertaModel)}
ROLES = {
    "encoder.layer.*.attention.self.query": Role.ATTENTION_QUERY,
    "encoder.layer.*.attention.self.key": Role.ATTENTION_KEY,
    "encoder.layer.*.attention.self.value": Role.ATTENTION_VALUE,
    "encoder.layer.*.attention.output.dense": Role.ATTENTION_OUTPUT,
    "encoder.layer.*.attention.output.LayerNorm": Role.NORM,
    "encoder.layer.*.intermediate.dense": Role.MLP,
    "encoder.layer.*.output.dense": Role.MLP,
    "encoder.layer.*.output.LayerNorm": Role.NORM,
}


class EncoderBody(nn.Module):
    """Tokens [B, N, D] -> features [B, N, D]."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, tokens: Tensor) -> Tensor:
        features: Tensor = self.encoder(tokens).last_hidden_state
        return features


class RobertaBackbone(WordBackbone):
    """A body for sequences, and the word embedder of its pretraining."""

    def __init__(self, reader: NetworkReader, spec: BackboneSpec) -> None:
        """Build the network that `spec` describes.

        Raises:
            ConfigError: The network does not support the spec.
            WeightsError: The weights do not fit the network.
        """
        config_class, model_class = CLASSES[reader.model_type]
        config = reader.config(
            config_class, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
        )
        # Only the kept layers are built; the reader checks the file against the stored number.
        stored = config.num_hidden_layers
        config.num_hidden_layers = kept_layers(reader.name, reader.layers, stored)
        model: Any = reader.model(
            model_class, config, stored_layers=stored, add_pooling_layer=False
        )
        embeddings: Any = model.embeddings
        first = config.pad_token_id + 1 if reader.model_type == "roberta" else 0
        positions = embeddings.position_embeddings.weight.detach()[first:]
        super().__init__(
            reader,
            spec,
            Embedding(module=embeddings, positions=positions, norm=embeddings.LayerNorm),
            body=EncoderBody(model.encoder),
            roles=ROLES,
            geometry=Geometry(
                token_width=config.hidden_size,
                feature_width=config.hidden_size,
                max_tokens=len(positions),
            ),
            usual_tokens=len(positions),
        )
