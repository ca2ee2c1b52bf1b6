"""What Alembic runs to take the steps: on the connection that it is handed, in the transaction that is under way."""

from __future__ import annotations

from alembic import context

from binventory.book.schema import VERSIONS

context.configure(
    connection=context.config.attributes["connection"], version_table=VERSIONS, transactional_ddl=True
)  # fmt: skip
with context.begin_transaction():
    context.run_migrations()
