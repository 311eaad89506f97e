"""Repositories of the Hugging Face Hub: their files in its cache on this machine, or fetched.

The hub's client honours its environment variables (HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE, HF_TOKEN),
and shares its cache with other programs. Importing this module loads no torch.
"""

from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

from trainables.errors import WeightsError
from trainables.models.weights.description import CONFIG, TENSORS

TOKENIZER_FILES = {
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
}
TIMEOUT_S = 5.0  # for the hub's first response; without a network, the user waits no longer


def cached_config(hub_id: str, revision: str | None = None) -> Path | None:
    """Return the folder of the cached config of `hub_id`, or None if it is not in the cache."""
    path = try_to_load_from_cache(hub_id, CONFIG, revision=revision)
    return Path(path).parent if isinstance(path, str) else None


def cached_folder(hub_id: str, revision: str | None = None) -> Path | None:
    """Return the cached snapshot of `hub_id`, or None if config or weights are missing."""
    folder = cached_config(hub_id, revision)
    return folder if folder is not None and (folder / TENSORS).is_file() else None


def download(hub_id: str, revision: str | None = None, *, with_weights: bool = True) -> Path:
    """Download config, weights and tokenizer of `hub_id` into the hub's cache.

    Args:
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
        info = HfApi().model_info(hub_id, revision=revision, timeout=TIMEOUT_S)
        on_hub = {sibling.rfilename for sibling in info.siblings or []}
        if missing := ({CONFIG, TENSORS} if with_weights else {CONFIG}) - on_hub:
            raise WeightsError(f"the hub's {name} has no {' and no '.join(sorted(missing))}")
        folder = Path(hf_hub_download(hub_id, CONFIG, revision=revision)).parent
        if with_weights:
            # All files are of the commit of the first, even if a new one is pushed meanwhile.
            for file in (TENSORS, *sorted(TOKENIZER_FILES & on_hub)):
                hf_hub_download(hub_id, file, revision=folder.name)
    except WeightsError:
        raise
    except Exception as error:  # the client passes on the errors of its HTTP library
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(f"the hub does not give {name} ({reason.rstrip('.')})") from error
    return folder
