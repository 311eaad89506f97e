"""Pretrained weights: where they are found, and how they are read without trust."""
