"""Repositories of the Hugging Face Hub: their files in its cache on this machine, or fetched.

The hub's client honours its environment variables (HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE, HF_TOKEN),
and shares its cache with other programs. Importing this module loads no torch.
"""

from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread

from huggingface_hub import HfApi, ModelInfo, constants, hf_hub_download, try_to_load_from_cache

from trainables.errors import WeightsError
from trainables.models.weights.files import (
    CONFIG,
    INDEX,
    TOKENIZER_FILES,
    choose,
    no_weights,
    part_names,
    weight_files,
)

TIMEOUT_S = 4.0  # for the hub's first response; without a network, the user waits no longer


def cached_config(hub_id: str, revision: str | None = None) -> Path | None:
    """Return the folder of the cached config of `hub_id`, or None if it is not in the cache."""
    path = try_to_load_from_cache(hub_id, CONFIG, revision=revision)
    return Path(path).parent if isinstance(path, str) else None


def cached_folder(hub_id: str, revision: str | None = None) -> Path | None:
    """Return the cached snapshot of `hub_id`, or None if config or weights are missing."""
    folder = cached_config(hub_id, revision)
    if folder is None:
        return None
    try:
        weight_files(folder)
    except WeightsError:  # some of them were never fetched
        return None
    return folder


def cached_timm(name: str, revision: str | None = None) -> Path | None:
    """Return the cached snapshot of a model of timm, or None.

    `name` is NAME or NAME.TAG. Only timm, which imports torch, knows the tag that NAME means; any
    cached tag is taken for it.
    """
    if "." in name:
        return cached_folder(f"timm/{name}", revision)
    cache = Path(constants.HF_HUB_CACHE)
    # The hub's cache writes a slash as two hyphens.
    tagged = (path.name.rpartition("--")[2] for path in cache.glob(f"models--timm--{name}.*"))
    found = (cached_folder(f"timm/{each}", revision) for each in sorted(tagged))
    return next((folder for folder in found if folder is not None), None)


def download(hub_id: str, revision: str | None = None, *, with_weights: bool = True) -> Path:
    """Download config, weights and tokenizer of `hub_id` into the hub's cache.

    Args:
        hub_id: OWNER/NAME.
        revision: Commit, tag or branch; None: the latest commit.
        with_weights: False: the config alone.

    Returns:
        The folder of the snapshot.

    Raises:
        WeightsError: The hub cannot be reached, or has no such repository, revision or file.
    """
    name = hub_id if revision is None else f"{hub_id} at {revision}"
    try:
        # The first request has no retries, so that it fails at once without a network.
        info = _info(hub_id, revision)
        on_hub = {sibling.rfilename for sibling in info.siblings or []}
        weights = choose(on_hub)
        if CONFIG not in on_hub:
            raise WeightsError(f"the hub's {name} has no {CONFIG}")
        if with_weights and weights is None:
            raise no_weights(f"the hub's {name}", on_hub)
        folder = Path(hf_hub_download(hub_id, CONFIG, revision=revision)).parent
        if with_weights and weights is not None:
            # All files are of the commit of the first, even if a new one is pushed meanwhile.
            # Weights come last, so that a fetch that is cut short is seen to lack them.
            fetch = partial(hf_hub_download, hub_id, revision=folder.name)
            for file in sorted(TOKENIZER_FILES & on_hub):
                fetch(file)
            path = Path(fetch(weights))
            for part in part_names(path) if weights.endswith(INDEX) else ():
                fetch(part)
    except WeightsError:
        raise
    except Exception as error:  # the client passes on the errors of its HTTP library
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(f"the hub does not give {name} ({reason.rstrip('.')})") from error
    return folder


def _info(hub_id: str, revision: str | None) -> ModelInfo:
    """Return the hub's description of a repository.

    The client's own limit does not hold for name servers that do not answer.

    Raises:
        TimeoutError: The hub does not answer within TIMEOUT_S.
    """
    answers: SimpleQueue[ModelInfo | Exception] = SimpleQueue()

    def ask() -> None:
        try:
            answers.put(HfApi().model_info(hub_id, revision=revision, timeout=TIMEOUT_S))
        except Exception as error:
            answers.put(error)

    # A daemon, so that a request without an answer does not keep the process from ending.
    Thread(target=ask, name="hub", daemon=True).start()
    try:
        answer = answers.get(timeout=TIMEOUT_S)
    except Empty:
        raise TimeoutError(f"no answer in {TIMEOUT_S:g} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer
