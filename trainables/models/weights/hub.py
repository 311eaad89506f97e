"""Weights from the Hugging Face hub: its local cache, and the hub itself.

Both keep to the hub's own cache folder and environment variables (HF_HOME, HF_ENDPOINT,
HF_HUB_OFFLINE, HF_TOKEN), so that what another program has downloaded is found.
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
TIMEOUT_S = 5.0  # for the hub's first answer: without a network this is all that a user waits


def cached_folder(hub_id: str) -> Path | None:
    """Returns the cached snapshot of `hub_id` if it has config and weights."""
    found = [try_to_load_from_cache(hub_id, name) for name in (CONFIG, TENSORS)]
    paths = [Path(path) for path in found if isinstance(path, str)]
    return paths[0].parent if len(paths) == len(found) else None


def download(hub_id: str) -> Path:
    """Downloads config, weights and tokenizer of `hub_id` into the hub's cache; returns the folder.

    Raises:
        WeightsError: The hub cannot be reached, or has no such repository or file.
    """
    try:
        # One question without retries comes first: it fails at once where there is no network.
        siblings = HfApi().model_info(hub_id, timeout=TIMEOUT_S).siblings or []
        on_hub = {sibling.rfilename for sibling in siblings}
        if missing := {CONFIG, TENSORS} - on_hub:
            raise WeightsError(f"the hub's {hub_id} has no {' and no '.join(sorted(missing))}")
        wanted = [CONFIG, TENSORS, *sorted(TOKENIZER_FILES & on_hub)]
        paths = [Path(hf_hub_download(hub_id, name)) for name in wanted]
    except WeightsError:
        raise
    except Exception as error:  # the client lets the errors of its HTTP library through
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(f"the hub does not give {hub_id} ({reason.rstrip('.')})") from error
    return paths[0].parent
