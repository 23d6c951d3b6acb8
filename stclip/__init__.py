"""stclip: the benchmark suite for zero-shot spatio-temporal action detection."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stclip.methods.build import load_official as load_official

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`stclip.load_official`, fetched when it is asked for: `import stclip` stays without torch."""
    if name == "load_official":
        from stclip.methods.build import load_official

        return load_official
    raise AttributeError(f"module 'stclip' has no attribute {name!r}; it has load_official.")


def __dir__() -> list[str]:
    return sorted({*globals(), "load_official"})
