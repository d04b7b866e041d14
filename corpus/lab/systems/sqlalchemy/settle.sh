#!/usr/bin/env bash
# Bring the store to the release's revision, then settle the day's passages.
set -euo pipefail
alembic upgrade head
python settle_tolls.py
