from kedro.pipeline import Pipeline, node

from dairy import nodes


def register_pipelines():
    payout = Pipeline(
        [
            node(nodes.grade, ["tours", "samples", "params:grading"], "graded", name="grade"),
            node(nodes.price, ["graded", "milk_price", "params:grading"], "priced", name="price"),
            node(nodes.settle, ["priced", "farms", "advances"], "sums", name="settle"),
            node(nodes.write_letters, ["sums", "farms"], "letters", name="write_letters"),
            node(lambda sums: sums, "sums", "payouts", name="book"),
        ]
    )
    return {"__default__": payout}
