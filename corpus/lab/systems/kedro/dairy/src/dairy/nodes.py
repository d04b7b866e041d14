import logging

import pandas as pd

log = logging.getLogger("dairy.nodes")


def grade(tours, samples, rules):
    tours["collected_at"] = pd.to_datetime(tours["collected_at"], format="%d.%m.%Y %H:%M")
    tours["day"] = tours["collected_at"].dt.strftime("%Y-%m-%d")
    milk = tours.merge(samples, on=["farm", "day"], how="left", validate="many_to_one")
    milk["second_class"] = (milk["temp_c"] > rules["too_warm_c"]) | (milk["germs"] > rules["germs_per_ml"])
    log.info("%d collections, %d of second class", len(milk), milk["second_class"].sum())
    return milk


def price(milk, answer, rules):
    log.debug("price answer %s, %s", answer.status_code, " ".join(answer.text.split())[:160])
    week = answer.json()["week"]
    log.info("base price %s ct for %s", week["base_ct"], week["name"])
    cents = (
        week["base_ct"] + (milk["protein"] - 3.4) * rules["protein_bonus_ct"] - milk["second_class"] * week["malus_ct"]
    )
    milk["euros"] = milk["litres"] * cents / 100
    return milk


def settle(priced, farms, advances):
    sums = priced.groupby("farm", as_index=False).agg(
        litres=("litres", "sum"), euros=("euros", lambda x: x.sum(skipna=False))
    )
    sums = sums.merge(advances, on="farm", how="left").fillna({"advanced": 0.0})
    sums["euros"] = (sums["euros"] - sums["advanced"]).round(2)
    unknown = set(sums["farm"]) - set(farms["farm"])
    if unknown:
        log.warning("not in the members' list: %s", ", ".join(sorted(unknown)))
    return sums.drop(columns="advanced").assign(week="2026-W31")


def write_letters(sums, farms):
    letters = farms.merge(sums, on="farm")
    return letters[["member", "farm", "litres", "euros"]].sort_values("member")
