"""The projection: a bin's state, and what views sort and filter by. It is filled from the entries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables ``states`` and ``bins``."""
    big = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    name = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "states", sa.Column("bin", name, primary_key=True), sa.Column("state", sa.Text, nullable=False)
    )  # fmt: skip
    op.create_table(
        "bins",
        sa.Column("bin", name, primary_key=True),
        sa.Column("quantity", big),
        sa.Column("value", sa.Float),
        sa.Column("movements", sa.Integer, nullable=False),
        sa.Column("counted", big),
        sa.Column("p_right", sa.Float),
        sa.Column("passes", sa.Integer),
        sa.Column("worth", sa.Float),
        sa.Column("stale", sa.Integer, nullable=False),
        sa.Column("policy", sa.Text),
        sa.Column("open", sa.Integer, nullable=False),
        sa.Column("recounted", big),
        sa.Column("variance", big),
        sa.Column("outstanding", big),
        sa.Column("adjustments", sa.Integer, nullable=False),
        sa.Column("lines", sa.Integer),
        sa.Column("lines_right", sa.Integer),
    )
    op.create_index("bins_open", "bins", ["open", "worth"])
