import logging
import time

import pandas as pd
from kedro.framework.hooks import hook_impl

log = logging.getLogger("dairy.hooks")


class LedgerHooks:
    @hook_impl
    def before_pipeline_run(self, run_params):
        self.started = time.monotonic()
        log.info("payout run, nodes: %s", run_params.get("node_names") or "all")

    @hook_impl
    def after_dataset_loaded(self, dataset_name, data):
        if isinstance(data, pd.DataFrame):
            log.debug("%s: %d rows of %s", dataset_name, len(data), ", ".join(map(str, data.columns)))
            if data.empty:
                raise ValueError(f"{dataset_name} has no rows; no farm would be paid")

    @hook_impl
    def on_node_error(self, error, node):
        log.error("node %s gave up after %.1f s: %s", node.name, time.monotonic() - self.started, type(error).__name__)

    @hook_impl
    def on_pipeline_error(self, error, run_params):
        log.error("the week is not paid; the accountant has to be told (%s)", run_params["pipeline_names"] or "default")
