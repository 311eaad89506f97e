"""Sweeps of other tools: one module for each tool's file, and the sweep file that is written."""
