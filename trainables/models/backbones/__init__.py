"""Pretrained backbones, each by its architecture."""
