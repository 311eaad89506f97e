"""Images: PNG, JPEG and other files that Pillow reads, of one size or resized to it.

Grey images have one channel and others three. Bytes stay bytes; 16-bit and float images become
float32. Declared sizes are checked before an image is decoded.
"""

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from trainables.errors import DataError, TaskDataError
from trainables.tasks.formats.files import blamed, damaged, open_regular, shown
from trainables.tasks.own.definition import InputData
from trainables.tasks.own.formats.samples import Block, SampleArray, blocks_of, step_of

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
MAX_PIXELS = 2**26
CLEAR = ("LA", "PA", "La", "RGBA", "RGBa")  # have transparency
GREY, DEEP = ("1", "L"), ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
WAY_OUT = "Save it again as PNG, or leave it out"


def describe_images(files: Sequence[Path], wanted: InputData) -> SampleArray:
    """Return images as samples. Only their heads are read here.

    Raises:
        DataError: A file is no image, or the images differ in size and `input.size` is not set.
    """
    heads = [_head(path) for path in files]
    sizes = {size for size, _ in heads}
    if wanted.size is None and len(sizes) > 1:
        (rows, columns), (other_rows, other_columns) = sorted(sizes)[0], sorted(sizes)[-1]
        raise TaskDataError(
            f"{files[0].parent}: images have {len(sizes)} sizes, from {rows} x {columns} to "
            f"{other_rows} x {other_columns}. Set `input: {{size: [rows, columns]}}`: they are "
            "resized.",
            ("input", "size"),
        )
    size = wanted.size or next(iter(sizes))
    modes = {mode for _, mode in heads}
    grey = modes <= {*GREY, *DEEP}
    deep = bool(modes & {*DEEP})
    # Pixels of 8 bits and of more are on other scales, and one array holds one scale.
    if deep and not modes <= {*DEEP}:
        raise DataError(
            f"{files[0].parent}: some images have more than 8 bits and others not "
            f"({', '.join(sorted(modes))}). Convert them to one kind."
        )
    clear = sum(mode in CLEAR for _, mode in heads)
    note = (
        f"{clear} of {len(files)} images have transparency, which is left out: put them on a "
        "background before, or save them as an array with four channels"
    )
    shape = tuple(size) if grey else (*size, 3)
    dtype = np.dtype(np.float32 if deep else np.uint8)

    def decode(path: Path) -> np.ndarray:
        with open_regular(path) as file:
            return _decoded(path, file, size=(size[0], size[1]), grey=grey, deep=deep)

    step = step_of(int(np.prod(shape)) * dtype.itemsize)
    return SampleArray(
        where=str(files[0].parent),
        count=len(files),
        shape=shape,
        dtype=dtype,
        read=lambda: blocks_of(files, step, decode, equal=True),
        layout="NHW" if grey else "NHWC",
        notes=(note,) * (clear > 0),
    )


def describe_stored(
    where: str,
    count: int,
    contents: Callable[[], Iterator[bytes | None]],
    size: tuple[int, int] | None,
) -> SampleArray:
    """Return images that a column holds as samples. All are decoded once, to tell grey ones.

    Args:
        where: File and column, for messages.
        count: Number of images.
        contents: A function that yields the content of each file, or None if it holds none.
        size: Rows and columns of every image; None: as they are.

    Raises:
        DataError: A row names a file instead of holding the image, or an image is damaged.
    """
    decoded = partial(_decoded_each, where, contents, size)
    # An image is grey if its three colours are equal at every point.
    first = next(decoded(grey=False), None)
    if first is None:
        raise DataError(f"{where}: it has no rows.")
    grey = all((image == image[..., :1]).all() for image in decoded(grey=False))
    shape = first.shape[:2] if grey else first.shape

    def read() -> Iterator[Block]:
        for image in decoded(grey=grey):
            if image.shape != shape:
                raise TaskDataError(
                    f"{where}: images have several sizes, such as {shape[0]} x {shape[1]} and "
                    f"{image.shape[0]} x {image.shape[1]}. Set `input: {{size: [rows, columns]}}`.",
                    ("input", "size"),
                )
            yield image[None]

    return SampleArray(
        where=where,
        count=count,
        shape=shape,
        dtype=np.dtype(np.uint8),
        read=read,
        layout="NHW" if grey else "NHWC",
    )


def _decoded_each(
    where: str,
    contents: Callable[[], Iterator[bytes | None]],
    size: tuple[int, int] | None,
    *,
    grey: bool,
) -> Iterator[np.ndarray]:
    for row, content in enumerate(contents()):
        if not content:
            raise DataError(
                f"{where}: row {row} (counted from 0) names a file instead of holding the image. "
                "Save the set with its images embedded."
            )
        name, file = f"{where}, row {row}", io.BytesIO(content)
        yield _decoded(name, file, size=size, grey=grey, deep=False)


def _head(path: Path) -> tuple[tuple[int, int], str]:
    """Return (rows, columns) and the mode of an image."""
    with open_regular(path) as file:
        image = _opened(path, file)
        return (image.height, image.width), image.mode


def _opened(path: Path | str, file: object) -> Image.Image:
    try:
        with warnings.catch_warnings():
            # Up to twice its limit Pillow only warns of a bomb.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image: Image.Image = Image.open(file, formats=FORMATS)  # type: ignore[arg-type]
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise damaged(path, f"it declares too many points ({error})", WAY_OUT) from error
    except UnidentifiedImageError as error:
        raise damaged(path, "it is no image", WAY_OUT) from error
    except Exception as error:  # a damaged image may raise anything
        raise damaged(path, f"it is no image ({shown(str(error))})", WAY_OUT) from error
    if image.width * image.height > MAX_PIXELS:
        raise damaged(path, f"it declares {image.width} x {image.height} points", WAY_OUT)
    if (frames := getattr(image, "n_frames", 1)) > 1:
        raise damaged(path, f"it has {frames} frames", "Save each frame as an image")
    return image


def _decoded(
    path: Path | str, file: object, *, size: tuple[int, int] | None, grey: bool, deep: bool
) -> np.ndarray:
    """Return an image [rows, columns] if it is grey, and else [rows, columns, 3].

    Args:
        path: Name for messages.
        file: The open file.
        size: Rows and columns; others are resized (bilinear). None: as it is.
        grey: Return one channel.
        deep: Return float32 instead of bytes.

    Raises:
        DataError: It is damaged.
    """
    image = _opened(path, file)
    # Pillow cuts such colours to 8 bits as it reads them, and grey ones as they are converted.
    coded = [str(tile[3]) for tile in getattr(image, "tile", ())]
    if not deep and (image.mode in DEEP or any(";16" in each for each in coded)):
        raise damaged(
            path,
            "it has more than 8 bits a colour, which would be cut",
            "Save the images as an array of NumPy, or grey ones as files of their own",
        )
    with blamed(path, "the image is damaged", WAY_OUT):
        if not deep:
            image = image.convert("L" if grey else "RGB")
        elif image.mode != "F":
            image = Image.fromarray(np.asarray(image).astype(np.float32))
        if size is not None and (image.height, image.width) != size:
            image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        return np.array(image)
