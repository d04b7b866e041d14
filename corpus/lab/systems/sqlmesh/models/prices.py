"""The day's market prices, from the exchange."""

import json
import os
import typing as t
import urllib.request
from datetime import datetime

import pandas as pd
from sqlmesh import ExecutionContext, model


@model("staging.prices", kind="FULL", columns={"hour": "timestamp", "spot_cents": "double"})
def execute(
    context: ExecutionContext, start: datetime, end: datetime, execution_time: datetime, **kwargs: t.Any
) -> pd.DataFrame:
    with urllib.request.urlopen(f"{os.environ['EXCHANGE_URL']}/v2/spot?zone=DK1", timeout=2) as reply:
        rows = json.loads(reply.read())["prices"]
    return pd.DataFrame(
        {"hour": pd.to_datetime([row["hour"] for row in rows]), "spot_cents": [row["price"] / 10 for row in rows]}
    )
