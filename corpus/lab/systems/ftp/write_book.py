"""Write a workbook for the world of a case: sheet and rows come as JSON; `@` before a day makes it a date."""

import json
import sys
from datetime import datetime

from openpyxl import Workbook

given = json.load(sys.stdin)
book = Workbook(write_only=True)
sheet = book.create_sheet(given["sheet"])
for row in given["rows"]:
    sheet.append(
        [datetime.fromisoformat(cell[1:]) if isinstance(cell, str) and cell[:1] == "@" else cell for cell in row]
    )
book.save(sys.argv[1])
