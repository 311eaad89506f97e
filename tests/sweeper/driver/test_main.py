"""The imports of the driver's process."""

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_what_mlflow_would_import_in_a_thread_is_there_before():
    code = "import sweeper.driver.__main__, sys; print('sqlalchemy.orm' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
