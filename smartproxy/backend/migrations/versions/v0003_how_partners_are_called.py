"""How partners are called."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column."""
    op.add_column("partners", sa.Column("outbound", sa.JSON(none_as_null=True), nullable=True))
