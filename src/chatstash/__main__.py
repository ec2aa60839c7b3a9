"""`python -m chatstash` is the command line."""

from chatstash.cli import main

main()
