"""``python -m binventory`` is ``binventory``."""

from binventory.cli import main

main()
