"""Clients whose certificates count no more."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, empty."""
    op.create_table(
        "withdrawn",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("begins_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("forget", sa.DateTime(timezone=True), nullable=False),
        sa.Column("token_sha256", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_withdrawn")),
    )
