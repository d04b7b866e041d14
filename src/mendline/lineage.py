"""Which datasets a failed stage depends on, and which stages a dataset feeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mendline.config import Dataset

FAR = 1_000


def involved_datasets(
    datasets: Sequence[Dataset], stages: Sequence[str], upstream: Mapping[str, tuple[str, ...]], log_text: str
) -> tuple[Dataset, ...]:
    """The datasets that can explain a failure of `stages`, most likely first.

    A dataset is left out when the configuration says where it flows and none of `stages` is there. Order: named in the
    log, then nearness in the DAG (loaded or read by a failed stage, then further upstream), then the file's order.
    """
    text = log_text.casefold()
    ranked: list[tuple[bool, int, int]] = []
    for position, dataset in enumerate(datasets):
        distance = _distance(dataset, stages, upstream)
        if distance is not None:
            ranked.append((not _is_named(dataset, text), distance, position))
    return tuple(datasets[position] for _, _, position in sorted(ranked))


def readers(dataset: Dataset, upstream: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The stages that read a dataset: as configured, else the direct downstreams of the stage that loads it."""
    if dataset.read_by:
        return dataset.read_by
    if dataset.loaded_by is None:
        return ()
    return tuple(stage for stage, parents in upstream.items() if dataset.loaded_by in parents)


def _is_named(dataset: Dataset, text: str) -> bool:
    names = [dataset.name, dataset.landing, dataset.view or "", dataset.landing.rsplit(".", 1)[-1]]
    return any(name and name.casefold() in text for name in names)


def _distance(dataset: Dataset, stages: Sequence[str], upstream: Mapping[str, tuple[str, ...]]) -> int | None:
    homes = set(readers(dataset, upstream))
    if dataset.loaded_by:
        homes.add(dataset.loaded_by)
    if not homes or not stages:
        return FAR
    steps = [_steps_up(stage, homes, upstream) for stage in stages]
    found = [step for step in steps if step is not None]
    return min(found) if found else None


def _steps_up(stage: str, homes: set[str], upstream: Mapping[str, tuple[str, ...]]) -> int | None:
    seen: set[str] = set()
    level, steps = {stage}, 0
    while level:
        if level & homes:
            return steps
        seen |= level
        level = {parent for child in level for parent in upstream.get(child, ())} - seen
        steps += 1
    return None
