"""The files of a store, a shared folder or a bucket, through pyarrow's file systems.

A store that does not answer is asked again until the time is up; one that refuses is not. All
functions raise StorageError for a store that refuses or does not answer in time.
"""

import io
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from pyarrow import fs

from trainables.errors import StorageError
from trainables.storage.checkpoint_folder import unwritable
from trainables.storage.urls import ArtifactUrl

__all__ = ["TIMEOUT_S", "Files", "ask", "file_system", "get", "list_files", "put", "write"]

TIMEOUT_S = 120.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 5.0
PIECE = 2**22  # bytes that are copied at once
REFUSALS = (  # of a bucket's server, which no patience changes
    "ACCESS_DENIED",
    "INVALID_ACCESS_KEY_ID",
    "INVALID_CLIENT_TOKEN_ID",
    "NO_SUCH_BUCKET",
    "SIGNATURE_DOES_NOT_MATCH",
)

T = TypeVar("T")
Files = Any  # a file system of pyarrow's


def list_files(place: ArtifactUrl, timeout_s: float = TIMEOUT_S) -> list[tuple[Any, str]]:
    """Return each file in a place, and its path from there."""

    def look(files: Files) -> list[Any]:
        selector = fs.FileSelector(place.path, recursive=True, allow_not_found=True)
        return [i for i in files.get_file_info(selector) if i.type == fs.FileType.File]

    return [(info, info.path[len(place.path) + 1 :]) for info in ask(place, look, timeout_s)]


def put(files: Files, source: Path, target: str) -> None:
    """Copy a file; where it was, it is whole or as before."""
    with source.open("rb") as file:
        write(files, file, target)
    there = files.get_file_info(target).size
    if there != source.stat().st_size:
        raise OSError(f"{target}: of {source.stat().st_size} bytes, {there} arrived")


def write(files: Files, data: io.BufferedIOBase, target: str) -> None:
    """Not `fs.copy_files`: pyarrow 25's tells of no error when the upload fails at its end."""
    aside = _aside(files, target)
    with files.open_output_stream(aside) as stream:
        shutil.copyfileobj(data, stream, PIECE)
    if aside != target:
        files.move(aside, target)


def _aside(files: Files, target: str) -> str:
    """Return where to write what is to be at `target`: a bucket shows whole files alone."""
    if not isinstance(files, fs.LocalFileSystem):
        return target
    folder, _, name = target.rpartition("/")
    files.create_dir(folder, recursive=True)
    return f"{folder}/.{name}.partial"


def get(files: Files, source: str, target: Path) -> None:
    """Copy a file of the store to this machine."""
    with files.open_input_stream(source) as stream, target.open("wb") as file:
        shutil.copyfileobj(stream, file, PIECE)


def file_system(place: ArtifactUrl) -> Files:
    """Return the file system in which a place's path is a path; it asks nobody yet."""
    if place.folder is not None:
        return fs.LocalFileSystem()
    options = dict(place.options)
    if place.scheme == "gs":
        return fs.GcsFileSystem(**options)
    return fs.S3FileSystem(
        **options,
        connect_timeout=5,
        request_timeout=10,
        allow_delayed_open=True,  # else an upload that is cut leaves parts behind, not only a large
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1),
    )


def ask(
    place: ArtifactUrl, action: Callable[[Files], T], timeout_s: float, *, here: Path | None = None
) -> T:
    """Return what `action` returns of the store's file system, once the store answers.

    It runs in a thread of its own, since some calls do not end in time.

    Args:
        here: What else than the store it touches on this machine.

    Raises:
        FileNotFoundError: What it reads is not there.
    """
    answer: Future[T] = Future()
    over, errors = threading.Event(), [OSError("no answer")]

    def work() -> None:
        pause = FIRST_PAUSE_S
        while not over.is_set():
            try:
                answer.set_result(action(file_system(place)))
                return
            except OSError as error:
                if error.errno is not None or any(code in str(error) for code in REFUSALS):
                    answer.set_exception(error)
                    return
                errors.append(error)
            except BaseException as error:
                answer.set_exception(error)
                return
            over.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    threading.Thread(target=work, name="artifact store", daemon=True).start()
    try:
        return answer.result(timeout_s)
    except TimeoutError:
        raise StorageError(
            f"{place.label}: the store did not answer in {timeout_s:g} s; the last error: "
            f"{errors[-1]}"
        ) from errors[-1]
    except FileNotFoundError:
        raise
    except OSError as error:
        local = here or place.folder
        if error.errno is not None and local is not None:
            raise unwritable(local, error) from error
        raise StorageError(f"{place.label}: the store refuses: {error}") from error
    finally:
        over.set()
