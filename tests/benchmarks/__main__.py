"""The table of all ratios against peers, with the machine that they were measured on.

    python -m tests.benchmarks                    all benchmarks, which take hours
    python -m tests.benchmarks otdd mona_step     these alone
    python -m tests.benchmarks stage_sharing -- -k manual --sampled 12     with arguments of pytest
    python -m tests.benchmarks --list

The rows are what the tests of this folder measure, and hold. A ratio is ours / theirs.
"""

import argparse
import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import pytest

FOLDER = Path(__file__).parent
LIBRARIES = ("torch", "numpy", "scipy", "ray", "optuna", "mlflow", "sqlalchemy", "h5py", "pot")
VECTORS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")  # flags of a processor


def benchmarks() -> dict[str, Path]:
    """Return the files of the benchmarks by name."""
    return {file.stem.removeprefix("test_"): file for file in sorted(FOLDER.glob("test_*.py"))}


def machine() -> str:
    """Return the processor, its cores and memory, the load, and the versions of libraries."""
    found: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        found.setdefault(name.strip(), value.strip())
    flags = found.get("flags", "").split()
    processor = found.get("model name") or platform.processor()
    kind = f"family {found.get('cpu family')}, model {found.get('model')}"
    vectors = ", ".join(flag for flag in VECTORS if flag in flags)
    memory = psutil.virtual_memory().total / 2**30
    versions = [f"Python {platform.python_version()}"]
    for name in LIBRARIES:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            versions.append(f"no {name}")
    return (
        f"{processor} ({kind}; {vectors}), {len(os.sched_getaffinity(0))} cores, "
        f"{memory:.0f} GiB, {platform.system()} {platform.release()}; load "
        f"{os.getloadavg()[0]:.1f} at the end\n{', '.join(versions)}"
    )


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows as a table in Markdown."""
    head = ("what", "ours", "theirs", "ratio", "goal")
    rule = ("---", "--:", "---", "--:", "---")
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def main(arguments: Sequence[str]) -> int:
    """Run benchmarks, print the table, and return pytest's exit code."""
    split = arguments.index("--") if "--" in arguments else len(arguments)
    known = benchmarks()
    parser = argparse.ArgumentParser("python -m tests.benchmarks")
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks; none: all")
    parser.add_argument("--list", action="store_true", help="print the names")
    options = parser.parse_args(arguments[:split])
    if options.list:
        print("\n".join(known))
        return 0
    if unknown := set(options.names) - known.keys():
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; --list names all")
    files = [str(known[name]) for name in options.names or known]
    given = ["-q", "-s", "-m", "benchmark", *files, *arguments[split + 1 :]]
    code = int(pytest.main(given))
    from tests.support.figures import ROWS  # pytest rewrites what it imports first

    print(f"\n{machine()}\n\n{table(ROWS)}")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
