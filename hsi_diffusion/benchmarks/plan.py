"""What a benchmark compares: methods on scenes and splits, and the cells that this means."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from hsi_diffusion.benchmarks.cells import GIVEN, OF_COLUMN, Cell, build_cell
from hsi_diffusion.benchmarks.measurements import control_row
from hsi_diffusion.errors import ConfigurationError
from hsi_diffusion.recipes import from_plain, merge, read_preset

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, kw_only=True)
class ColumnSettings:
    """A scene and a split: one table of a benchmark.

    Attributes:
        scene: Settings of the scene, such as ``{"name": "salinas"}``; in texts, ``{root}`` stands
            for the folder of the scenes.
        split: Settings of the split, such as ``{"kind": "0.1"}``; likewise.
        title: Headline; None: name of the scene and kind of the split.
        seeds: Seeds of all methods here; None: those of each method.
        methods: Titles of the methods that are wanted here; None: all.
        published: Overall accuracies in percent that others report, by method, for comparison.
    """

    scene: dict[str, Any]
    split: dict[str, Any]
    title: str | None = None
    seeds: tuple[int, ...] | None = None
    methods: tuple[str, ...] | None = None
    published: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The headline."""
        return self.title or f"{self.scene.get('name')}, {self.split.get('kind')}"


@dataclass(frozen=True, kw_only=True)
class MethodSettings:
    """A method of a benchmark.

    Attributes:
        method: Its name, that of a folder with its presets.
        title: Its name in tables; None: ``method``.
        preset: None: the benchmark's.
        seeds: None: the benchmark's.
        set: Changes of its settings.
        vary: Settings by their dotted names, each with a list of the values that it shall take;
            every combination is a variant of its own, without a control.
        control: Measure the same classifier on raw bands beside it.
    """

    method: str
    title: str | None = None
    preset: str | None = None
    seeds: tuple[int, ...] | None = None
    set: dict[str, Any] = field(default_factory=dict)
    vary: dict[str, Any] = field(default_factory=dict)
    control: bool = True

    def __post_init__(self) -> None:
        """Refuse variants that are none, and what only a column may say."""
        for key, values in self.vary.items():
            if not isinstance(values, list) or not values:
                raise ConfigurationError(
                    f"methods.vary.{key} must be a list of values, such as [[5], [10]], "
                    f"got {values!r}"
                )
        _check_changes("methods.set", self.set)
        _check_changes("methods.vary", dict.fromkeys(key.split(".")[0] for key in self.vary))

    @property
    def name(self) -> str:
        """Its name in tables."""
        return self.title or self.method

    @property
    def is_grid(self) -> bool:
        """Whether its variants fill a table of their own, one setting down and one across."""
        return len(self.vary) == 2

    def variants(self) -> Iterator[Variant]:
        """The method itself, or its variants."""
        for values in product(*self.vary.values()):
            changes: dict[str, Any] = {}
            for key, value in zip(self.vary, values, strict=True):
                change = value
                for part in reversed(key.split(".")):
                    change = {part: change}
                changes = merge(changes, change)
            texts = tuple(_text(value) for value in values)
            yield Variant(", ".join((self.name, *texts)), texts, changes)


class Variant(NamedTuple):
    """One row of a benchmark: its name, the values of what varies, and the settings that change."""

    row: str
    values: tuple[str, ...]
    changes: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class BenchmarkSettings:
    """Methods on scenes and splits over seeds.

    Attributes:
        columns: The scenes and splits.
        methods: The methods, in the order of the tables.
        title: Headline.
        preset: Preset of the methods.
        seeds: Each rules split, pretraining and classifiers of its runs.
        pretrainings: How many pretrainings P of a kind the seeds share, taking turns: seed S has
            that of seed S mod P, also where only some of the seeds are run, here or on another
            machine. None: every seed has its own.
        root: Folder of the scenes' files.
        logger: Where the runs are followed; in W&B, as one group.
        set: Changes of the settings of all methods.
        pairs: Two rows each, to compare seed by seed; every method is compared with its control
            anyway. A row is the title of a method, that of one of its variants where settings vary,
            or that of a control ("DiffGraph: raw bands").
        reference: The row that the others are changes of, as in an ablation: the table gives their
            differences to it, seed by seed; they have no control of their own, and one whose change
            changes nothing on a column is not run there. None: there is none.
    """

    columns: tuple[ColumnSettings, ...]
    methods: tuple[MethodSettings, ...]
    title: str = "Benchmark"
    note: str | None = None
    preset: str = "cpu"
    seeds: tuple[int, ...] = (0, 1, 2)
    pretrainings: int | None = None
    root: str = "data"
    logger: str = "none"
    set: dict[str, Any] = field(default_factory=dict)
    pairs: tuple[tuple[str, ...], ...] = ()
    reference: str | None = None

    def __post_init__(self) -> None:
        """Refuse what has no cells, or two meanings."""
        for name, there in (("columns", self.columns), ("methods", self.methods)):
            if not there:
                raise ConfigurationError(f"{name} must not be empty")
            names = [item.name for item in there]
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ConfigurationError(
                    f"{name} must have different titles, but {twice[0]!r} stands there twice; give "
                    "one of them a title of its own"
                )
        _check_changes("set", self.set)
        titles = [method.name for method in self.methods]
        wanted = {name for column in self.columns for name in column.methods or ()}
        if unknown := sorted(wanted - set(titles)):
            raise ConfigurationError(
                f"columns.methods must be titles of methods ({', '.join(titles)}), got "
                f"{unknown[0]!r}"
            )
        for pair in self.pairs:
            if len(pair) != 2:
                raise ConfigurationError(f"pairs must hold two rows each, got {list(pair)}")
        if self.pretrainings is not None and self.pretrainings < 1:
            raise ConfigurationError(f"pretrainings must be at least 1, got {self.pretrainings}")
        given = [self.seeds, *(c.seeds for c in self.columns), *(m.seeds for m in self.methods)]
        for seeds in given:
            if seeds is not None and (not seeds or len(set(seeds)) < len(seeds)):
                raise ConfigurationError(
                    f"seeds must be different numbers, at least one, got {list(seeds)}"
                )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> BenchmarkSettings:
        """Build settings from plain data, in which the simplest things may be said simply.

        A method may be its name alone; a scene its name and a split its kind; seeds a number N for
        0 to N - 1.

        Raises:
            ConfigurationError: A key is unknown or a value has the wrong type.
        """
        plain = dict(data)
        for name in ("methods", "columns"):
            if not isinstance(plain.get(name) or [], list):
                raise ConfigurationError(f"{name} must be a list, got {plain[name]!r}")
        plain["methods"] = [
            {"method": method} if isinstance(method, str) else _with_seeds(method)
            for method in plain.get("methods") or ()
        ]
        plain["columns"] = [_with_seeds(_column(column)) for column in plain.get("columns") or ()]
        return from_plain(cls, _with_seeds(plain))


def benchmark_cells(settings: BenchmarkSettings) -> list[Cell]:
    """List every run of a benchmark: column by column, in each seed by seed.

    Raises:
        ConfigurationError: A method or a setting is unknown, its patches are too large for the
            distance that the split keeps, two rows of the tables would have one name, or pairs or
            reference name none.
    """
    cells = [cell for column in settings.columns for cell in _column_cells(settings, column)]
    rows = [variant.row for method in settings.methods for variant in method.variants()]
    rows += map(control_row, dict.fromkeys(cell.row for cell in cells if cell.has_control))
    if twice := [row for row in rows if rows.count(row) > 1]:
        raise ConfigurationError(
            f"rows of the tables must have different names, but methods give {twice[0]!r} twice (a "
            f"variant is called TITLE, VALUE and a control {control_row('TITLE')}): give one of "
            "them another title, or leave out a value of vary"
        )
    pairs = [row for pair in settings.pairs for row in pair]
    for name, wanted in (("pairs", pairs), ("reference", [settings.reference])):
        if unknown := [row for row in wanted if row not in (None, *rows)]:
            raise ConfigurationError(
                f"{name} must name rows of the tables ({', '.join(rows)}), got {unknown[0]!r}"
            )
    return cells


def _column_cells(settings: BenchmarkSettings, column: ColumnSettings) -> list[Cell]:
    given = {
        "scene": {"root": settings.root, **_with_root(column.scene, settings.root)},
        "split": {"kind": "0.1", **_with_root(column.split, settings.root)},
        "logger": settings.logger,
        "group": settings.title,
    }
    found = []
    for method in settings.methods:
        if column.methods is not None and method.name not in column.methods:
            continue
        named = {"method": method.method, "preset": method.preset or settings.preset}
        preset = read_preset(named["method"], named["preset"])
        control = method.control and not method.vary
        for seed, (row, _, changes) in product(
            column.seeds or method.seeds or settings.seeds, method.variants()
        ):
            cell = build_cell(
                row,
                column.name,
                preset,
                (settings.set, method.set, changes),
                {**given, **named, "seed": seed},
                control=control and settings.reference in (None, row, control_row(row)),
                pretraining_seed=settings.pretrainings and seed % settings.pretrainings,
            )
            found.append(cell)
    if settings.reference is not None:
        usual = {cell.digest(): cell for cell in found if cell.row == settings.reference}
        found = [cell for cell in found if usual.get(cell.digest(), cell) is cell]
    # what is compared seed by seed is then soon there to be compared
    return sorted(found, key=lambda cell: cell.seed)


def _check_changes(where: str, changes: Mapping[str, Any]) -> None:
    """Refuse changes of what is the same for all methods of a column and seed."""
    if wrong := sorted(set(changes) & set(GIVEN)):
        example = _example(wrong[0])
        how = f", in a plan such as columns: [{{{example}}}]" if example else ""
        if wrong[0] == "figures":
            how = "; runs draw figures where logger is wandb (--logger wandb)"
        if wrong[0] in ("cube", "labels"):
            how += "; without a plan: --cube FILE --labels FILE"
        raise ConfigurationError(
            f"{where} must not change {wrong[0]}: that is the benchmark's or its column's to say"
            + how
        )


def _example(key: str) -> str | None:
    """How a column says a setting of its scene or split."""
    return next((example for example, keys in OF_COLUMN.items() if key in keys), None)


def _column(column: Any) -> Any:
    """A column with its scene and split as settings."""
    if not isinstance(column, dict):
        raise ConfigurationError(
            f"columns must be mappings such as {{scene: salinas, split: 0.1}}, got {column!r}"
        )
    for key in column:
        if example := _example(key):
            raise ConfigurationError(
                f"{key} belongs into the column's {example.partition(':')[0]}, such as {example}"
            )
    scene, split = column.get("scene", "simulated"), column.get("split", "0.1")
    if isinstance(scene, dict):
        scene = {"name": "custom" if "cube" in scene else "simulated", **scene}
    return {
        **column,
        "scene": scene if isinstance(scene, dict) else {"name": str(scene)},
        "split": split if isinstance(split, dict) else {"kind": str(split)},
    }


def _with_seeds(plain: Any) -> Any:
    """Seeds 0 to N - 1 for a number N."""
    if not isinstance(plain, dict) or not isinstance(plain.get("seeds"), int):
        return plain
    return {**plain, "seeds": list(range(plain["seeds"]))}


def _with_root(value: Any, root: str) -> Any:
    """The folder of the scenes in all texts of a mapping or a list."""
    if isinstance(value, dict):
        return {key: _with_root(item, root) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_root(item, root) for item in value]
    return value.replace("{root}", root) if isinstance(value, str) else value


def _text(value: Any) -> str:
    """A value for people; a list of one as its only item."""
    if isinstance(value, list) and len(value) == 1:
        (value,) = value
    return str(value)
