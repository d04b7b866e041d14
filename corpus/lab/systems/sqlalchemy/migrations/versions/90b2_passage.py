"""passages and tariffs"""

import sqlalchemy as sa
from alembic import op

revision = "90b2d1f3"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "tariff",
        sa.Column("category", sa.String(4), primary_key=True),
        sa.Column("cents_per_km", sa.Numeric(8, 2), nullable=False),
    )
    op.create_table(
        "passage",
        sa.Column("passage_id", sa.BigInteger, primary_key=True),
        sa.Column("gantry", sa.String(6), nullable=False),
        sa.Column("plate", sa.String(12), nullable=False),
        sa.Column("category", sa.String(4), sa.ForeignKey("tariff.category"), nullable=False),
        sa.Column("km", sa.Integer, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("passage")
    op.drop_table("tariff")
