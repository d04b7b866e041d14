"""Data contracts: ODCS v3 files, read into the values of `quality.expectations`.

Source: Open Data Contract Standard v3 (bitol.io), sections "Schema", "Data quality" and "References", read 2026-11.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from open_data_contract_standard.model import (
    DataQuality,
    OpenDataContractStandard,
    Relationship,
    SchemaObject,
    SchemaProperty,
    Team,
)
from pydantic import ValidationError

from mendline import custom_properties
from mendline.config import Config, Dataset
from mendline.errors import ConfigError
from mendline.quality.expectations import Bound, Contract, ContractColumn, Metric, RowRule, TableRule
from mendline.quality.sql_guard import guard_condition, guard_query
from mendline.warehouses.types import logical_type

__all__ = ["Bound", "Contract", "ContractColumn", "RowRule", "TableRule", "contract_of", "load_contract"]

LOGICAL = {
    "string": "string",
    "date": "date",
    "timestamp": "timestamp",
    "time": "time",
    "number": "double",
    "integer": "bigint",
    "object": "struct",
    "array": "array",
    "map": "map",
    "boolean": "boolean",
}
FAMILY = {
    "integer": {"integer", "bigint"},
    "number": {"integer", "bigint", "decimal", "double"},
    "timestamp": {"timestamp", "timestamptz"},
    "string": {"string", "json", "uuid", "binary"},
}
METRICS: dict[str, Metric] = {
    "nullValues": "not_null",
    "missingValues": "missing",
    "invalidValues": "invalid",
    "duplicateValues": "duplicate",
}


def contract_of(dataset: Dataset, config: Config, dialect: str) -> Contract | None:
    """The dataset's contract, in the warehouse's SQL `dialect`; None when the configuration names none.

    Raises: `ConfigError`, as `load_contract`.
    """
    if dataset.contract is None:
        return None
    name = dataset.contract_schema or dataset.name
    return load_contract(config.path(dataset.contract), name, dialect=dialect)


def load_contract(path: Path, schema_name: str | None, *, dialect: str = "duckdb") -> Contract:
    """Read one object of an ODCS v3 contract; `dialect` is what its SQL is written in.

    `schema_name` None means the only object. A name that no object has, while there is only one object, means that one.

    Raises: `ConfigError` with the file, the place and the next step, for every way in which it can be wrong.
    """
    document = _document(path)
    item = _object(document, schema_name, _Place(path=path, dialect=dialect))
    place = _Place(path=path, dialect=dialect, at=f"schema `{item.name}`")
    columns = tuple(_columns(item.properties or [], place, prefix=""))
    repeated = [name for name, count in Counter(column.name.lower() for column in columns).items() if count > 1]
    if repeated:
        raise place.wrong(f"property `{repeated[0]}` is there twice (names are compared without case)")
    rules = _distinct(_rules(item, place))
    return Contract(
        name=item.name or "",
        columns=_with_references(columns, item.relationships or [], place),
        row_rules=tuple(rule for rule in rules if isinstance(rule, RowRule)),
        table_rules=tuple(rule for rule in rules if isinstance(rule, TableRule)),
        owner=_owner(document),
        runbook=_runbook(item) or _runbook(document),
        description=item.description or (document.description and document.description.purpose) or "",
        is_frozen=any(custom_properties.is_frozen(part.customProperties) for part in (item, document)),
    )


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where in which file we are, for messages."""

    path: Path
    dialect: str
    at: str = ""

    def wrong(self, what: str) -> ConfigError:
        where = f"`{self.path}`, {self.at}" if self.at else f"`{self.path}`"
        return ConfigError(f"{where}: {what}; correct the contract and run `mendline check`")

    def inside(self, name: str) -> _Place:
        return replace(self, at=f"{self.at}, {name}" if self.at else name)


def _document(path: Path) -> OpenDataContractStandard:
    place = _Place(path=path, dialect="")
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"the contract `{path}` does not exist; correct `contract` in mendline.yaml") from None
    except (OSError, UnicodeDecodeError) as error:
        raise place.wrong(f"cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise place.wrong(f"is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(raw, dict):
        raise place.wrong(f"must be a mapping, found {type(raw).__name__}")
    version = str(raw.get("apiVersion", ""))
    if raw.get("kind") != "DataContract" or not version.startswith("v3."):
        raise place.wrong(
            f"expected `kind: DataContract` and `apiVersion: v3.x`, found {raw.get('kind')!r} and {version!r}"
        )
    try:
        return OpenDataContractStandard.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        raise place.wrong(f"key `{'.'.join(map(str, first['loc']))}`: {first['msg']}") from error


def _object(document: OpenDataContractStandard, name: str | None, place: _Place) -> SchemaObject:
    items = document.schema_ or []
    names = [item.name or "" for item in items]
    found = [item for item in items if name is not None and (item.name or "").lower() == name.lower()]
    if not items:
        raise place.wrong("has no `schema`, so there is nothing to check")
    if "" in names:
        raise place.wrong("an entry of `schema` has no `name`")
    if len(found) > 1:
        raise place.wrong(f"`schema` has `{name}` {len(found)} times")
    if not found and len(items) > 1:
        raise place.wrong(f"no schema is named `{name}`; set `contract_schema` to one of {', '.join(names)}")
    return found[0] if found else items[0]


def _columns(properties: Sequence[SchemaProperty], place: _Place, prefix: str) -> Iterator[ContractColumn]:
    for item in properties:
        if not item.name:
            raise place.wrong(f"a property{f' of `{prefix[:-1]}`' if prefix else ''} has no `name`")
        if item.logicalType == "object" and item.properties:
            yield from _columns(item.properties, place, prefix=f"{prefix}{item.name}.")
        else:
            yield _column(item, f"{prefix}{item.name}", place.inside(f"property `{prefix}{item.name}`"))


def _column(item: SchemaProperty, name: str, place: _Place) -> ContractColumn:
    options = item.logicalTypeOptions or {}
    minimum, is_over = _limit(options, "minimum", "exclusiveMinimum", place)
    maximum, is_under = _limit(options, "maximum", "exclusiveMaximum", place)
    references = [_reference(r.to, place) for r in item.relationships or [] if r.type in (None, "foreignKey")]
    if len(references) > 1:
        raise place.wrong("has more than one foreign key; keep one")
    values = [entry.value for entry in item.enum or []] or options.get("enum") or []
    return ContractColumn(
        name=name,
        logical_type=_logical_type(item, place),
        physical_type=item.physicalType,
        is_required=bool(item.required) or bool(item.primaryKey),
        is_unique=bool(item.unique),
        is_primary_key=bool(item.primaryKey),
        minimum=minimum,
        maximum=maximum,
        is_minimum_exclusive=is_over,
        is_maximum_exclusive=is_under,
        pattern=_pattern(options.get("pattern"), place),
        min_length=_whole(options, "minLength", place),
        max_length=_whole(options, "maxLength", place),
        allowed_values=tuple(_text(value) or "" for value in values),
        references=references[0] if references else None,
        description=item.description or "",
        aliases=tuple(_aliases(item, name, place)),
    )


def _aliases(item: SchemaProperty, name: str, place: _Place) -> Iterator[str]:
    """`physicalName` (what it is called in the table), then what it was called before."""
    prefix = name.removesuffix(item.name or "")
    for other in (item.physicalName, *custom_properties.previous_names(item.customProperties, place.wrong)):
        if other and f"{prefix}{other}" != name:
            yield f"{prefix}{other}"


def _logical_type(item: SchemaProperty, place: _Place) -> str:
    """Take the family from `logicalType`, the width from `physicalType` when it is of that family."""
    declared = item.logicalType
    if declared is not None and declared not in LOGICAL:
        raise place.wrong(f"`logicalType: {declared}` is unknown; use one of {', '.join(LOGICAL)}")
    physical = logical_type(item.physicalType, place.dialect) if item.physicalType else "other"
    if declared is None:
        return physical
    options = item.logicalTypeOptions or {}
    if physical.split("(")[0] in FAMILY.get(declared, set()):
        return physical
    if declared == "integer" and options.get("format") in ("i8", "i16", "i32"):
        return "integer"
    if declared == "timestamp" and options.get("timezone") is True:
        return "timestamptz"
    return LOGICAL[declared]


def _limit(options: dict[str, Any], key: str, exclusive: str, place: _Place) -> tuple[str | None, bool]:
    """A limit as text and whether it is exclusive (`exclusive...` is a flag in v3.0, a number in JSON Schema)."""
    value, other = options.get(key), options.get(exclusive)
    if isinstance(value, bool | list | dict):
        raise place.wrong(f"`{key}` must be a number or a date, found {value!r}")
    if other is not None and not isinstance(other, bool):
        return _text(other), True
    return _text(value), bool(other)


def _whole(options: dict[str, Any], key: str, place: _Place) -> int | None:
    value = options.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise place.wrong(f"`{key}` must be a whole number of 0 or more, found {value!r}")
    return value


def _pattern(value: Any, place: _Place) -> str | None:
    """A regular expression that is searched for (not anchored), as in JSON Schema."""
    text = _text(value)
    try:
        re.compile(text or "")
    except re.error as error:
        raise place.wrong(f"`pattern` {text!r} is not a regular expression: {error}") from error
    return text


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value)


def _reference(target: str | list[str] | None, place: _Place) -> str:
    """The last object and property of a reference, in the short (`t.c`) or the full (`schema/t/properties/c`) notation."""
    if isinstance(target, list):
        if len(target) != 1:
            raise place.wrong("a foreign key of more than one column is not supported here; write a custom check")
        target = target[0]
    parts = (target or "").split("#")[-1].strip("/").replace("/properties/", ".").split("/")[-1].split(".")
    if len(parts) < 2 or not all(parts):
        raise place.wrong(f"a relationship's `to` must be `object.property`, found {target!r}")
    return f"{parts[0]}.{'.'.join(parts[1:])}"


def _with_references(
    columns: tuple[ContractColumn, ...], relationships: Sequence[Relationship], place: _Place
) -> tuple[ContractColumn, ...]:
    """Add the foreign keys that are written on the object; those of several columns are refused."""
    found: dict[str, str] = {}
    for relationship in relationships:
        if relationship.type not in (None, "foreignKey"):
            continue
        origin = _reference(relationship.from_, place).split(".", 1)[1].lower()
        if origin not in {column.name.lower() for column in columns}:
            raise place.wrong(f"a relationship comes from `{origin}`, which is no property")
        found[origin] = _reference(relationship.to, place)
    return tuple(replace(column, references=found.get(column.name.lower(), column.references)) for column in columns)


def _rules(item: SchemaObject, place: _Place) -> Iterator[RowRule | TableRule]:
    for quality in item.quality or []:
        yield from _rule(quality, (), place)
    yield from _property_rules(item.properties or [], place, prefix="")


def _distinct(rules: Iterator[RowRule | TableRule]) -> tuple[RowRule | TableRule, ...]:
    """The rules with names that differ: a repeated name gets `#2`, `#3` ... in the file's order."""
    seen: Counter[str] = Counter()
    named = []
    for rule in rules:
        seen[rule.name] += 1
        named.append(rule if seen[rule.name] == 1 else replace(rule, name=f"{rule.name}#{seen[rule.name]}"))
    return tuple(named)


def _property_rules(properties: Sequence[SchemaProperty], place: _Place, prefix: str) -> Iterator[RowRule | TableRule]:
    for item in properties:
        name = f"{prefix}{item.name}"
        for quality in item.quality or []:
            yield from _rule(quality, (name,), place.inside(f"property `{name}`"))
        yield from _property_rules(item.properties or [], place, prefix=f"{name}.")


def _rule(quality: DataQuality, columns: tuple[str, ...], place: _Place) -> Iterator[RowRule | TableRule]:
    """One entry of `quality`; `text` rules and other engines' custom rules are for people and are left out."""
    kind = quality.type or "library"
    if kind == "library":
        yield _library_rule(quality, columns, place)
    elif kind == "sql":
        query = quality.query or ""
        name = quality.name or f"sql:{'.'.join(columns) or 'table'}"
        guard_query(query, place.dialect, lambda what: place.wrong(f"SQL rule `{name}` {what}"))
        yield TableRule(name=name, kind="sql", bound=_bound(quality, place), columns=columns, query=query)
    elif kind == "custom" and quality.engine == "mendline":
        yield _custom_rule(quality, columns, place)
    elif kind not in ("text", "custom"):
        raise place.wrong(f"quality `type: {kind}` is unknown; use library, sql, custom or text")


def _library_rule(quality: DataQuality, columns: tuple[str, ...], place: _Place) -> RowRule | TableRule:
    metric = quality.metric or quality.rule
    bound = _bound(quality, place)
    if metric == "rowCount":
        return TableRule(name=quality.name or "row_count", kind="row_count", bound=bound)
    if metric not in METRICS:
        raise place.wrong(f"metric `{metric}` is unknown; use one of {', '.join([*METRICS, 'rowCount'])}")
    kind, arguments = METRICS[metric], quality.arguments or {}
    listed = arguments.get("properties")
    columns = columns or tuple(listed if isinstance(listed, list) else ())
    if not columns:
        raise place.wrong(f"metric `{metric}` needs a property: put it on one, or give `arguments.properties`")
    values = arguments.get("validValues" if kind == "invalid" else "missingValues") or []
    pattern = _pattern(arguments.get("pattern"), place)
    if kind == "invalid" and not values and pattern is None:
        raise place.wrong("`invalidValues` needs `arguments.validValues` or `arguments.pattern`")
    texts = tuple(_text(value) or "" for value in values if value is not None)  # NULL is missing in any case
    name = quality.name or f"{kind}:{','.join(columns)}"
    if bound.is_zero:
        return RowRule(name=name, kind=kind, columns=columns, values=texts, pattern=pattern)
    return TableRule(name=name, kind=kind, bound=bound, columns=columns, values=texts, pattern=pattern)


def _custom_rule(quality: DataQuality, columns: tuple[str, ...], place: _Place) -> RowRule:
    body = quality.implementation
    if isinstance(body, str):
        try:
            body = yaml.safe_load(body)
        except yaml.YAMLError as error:
            raise place.wrong(f"`implementation` is not valid YAML: {' '.join(str(error).split())}") from error
    check = body.get("check") if isinstance(body, dict) else None
    if not isinstance(check, str):
        raise place.wrong('a custom check needs `implementation: {check: "<a condition that good rows satisfy>"}`')
    name = quality.name or f"custom:{'.'.join(columns) or check}"
    guard_condition(check, place.dialect, lambda what: place.wrong(f"custom check `{name}` {what}"))
    return RowRule(name=name, kind="custom", columns=columns, expression=check)


def _bound(quality: DataQuality, place: _Place) -> Bound:
    """What the measured number must be; an entry that says nothing would check nothing, so it is an error."""
    unit = {None: "rows", "rows": "rows", "percent": "percent"}.get(quality.unit)
    if unit is None:
        raise place.wrong(f"quality `unit: {quality.unit}` is unknown; use rows or percent")
    named = {
        "equal": quality.mustBe,
        "not_equal": quality.mustNotBe,
        "greater": quality.mustBeGreaterThan,
        "at_least": quality.mustBeGreaterOrEqualTo,
        "less": quality.mustBeLessThan,
        "at_most": quality.mustBeLessOrEqualTo,
        "between": quality.mustBeBetween,
        "not_between": quality.mustNotBeBetween,
    }
    given: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in named.items() if v is not None}
    numbers = [number for value in given.values() for number in (value if isinstance(value, tuple) else (value,))]
    if not given:
        raise place.wrong("a quality rule says no `mustBe...`, so nothing could ever fail")
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
        raise place.wrong(f"a quality rule's bound must be a number, found {numbers!r}")
    return Bound(unit="percent" if unit == "percent" else "rows", **given)


def _owner(document: OpenDataContractStandard) -> str | None:
    team = document.team
    members = (team.members or []) if isinstance(team, Team) else (team or [])
    owners = [member for member in members if (member.role or "").lower() == "owner"] or members
    first = (owners[0].username or owners[0].name) if owners else None
    return (team.name if isinstance(team, Team) else None) or first


def _runbook(part: SchemaObject | OpenDataContractStandard) -> str | None:
    """The link of type "runbook", else the custom property of that name."""
    for definition in part.authoritativeDefinitions or []:
        if (definition.type or "").lower() == "runbook" and definition.url:
            return definition.url
    return custom_properties.runbook(part.customProperties)
