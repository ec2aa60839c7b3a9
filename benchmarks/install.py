"""What installing a library adds to langchain-core: `python -m benchmarks.install --json results.json`.

Packages and megabytes, from the metadata of this environment: what the library requires, without extras and without
what langchain-core requires anyway. Compiled bytecode, which pip writes, is not counted. Libraries that are not
installed here are left out. Needs no network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import chatstash
from benchmarks.machine import machine
from benchmarks.output import parser_of, write

BASE = "langchain-core"
LIBRARIES = (
    "chatstash", "upstash-redis", "langchain-community", "langchain-redis", "openai-agents",
    "llama-index-storage-chat-store-upstash",
)  # fmt: skip

Installed = Mapping[str, Distribution]


def install() -> dict[str, Any]:
    """Return the size of `BASE`, and for each library the packages that it adds and their megabytes."""
    base = required(BASE)
    added = {name: _sizes(required(name), base) for name in LIBRARIES if _is_installed(name)}
    return {"base": {"name": BASE, **_totals(_sizes(base, {}))}, "added": {n: _totals(s) for n, s in added.items()}}


def required(name: str) -> Installed:
    """Return a distribution and all that it requires, by their canonical names."""
    found: dict[str, Distribution] = {}
    waiting = [name]
    while waiting:
        canonical = canonicalize_name(waiting.pop())
        if canonical not in found:
            found[canonical] = distribution(canonical)
            waiting.extend(_requirements(found[canonical]))
    return found


def _requirements(of: Distribution) -> Iterator[str]:
    for requirement in map(Requirement, of.requires or ()):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement.name


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def _sizes(installed: Installed, base: Installed) -> dict[str, float]:
    return {name: _megabytes(of) for name, of in sorted(installed.items()) if name not in base}


def _megabytes(of: Distribution) -> float:
    paths = [Path(str(of.locate_file(path))) for path in of.files or ()]
    if canonicalize_name(of.name) == "chatstash":
        # An editable install lists only a link to the sources.
        paths = list(Path(chatstash.__file__).parent.rglob("*"))
    return sum(path.stat().st_size for path in paths if path.is_file() and path.suffix != ".pyc") / 1e6


def _totals(sizes: Mapping[str, float]) -> dict[str, Any]:
    packages = {name: round(size, 2) for name, size in sizes.items()}
    return {"packages": len(sizes), "megabytes": round(sum(sizes.values()), 1), "each": packages}


def main() -> None:
    """Measure, print and write the result."""
    arguments = parser_of(__doc__).parse_args()
    found = {"machine": machine(), **install()}
    for name, added in found["added"].items():
        print(f"{name}: {added['packages']} packages, {added['megabytes']} MB")
    write(found, arguments.json)


if __name__ == "__main__":
    main()
