"""A named backbone: its description, without torch; `mixer.py` has the network."""

from trainables.models.weights.description import NamedBackbone, Origin

MIXER = NamedBackbone(
    dimension="1d",
    origin=Origin(hub_ids=()),
    config={"model_type": "example_mixer", "width": 16},
    architecture="example_plugin.mixer:MixerBackbone",
)
