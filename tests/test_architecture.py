"""The directions of the house: who may import whom, and what only the demo may know."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mendline.demo.faults.catalogue import FAULTS
from mendline.registry import BUILT_IN

ROOT = Path(__file__).parents[1] / "src" / "mendline"
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sorted(ROOT.rglob("*.py"))}
PLUGINS = {value.split(":")[0].removeprefix("mendline.") for offers in BUILT_IN.values() for value in offers.values()}
STEPS = ("classify", "monitor", "report", "scorecard", "tools")
HUBS = ("app", "diagnose", "hands", "life", "permit", "workflow")
COMMON_WORDS = {"disk_full"}  # a fault of the demo is called like the subtype that it provokes


def family(module: str) -> str:
    return module.split(".", maxsplit=1)[0]


RULES: dict[str, Callable[[str, str], bool]] = {
    "nothing imports a surface": lambda module, used: family(used) == "surfaces" and family(module) != "surfaces",
    "nothing but the demo command imports the demo": lambda module, used: (
        family(used) == "demo" and family(module) not in ("demo", "surfaces")
    ),
    "plugins never import plugins": lambda module, used: module in PLUGINS and used in PLUGINS,
    "steps never import steps": lambda module, used: (
        {family(module), family(used)} <= set(STEPS) and family(module) != family(used) and used != "tools.base"
    ),
    "only surfaces and the demo import the hub": lambda module, used: (
        used in HUBS and family(module) not in ("surfaces", "demo", "testing", *HUBS)
    ),
}


def imports(module: str) -> Iterator[str]:
    """The modules of ours that a module imports, also inside functions, as dotted paths below `mendline`."""
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            below = name.removeprefix("mendline.")
            if below != name and (below in MODULES or f"{below}.__init__" in MODULES):
                yield below


@pytest.mark.parametrize("rule", RULES)
def test_the_direction_holds(rule: str) -> None:
    edges = {(module, used) for module in MODULES for used in imports(module)}
    broken = {f"{module} imports {used}" for module, used in edges if RULES[rule](module, used)}
    assert sorted(broken) == []


def test_every_plugin_that_is_built_in_has_its_file() -> None:
    assert sorted(PLUGINS - set(MODULES)) == []


def names_of_the_demo() -> tuple[set[str], set[str], set[str]]:
    """Its stages, its tables (schema.table) and its faults, read from its own files."""
    demo = ROOT / "demo"
    stages = set(re.findall(r"function=\w+\.(\w+)", (demo / "pipeline.py").read_text(encoding="utf-8")))
    sql = "\n".join(path.read_text(encoding="utf-8") for path in demo.rglob("*.sql"))
    tables = set(re.findall(r"\b(?:landing|contract|staging|core|mart)\.[a-z_]+", sql))
    return stages, tables, {fault.name for fault in FAULTS if "_" in fault.name} - COMMON_WORDS


def test_no_stage_table_or_fault_of_the_demo_is_named_outside_it() -> None:
    stages, tables, faults = names_of_the_demo()
    assert len(stages) == 15
    assert len(tables) > 10
    assert len(faults) >= 30
    pattern = re.compile(rf"(?<![\w.])(?:{'|'.join(map(re.escape, stages | tables | faults))})(?!\w)")
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted(ROOT.rglob("*"))
        if path.is_file() and path.suffix != ".pyc" and "demo" not in path.relative_to(ROOT).parts
        for name in pattern.findall(path.read_text(encoding="utf-8"))
    ]
    assert found == []
