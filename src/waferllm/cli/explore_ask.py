"""What the explorer's options mean: systems, workload, sharding and site, from names, files and settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from waferllm.chip.facts import nearest
from waferllm.cli.explore_options import Grid, parse_names
from waferllm.errors import CapacityError, InputError
from waferllm.explore import (
    OBJECTIVES,
    Budget,
    Result,
    Sharding,
    System,
    Unfit,
    Workload,
    evaluate,
    find_workload,
    load_system,
    search,
    system,
)
from waferllm.explore.numbers import check
from waferllm.reports.explore_rows import Exploration, Row, ranked

WORKLOAD = "workload."
SITE_KEYS = ("site.usd_per_kwh", "site.g_per_kwh", "site.pue", "site.life_years", "site.load")


@dataclass(frozen=True)
class Question:
    """One exploration: every system answers, each with the sharding that suits it or with the one given."""

    model: str
    workload: Workload
    systems: tuple[System, ...]
    objective: str
    budget: Budget
    sharding: Sharding | None = None

    def rows(self, design: Mapping[str, float], *, advise: bool = False) -> list[Row]:
        """One row for each system, changed to a design of a sweep."""
        return [answer.row(design) for answer in self.answers(design, advise=advise)]

    def answers(
        self, design: Mapping[str, float] | None = None, *, advise: bool = True
    ) -> list[Result | Unfit]:
        """One answer for each system; a design that cannot be built or served says why."""
        return [self._answer(one, design or {}, advise) for one in self.systems]

    def _answer(self, one: System, design: Mapping[str, float], advise: bool) -> Result | Unfit:
        numbers, asked = split_settings(design)
        work = self.workload.with_(**asked)
        try:
            changed = _built(one, numbers)
            if self.sharding is not None:
                return evaluate(changed, work, self.sharding, model=self.model)
            return search(
                changed, work, model=self.model, objective=self.objective, budget=self.budget,
                advise=advise,
            )  # fmt: skip
        except CapacityError as error:
            return Unfit(one.name, str(error))

    @property
    def metric(self) -> str:
        """The figure that the objective ranks by."""
        return OBJECTIVES[self.objective][0]

    def shown(self, rows: Sequence[Row], partial: str = "") -> Exploration:
        """The rows, ranked, with the words around them."""
        work = self.workload
        return Exploration(
            title=f"{self.model}, {work.name}: {work.says}",
            objective=self.objective,
            rows=ranked(rows, self.metric),
            metric=self.metric,
            notes=(_asked(work), _site(self.systems)),
            partial=partial,
        )


def named_systems(text: str, settings: Mapping[str, Any]) -> tuple[System, ...]:
    """The systems of `a,b,mine.toml`, each with the settings of parts."""
    found = []
    for name in parse_names(text, "--systems"):
        one = load_system(name) if name.lower().endswith(".toml") else system(name)
        found.append(one.with_numbers(settings) if settings else one)
    return tuple(found)


def _built(one: System, numbers: Mapping[str, Any]) -> System:
    """The system with a design's numbers, each of which `check_axes` has passed."""
    try:
        return one.with_numbers(numbers) if numbers else one
    except InputError as error:  # each number can be, together they cannot
        raise CapacityError(f"cannot be built: {error}") from error


def split_settings(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of systems' parts, and those of the workload (`workload.prompt_tokens`) by its keys."""
    of_work = {key: value for key, value in settings.items() if key.startswith(WORKLOAD)}
    numbers = {key: value for key, value in settings.items() if key not in of_work}
    return numbers, {
        key.removeprefix(WORKLOAD): _typed(key, value) for key, value in of_work.items()
    }


def _typed(key: str, value: str | float) -> Any:
    """A workload's value in its type. Raises InputError with the nearest key for an unknown one."""
    kinds = {field.name: field.type for field in fields(Workload)}
    name = key.removeprefix(WORKLOAD)
    if name not in kinds:
        raise InputError(f"Unknown workload key {name}. {nearest(name, kinds)}")
    kind = kinds[name]
    if kind is str:
        return str(value)
    if kind is bool:
        if str(value).lower() not in ("true", "false"):
            raise InputError(f"{key}={value}: expected true or false.")
        return str(value).lower() == "true"
    try:
        return float(value)
    except ValueError:
        raise InputError(f"{key}={value}: expected a number.") from None


def check_axes(grid: Grid, question: Question) -> None:
    """Raises InputError for an axis that no system or workload has, before anything is evaluated."""
    for axis in grid.axes:
        for value in (axis.values[0], axis.values[-1]):
            numbers, asked = split_settings({axis.key: value})
            question.workload.with_(**asked)
            for key, number in numbers.items():
                check(key, number)


def parse_sharding(text: str) -> Sharding:
    """Read `tp=8,batch=32`. Raises InputError for an unknown key or what is no whole number."""
    known = [field.name for field in fields(Sharding)]
    made: dict[str, int] = {}
    for part in parse_names(text, "--sharding"):
        key, equals, value = (one.strip() for one in part.partition("="))
        if key not in known:
            raise InputError(f"--sharding: unknown key {key!r}. {nearest(key, known)}")
        if not equals or not value.isdecimal():
            raise InputError(f"--sharding {part!r}: expected {key}=N, a whole number.")
        made[key] = int(value)
    return Sharding(**made)


def workload_of(name: str, settings: Mapping[str, Any]) -> Workload:
    """A named workload with its settings."""
    return find_workload(name).with_(**settings)


def _asked(work: Workload) -> str:
    parts = [f"{work.prompt_tokens:,.0f} tokens in, {work.output_tokens:,.0f} out"]
    if work.cached_tokens:
        kept = "rarely changing" if work.frozen_cache else "live"
        parts.append(f"{work.cached_tokens:,.0f} before them with their KV kept ({kept})")
    for limit, words in ((work.max_ttft_s, "TTFT"), (work.max_tpot_s, "TPOT")):
        if limit < float("inf"):
            parts.append(f"{words} at most {1000 * limit:,.0f} ms")
    if work.max_requests < float("inf"):
        parts.append(f"at most {work.max_requests:,.0f} at once")
    return f"Workload (assumed, change with --set workload.KEY=VALUE): {'; '.join(parts)}."


def _site(systems: Sequence[System]) -> str:
    """The site's numbers that all figures rest on, each with its label, from the first system."""
    parts = []
    for key in SITE_KEYS:
        number = systems[0].number(key)
        parts.append(f"{key} {number.value:g} ({number.source.tag.label})")
    return f"Site: {', '.join(parts)}; every number of a system: waferllm systems NAME."
