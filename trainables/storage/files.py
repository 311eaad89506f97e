"""The files of a store, which is a shared folder or a bucket, through pyarrow's file systems.

A request is repeated until the store responds or the time is over. It is not repeated if the store
refuses it. In both cases the functions raise StorageError.
"""

import io
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from trainables.errors import StorageError
from trainables.storage.checkpoint_folder import unwritable
from trainables.storage.urls import ArtifactUrl

TIMEOUT_S = 120.0
FIRST_PAUSE_S, MAX_PAUSE_S = 0.25, 5.0
PIECE = 2**22  # bytes copied at once
REFUSALS = (  # permanent errors of a bucket's server
    "ACCESS_DENIED",
    "INVALID_ACCESS_KEY_ID",
    "INVALID_CLIENT_TOKEN_ID",
    "NO_SUCH_BUCKET",
    "SIGNATURE_DOES_NOT_MATCH",
)

T = TypeVar("T")
Files = Any  # a file system of pyarrow's


def list_files(place: ArtifactUrl, timeout_s: float = TIMEOUT_S) -> list[tuple[Any, str]]:
    """Return the information on each file below `place`, and its relative path."""

    def look(files: Files) -> list[Any]:
        from pyarrow import fs  # here and below: it loads slowly, and most commands use no store

        selector = fs.FileSelector(place.path, recursive=True, allow_not_found=True)
        return [i for i in files.get_file_info(selector) if i.is_file]

    return [(info, info.path[len(place.path) + 1 :]) for info in ask(place, look, timeout_s)]


def put(files: Files, source: Path, target: str) -> None:
    """Copy a file to the store. The target is complete or unchanged.

    Raises:
        OSError: The target has not the size of the source.
    """
    with source.open("rb") as file:
        write(files, file, target)
    there = files.get_file_info(target).size
    if there != source.stat().st_size:
        raise OSError(f"{target}: of {source.stat().st_size} bytes, {there} arrived")


def write(files: Files, data: io.BufferedIOBase, target: str) -> None:
    """Write data to the store.

    `fs.copy_files` is not used, because in pyarrow 25 it ignores an upload that fails at its end.
    """
    aside = _aside(files, target)
    with files.open_output_stream(aside) as stream:
        shutil.copyfileobj(data, stream, PIECE)
    if aside != target:
        files.move(aside, target)


def _aside(files: Files, target: str) -> str:
    """Return the path to write before `target`. In a bucket it is `target`: uploads are atomic."""
    if files.type_name != "local":
        return target
    folder, _, name = target.rpartition("/")
    files.create_dir(folder, recursive=True)
    return f"{folder}/.{name}.partial"


def get(files: Files, source: str, target: Path) -> None:
    """Copy a file of the store to this machine."""
    with files.open_input_stream(source) as stream, target.open("wb") as file:
        shutil.copyfileobj(stream, file, PIECE)


def file_system(place: ArtifactUrl) -> Files:
    """Return the file system of the paths of `place`. No request is sent."""
    from pyarrow import fs

    if place.folder is not None:
        return fs.LocalFileSystem()
    options = dict(place.options)
    if place.scheme == "gs":
        return fs.GcsFileSystem(**options)
    return fs.S3FileSystem(
        **options,
        connect_timeout=5,
        request_timeout=10,
        allow_delayed_open=True,  # so that an interrupted small upload leaves no parts behind
        # Requests are repeated by `_repeat`, which keeps to the time of the caller.
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1),
    )


def _repeat(
    work: Callable[[], T], answer: Future[T], over: threading.Event, errors: list[OSError]
) -> None:
    """Do some work until it succeeds, fails for good, or `over` is set; collect its errors."""
    pause = FIRST_PAUSE_S
    while not over.is_set():
        try:
            answer.set_result(work())
            return
        except BaseException as error:
            # Local errors (with an errno) and refusals are final. Other ones may pass.
            if (
                not isinstance(error, OSError)
                or error.errno is not None
                or any(code in str(error) for code in REFUSALS)
            ):
                answer.set_exception(error)
                return
            errors.append(error)
        over.wait(pause)
        pause = min(2 * pause, MAX_PAUSE_S)


def ask(
    place: ArtifactUrl, action: Callable[[Files], T], timeout_s: float, *, here: Path | None = None
) -> T:
    """Run `action` on the store's file system and return its result.

    `action` runs in its own thread, because some calls ignore their timeouts.

    Args:
        place: The URL of the store.
        action: Function of the file system.
        timeout_s: Seconds until the store must respond.
        here: Local folder that `action` uses in addition to the store, for messages.

    Raises:
        FileNotFoundError: `action` reads a file that does not exist.
        StorageError: The store refuses the request or does not respond in time, or a local file
            cannot be written.
    """
    answer: Future[T] = Future()
    over, errors = threading.Event(), [OSError("no answer")]
    work = partial(_repeat, lambda: action(file_system(place)), answer, over, errors)
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
