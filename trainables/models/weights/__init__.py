"""Pretrained weights: their location, conversion and validation."""
