"""The first catalog."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    statements = Path(__file__).with_suffix(".sql").read_text(encoding="utf-8")
    # The driver itself: it takes many statements at once, where SQLAlchemy would prepare one.
    op.get_bind().connection.cursor().execute(statements)
