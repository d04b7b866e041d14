"""What people read of an incident: one line, one page."""

from mendline.report.headline import headline

__all__ = ["headline"]
