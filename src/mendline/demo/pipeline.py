"""The reference pipeline's DAG: fifteen plain functions and what each waits for; no engine in sight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location

from mendline.demo.stages import extract_apis, extract_files, extract_orders, modelling, staging
from mendline.demo.stages.context import StageContext

StageFunction = Callable[[StageContext], int]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage: `function` gives the rows it wrote; `is_retried` says whether the engine should try it again by itself."""

    function: StageFunction
    after: tuple[str, ...] = ()
    is_retried: bool = False

    @property
    def name(self) -> str:
        return self.function.__name__


STAGES: tuple[Stage, ...] = (
    Stage(function=extract_orders.extract_orders),
    Stage(function=extract_apis.extract_customers, is_retried=True),
    Stage(function=extract_files.extract_web_events),
    Stage(function=extract_files.extract_products),
    Stage(function=extract_files.extract_payments),
    Stage(function=extract_apis.extract_shipments, is_retried=True),
    Stage(function=staging.stage_orders, after=("extract_orders", "extract_products")),
    Stage(function=staging.stage_web_events, after=("extract_web_events", "extract_orders")),
    Stage(function=staging.stage_payments, after=("extract_payments", "extract_orders")),
    Stage(function=staging.stage_shipments, after=("extract_shipments", "extract_orders")),
    Stage(function=modelling.dim_customer, after=("extract_customers", "extract_orders")),
    Stage(function=modelling.dim_product, after=("extract_products",)),
    Stage(function=modelling.fct_sales, after=("stage_orders", "dim_customer", "dim_product")),
    Stage(function=modelling.reconcile_payments, after=("stage_payments", "stage_orders")),
    Stage(
        function=modelling.publish_daily_mart,
        after=("fct_sales", "reconcile_payments", "stage_shipments", "stage_web_events"),
    ),
)


def run_stage(stage: Stage, context: StageContext) -> int:
    """Run the stage's deployed release: `deploy/<stage>.py` when there is one, else the function that came with it."""
    deployed = context.directory / "deploy" / f"{stage.name}.py"
    if not deployed.exists():
        return stage.function(context)
    context.log.info("using the release in %s", deployed.relative_to(context.directory))
    spec = spec_from_file_location(f"deployed_{stage.name}", deployed)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    function: StageFunction = getattr(module, stage.name)
    return function(context)
