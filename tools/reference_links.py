"""Links names in docstrings, such as `Store` and `Session.append`, to their entries in the reference.

An extension of griffe, which reads the docstrings for `make docs`.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_NAME = re.compile(r"(?<!\[)`([A-Z]\w+(?:\.[a-z]\w*)?)`")


class ReferenceLinks(griffe.Extension):
    """Makes links of the names that `chatstash` and `chatstash.local` export."""

    def on_class_instance(self, *, cls: griffe.Class, **kwargs: Any) -> None:  # noqa: ARG002
        """Have griffe list the parameters of the classes of `chatstash.frozen`, which are dataclasses."""
        # Parameters are listed after the whole package is read.
        for decorator in cls.decorators:
            if decorator.callable_path == "chatstash.frozen.dataclass":
                decorator.value = griffe.ExprName("dataclasses.dataclass")

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:  # noqa: ARG002
        """Link the names in the docstrings of a package that was loaded."""
        self._link_all(pkg, pkg)

    def _link_all(self, pkg: griffe.Module, thing: griffe.Object) -> None:
        if thing.docstring is not None:
            thing.docstring.value = _NAME.sub(lambda match: _linked(pkg, match[0], match[1]), thing.docstring.value)
        for member in thing.members.values():
            if not member.is_alias:
                self._link_all(pkg, member)


def _linked(pkg: griffe.Module, shown: str, name: str) -> str:
    of, _, method = name.partition(".")
    for module in (pkg, pkg["local"]):
        if of in module.members:
            return f"[{shown}][{_inherited_from(module[of], method) or f'{module.path}.{name}'}]"
    return shown


def _inherited_from(thing: griffe.Object | griffe.Alias, method: str) -> str | None:
    """Return the path of a method in the base class that has its entry; None for other methods."""
    if not method or method in thing.members or method not in thing.inherited_members:
        return None
    path: str = thing.inherited_members[method].final_target.path
    return path
