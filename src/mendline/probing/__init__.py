"""Asking a source whether it is well: layer by layer, within one deadline, nothing sent but what is configured."""

from mendline.probing.answers import PERMANENT, retry_after
from mendline.probing.sources import probe, stage_sources
from mendline.probing.status_page import read_status_page

__all__ = ["PERMANENT", "probe", "read_status_page", "retry_after", "stage_sources"]
