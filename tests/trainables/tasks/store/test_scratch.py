import subprocess
import sys

import numpy as np

from trainables.tasks.store.scratch import scratch_array


def test_an_array_is_of_zeros_and_what_is_written_stays(tmp_path):
    array = scratch_array(tmp_path / "x.raw", (3, 2), np.float16)
    assert array.tolist() == [[0, 0]] * 3
    array[1] = 5
    array.flush()
    assert np.fromfile(tmp_path / "x.raw", np.float16).tolist() == [0, 0, 5, 5, 0, 0]
    assert scratch_array(tmp_path / "none.raw", (1, 0), np.uint8).size == 0


def test_where_there_is_no_room_it_says_so_before_anything_is_written(tmp_path):
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from trainables.tasks.store.scratch import scratch_array\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))\n"
        "try:\n"
        "    scratch_array(Path(sys.argv[1]), (5000,), 'u1')\n"
        "except OSError as error:\n"
        "    print(error.strerror, error.filename)\n"
    )
    path = str(tmp_path / "x.raw")
    command = [sys.executable, "-c", code, path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"File too large {path}"
