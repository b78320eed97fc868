"""The store's id, and the digests of generations: what tells two stores of one site apart."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Give the store an id. Generations that were made before have no digest."""
    with op.batch_alter_table("site") as site:
        site.add_column(sa.Column("store", sa.String(length=16), nullable=False, server_default=secrets.token_hex(8)))
    with op.batch_alter_table("site") as site:
        site.alter_column("store", existing_type=sa.String(length=16), existing_nullable=False, server_default=None)
    with op.batch_alter_table("generations") as generations:
        generations.add_column(sa.Column("digest", sa.String(length=16), nullable=True))
