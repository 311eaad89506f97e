"""Opens a proxy by its name, or says what keeps it from opening."""

from collections.abc import Callable
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any

from trainables.errors import ConfigError
from trainables.sources.proxy import Proxy
from trainables.sources.registry import PROXIES, ProxyEntry

__all__ = ["load_proxy", "proxy_faults"]


def load_proxy(name: str, home: Path) -> Proxy:
    """Reads the proxy `name`, from `home/proxies/` where it has files of its own.

    Raises:
        ConfigError: No proxy has this name.
        DataError: Its files are missing or damaged.
    """
    proxy: Proxy = _resolve(_entry(name).loader)(home)
    return proxy


def proxy_faults(name: str, home: Path) -> str | None:
    """Returns what would keep `load_proxy` from working, or None; opens no data, so it is quick.

    Raises:
        ConfigError: No proxy has this name.
    """
    fault: str | None = _resolve(_entry(name).check)(home)
    return fault


def _entry(name: str) -> ProxyEntry:
    if name in PROXIES:
        return PROXIES[name]
    near = get_close_matches(name, PROXIES, n=1)
    hint = f" Did you mean `{near[0]}`?" if near else ""
    raise ConfigError(f"Unknown proxy `{name}`.{hint} Known: {', '.join(sorted(PROXIES))}.")


def _resolve(path: str) -> Callable[[Path], Any]:
    module, _, function = path.partition(":")
    resolved: Callable[[Path], Any] = getattr(import_module(module), function)
    return resolved
