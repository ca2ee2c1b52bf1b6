"""The entries, and triggers that refuse to change or remove one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_REFUSAL = "entries are never changed or removed"
_POSTGRESQL = f"""
CREATE FUNCTION entries_stay() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '{_REFUSAL}'; END $$
"""


def upgrade() -> None:
    """Make the table ``entries``."""
    big = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    name = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "entries",
        sa.Column("seq", big, primary_key=True, autoincrement=False),
        sa.Column("key", name, nullable=False, unique=True),
        sa.Column("kind", name, nullable=False),
        sa.Column("bin", name),
        sa.Column("at", big, nullable=False),
        sa.Column("entered", big, nullable=False),
        sa.Column("who", name, nullable=False),
        sa.Column("consignment", name),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("entries_of_bin", "entries", ["bin", "at", "seq"])
    op.create_index("entries_of_kind", "entries", ["kind", "seq"])
    op.create_index("entries_of_consignment", "entries", ["consignment", "seq"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute(_POSTGRESQL)
        for name_, event, each in (
            ("entries_no_change", "UPDATE OR DELETE", "ROW"), ("entries_no_truncate", "TRUNCATE", "STATEMENT"),
        ):  # fmt: skip
            op.execute(
                f"CREATE TRIGGER {name_} BEFORE {event} ON entries FOR EACH {each} EXECUTE FUNCTION entries_stay()"
            )
    else:
        for event in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER entries_no_{event.lower()} BEFORE {event} ON entries "
                f"BEGIN SELECT RAISE(ABORT, '{_REFUSAL}'); END"
            )
