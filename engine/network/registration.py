"""Tell transformers of our layer as soon as it is imported, and not before.

``import engine`` must stay light, and ``from_pretrained`` must know the layer after it. So where
transformers is not loaded yet, a finder waits for the module that keeps its quantisation methods.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_AWAITED = "transformers.quantizers.auto"
_REGISTERING = "engine.network.persistence"


def register_layer() -> None:
    """Register now where transformers is loaded, else when it is; calling again does no harm."""
    if _AWAITED in sys.modules:
        import_module(_REGISTERING)
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds the awaited module as Python does, and has it loaded by `_Loader`."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _AWAITED:
            return None
        spec = self._find_without_us(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self)
        return spec

    def _find_without_us(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None
    ) -> ModuleSpec | None:
        """As Python would: a frozen program has other finders than the path's."""
        for finder in sys.meta_path:
            if finder is self:
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                return spec
        return None


class _Loader(Loader):
    """Loads a module by another loader, then registers our layer in it; the finder is done then."""

    def __init__(self, loader: Loader, finder: _Finder) -> None:
        self._loader = loader
        self._finder = finder

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        if module.__spec__ is not None:  # it is its own again: it alone knows the source
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        sys.meta_path.remove(self._finder)
        import_module(_REGISTERING)  # or it is what loads us, and registers when it goes on
