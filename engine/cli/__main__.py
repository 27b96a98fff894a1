"""The command line by module name, as torchrun starts it: ``python -m engine.cli``."""

from __future__ import annotations

from engine.cli import main

if __name__ == "__main__":
    main()
