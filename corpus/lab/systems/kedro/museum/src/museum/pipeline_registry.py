from kedro.pipeline import node, pipeline

from museum.nodes import by_day, density, gather, guards


def register_pipelines():
    visits = pipeline(
        [
            node(gather, "counters", "hourly", name="gather_counters", tags="raw"),
            node(by_day, ["hourly", "galleries", "params:least_hours"], "daily", name="sum_by_day"),
            node(density, ["daily", "galleries", "exhibits"], "density", name="density_of_rooms"),
            node(guards, ["hourly", "params:persons_per_guard"], "guards", name="plan_guards"),
        ]
    )
    return {"__default__": visits, "visits": visits}
