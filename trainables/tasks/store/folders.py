"""Folders of the data of tasks in SWEEPER_HOME."""

from pathlib import Path

__all__ = ["FOLDER", "data_folder", "folder_of"]

FOLDER = "official"  # of imported data


def data_folder(name: str, home: Path) -> Path:
    """Return the folder of all data sets of a task: generated ones, and the imported one."""
    return home / "data" / name


def folder_of(name: str, home: Path) -> Path:
    """Return the folder of the imported data of a task."""
    return data_folder(name, home) / FOLDER
