"""monthly statement"""

import sqlalchemy as sa
from alembic import op

revision = "a41c0e77"
down_revision = "90b2d1f3"


def upgrade() -> None:
    op.create_table(
        "statement",
        sa.Column("plate", sa.String(12), primary_key=True),
        sa.Column("passages", sa.Integer, nullable=False),
        sa.Column("cents", sa.Integer, nullable=False),
    )
    op.create_index("passage_plate", "passage", ["plate"])


def downgrade() -> None:
    op.drop_index("passage_plate")
    op.drop_table("statement")
