"""``python -m stillroom``."""

from stillroom.cli import main

main()
