"""Pretrained backbones by architecture."""
