"""How a book of an older version becomes one of this; a new book is made by the same steps."""

from __future__ import annotations

from pathlib import Path
from threading import Lock

from sqlalchemy import Connection

HERE = Path(__file__).parent
_ONE_AT_A_TIME = Lock()  # Alembic keeps what it runs in a module


def upgrade(connection: Connection, to: str = "head") -> None:
    """Bring the book behind a connection, within its transaction, to a revision."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(HERE).replace("%", "%%"))
    config.attributes["connection"] = connection
    with _ONE_AT_A_TIME:
        command.upgrade(config, to)
