"""``python -m glacier_provider.cli``."""

from __future__ import annotations

import sys

from glacier_provider.cli import main

if __name__ == "__main__":
    sys.exit(main())
