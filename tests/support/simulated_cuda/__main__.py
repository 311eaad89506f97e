"""Run of the cases in FOLDER/cases.json, a line of FOLDER/results.jsonl each.

python -m tests.support.simulated_cuda LIBRARY FOLDER
"""

import sys
from pathlib import Path

from tests.support.simulated_cuda.hooks import load_hooks

if __name__ == "__main__":
    load_hooks(sys.argv[1])
    from tests.support.simulated_cuda.runs import run_all  # imports torch

    run_all(Path(sys.argv[2]))
