"""The command line, `chatstash`. Needs the extra `chatstash[cli]`; `serve` and `dev` need `chatstash[local]`."""

import sys


def main() -> None:
    """Run the command line, or say what to install where its packages are missing."""
    try:
        from chatstash.cli.app import app  # noqa: PLC0415 - optional packages
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("chatstash"):
            raise
        sys.exit(f"chatstash: the package {error.name} is missing: pip install 'chatstash[local]'")
    try:
        app(prog_name="chatstash")
    except KeyboardInterrupt:
        sys.exit(130)
