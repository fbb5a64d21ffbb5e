"""Labels as polygons and points: GeoPackage, GeoJSON, shapefile, and CSV."""

from __future__ import annotations

import codecs
import csv
import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from hsi_diffusion.errors import FileFormatError, MissingDependencyError, SceneError
from hsi_diffusion.scenes.gdal import GEO, in_other_system, require_rasterio
from hsi_diffusion.scenes.isolated import isolated
from hsi_diffusion.scenes.labels import warn_of_case
from hsi_diffusion.scenes.scene import shorten

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from hsi_diffusion.scenes.georeference import Georeference
    from hsi_diffusion.scenes.raster import Raster

VECTOR: Final = (".gpkg", ".geojson", ".json", ".shp", ".kml", ".fgb", ".gml")
_USUAL: Final = (
    "class_id",
    "classid",
    "class",
    "label",
    "labels",
    "code",
    "category",
    "class_name",
)
_PIXELS: Final = (("row", "column"), ("row", "col"), ("line", "sample"))
_PLACES: Final = (("y", "x"), ("northing", "easting"), ("lat", "lon"), ("latitude", "longitude"))


class Labels(NamedTuple):
    """A label map with what its file says of it.

    Attributes:
        values: Class values, int64, shape (H, W); 0 = unlabelled.
        names: Names of the values, as far as they have some.
        palette: Colours of the values, likewise.
        polygons: Number of each pixel's polygon from 1, int64, shape (H, W), 0 outside; None where
            the labels are no polygons.
    """

    values: NDArray[np.int64]
    names: dict[int, str]
    palette: dict[int, tuple[int, int, int]]
    polygons: NDArray[np.int64] | None = None


def is_vector(source: Any) -> bool:
    """Whether labels are a file of polygons or points."""
    return isinstance(source, str | Path) and Path(source).suffix.lower() in (*VECTOR, ".csv")


def read_vector(
    path: str | Path, image: Raster, attribute: str | None = None, *, classes: bool = True
) -> Labels:
    """Draw polygons and points into the pixels of an image.

    A pixel belongs to the polygon that holds its centre, and to the point that lies in it. Pixels
    that two classes claim are left unlabelled, with a warning, and shapes without a class are left
    out, with another; so are those of class 0, which is unlabelled in label maps too. Names are
    taken without blanks at their ends.

    Args:
        path: GeoPackage, GeoJSON, shapefile or the like, in any coordinate system; or CSV with a
            header line and columns row and column (from 0), x and y in the image's system, or lon
            and lat, as UTF-8, or UTF-16 with a byte order mark.
        image: The image; it needs coordinates unless the labels are pixels.
        attribute: The column that holds the class, numbers from 1 or names; needed where it is not
            clear.
        classes: False for a mask: every shape is 1, and no column is looked at.

    Raises:
        SceneError: Image and labels have no coordinates in common, or the column is not clear or
            holds no classes.
        FileFormatError: The file can't be read, or holds no shapes.
        MissingDependencyError: Polygons need the extra ``geo``.
    """
    path = Path(path)
    if path.suffix.lower() == ".csv":
        return _read_csv(path, image, attribute, classes=classes)
    reference = _reference(image, path)
    columns, outlines = _read_table(path, image.path, reference.crs)
    import shapely  # noqa: PLC0415  (an extra)

    shapes = shapely.from_wkb(outlines)
    places, numbers, names = _classes(path, columns if classes else len(shapes), attribute)
    shapes = shapes[places]
    values, polygons = _draw(path, image, reference, shapes.tolist(), numbers)
    areal = bool((shapely.area(shapes) > 0).any())
    return Labels(values, names, {}, polygons if areal else None)


@isolated
def _read_table(path: Path, image: Path, crs: str | None) -> tuple[dict[str, list[Any]], list[str]]:
    """Columns and shapes (hexadecimal WKB, in the system of an image) of a file, as plain data."""
    try:
        import geopandas  # noqa: PLC0415  (an extra)
        import pyogrio  # noqa: PLC0415
    except ImportError as error:
        raise MissingDependencyError(f"{path} needs pyogrio and geopandas; {GEO}") from error
    try:
        table = pyogrio.read_dataframe(path)
    except pyogrio.errors.DataSourceError as error:
        raise FileFormatError(f"can't read {path}: {error}") from error
    if not isinstance(table, geopandas.GeoDataFrame):  # a layer of attributes alone
        raise FileFormatError(
            f"{path} must hold polygons or points, got a table without shapes: "
            f"{', '.join(map(str, table.columns))}; export the layer that has them to a file"
        )
    if table.crs is not None and crs is not None:
        table = table.to_crs(crs)
    elif table.crs is not None or crs is not None:
        known = table.crs or table.set_crs(crs).crs
        unnamed, named = (path, image) if table.crs is None else (image, path)
        code = known.to_epsg()
        warnings.warn(
            f"{unnamed} names no coordinate system; that of {named} "
            f"({f'EPSG:{code}' if code else known.name}) is assumed",
            stacklevel=3,
        )
    table = table[~(table.geometry.is_empty | table.geometry.isna())]
    columns = table.drop(columns="geometry")
    missing = columns.isna()
    plain = {
        str(name): [
            None if gone else value if isinstance(value, bool | int | float) else str(value)
            for value, gone in zip(columns[name].tolist(), missing[name], strict=True)
        ]
        for name in columns
    }
    return plain, table.geometry.to_wkb(hex=True).tolist()


def _draw(
    path: Path, image: Raster, reference: Georeference, shapes: list[Any], classes: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    require_rasterio(str(path))
    from rasterio.features import rasterize  # noqa: PLC0415
    from rasterio.transform import Affine  # noqa: PLC0415

    size, affine = (image.height, image.width), Affine(*reference.transform)

    def drawn(order: Sequence[int]) -> NDArray[np.int64]:
        pairs = [(shapes[number], number + 1) for number in order]
        if not pairs:
            return np.zeros(size, dtype=np.int64)
        found = rasterize(pairs, size, transform=affine, fill=0, dtype="int32")
        return np.asarray(found, dtype=np.int64)

    # in the order of their classes, so that a pixel's first and last differ where any two do
    numbers = np.argsort(classes, kind="stable").tolist()
    last, first = drawn(numbers), drawn(numbers[::-1])
    lookup = np.concatenate([[0], classes])
    clash = lookup[last] != lookup[first]
    if not last.any():
        raise SceneError(
            f"none of the {len(shapes)} shapes of {path} covers the centre of a pixel of "
            f"{image.path}: check its coordinate system, and that it is drawn over this image"
        )
    if clash.any():
        warnings.warn(
            f"{path}: {int(clash.sum())} pixels lie in polygons of two classes and are left "
            "unlabelled",
            stacklevel=4,
        )
        last[clash] = 0
    return lookup[last], last


def _read_csv(path: Path, image: Raster, attribute: str | None, *, classes: bool) -> Labels:
    text = _text(path)
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows = list(reader)
    given = list(reader.fieldnames or []) if rows else []
    further = [cell for row in rows for cell in row.get(None, []) if cell.strip()]
    if further:
        raise FileFormatError(
            f"{path}: rows must have {len(given)} cells, as the header has, got further ones: "
            f"{shorten(further)}; put cells that hold a {delimiter!r} in quotation marks"
        )
    lower = {str(name).strip().lower(): name for name in given}
    pair = next((pair for pair in (*_PIXELS, *_PLACES) if set(pair) <= lower.keys()), None)
    if pair is None:
        raise FileFormatError(
            f"{path} must have a header line with row and column, x and y, or lon and lat, got "
            f"{', '.join(map(str, given)) or 'no rows'}"
        )
    rest = {name: [row[name] for row in rows] for key, name in lower.items() if key not in pair}
    places, numbers, names = _classes(path, rest if classes else len(rows), attribute)
    rows = [rows[place] for place in places]
    try:
        first, second = (np.array([float(row[lower[key]]) for row in rows]) for key in pair)
    except (TypeError, ValueError) as error:
        raise FileFormatError(f"{path}: {' and '.join(pair)} must be numbers: {error}") from error
    if pair not in _PIXELS:
        reference = _reference(image, path)
        if pair[0].startswith("lat") and reference.crs is not None:
            points = second, first, "EPSG:4326", reference.crs
            second, first = in_other_system(*points, f"points of {path}")
        first, second = reference.places(second, first)
    row, place = np.floor(first).astype(np.int64), np.floor(second).astype(np.int64)
    outside = (row < 0) | (row >= image.height) | (place < 0) | (place >= image.width)
    if outside.all():
        raise SceneError(f"none of the {len(rows)} points of {path} lies on {image.path}")
    if outside.any():
        warnings.warn(
            f"{path}: {int(outside.sum())} of {len(rows)} points lie outside the image and are "
            "left out",
            stacklevel=4,
        )
    values = np.zeros((image.height, image.width), dtype=np.int64)
    values[row[~outside], place[~outside]] = numbers[~outside]
    clash = values[row[~outside], place[~outside]] != numbers[~outside]
    if clash.any():
        raise SceneError(
            f"{path}: a pixel must have one class, got {int(clash.sum())} points beside one of "
            "another class in the same pixel"
        )
    return Labels(values, names, {})


def _text(path: Path) -> str:
    """The text of a file in UTF-8, or in UTF-16 where a byte order mark says so."""
    raw = path.read_bytes()
    marked = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return raw.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileFormatError(
            f"{path} must be text in UTF-8, got other bytes ({error}); save it as UTF-8, in Excel "
            "as 'CSV UTF-8 (comma delimited)'"
        ) from error


def _reference(image: Raster, path: Path) -> Georeference:
    if image.georeference is None:
        raise SceneError(
            f"{path} holds coordinates, but {image.path} has none: give an image with coordinates, "
            "or a label map of its pixels"
        )
    return image.georeference


def _column(path: Path, names: list[str], attribute: str | None) -> str:
    """The column that holds the class."""
    if attribute is not None:
        if attribute not in names:
            raise SceneError(
                f"label_attribute must be a column of {path}, {', '.join(names)}, got {attribute!r}"
            )
        return attribute
    usual = [name for key in _USUAL for name in names if str(name).lower() == key]
    if usual or len(names) == 1:
        return (usual or names)[0]
    raise SceneError(
        f"which column of {path} holds the class? Give label_attribute (--label_attribute), one of "
        f"{', '.join(names) or 'none'}"
    )


def _classes(
    path: Path, table: Mapping[str, list[Any]] | int, attribute: str | None
) -> tuple[list[int], NDArray[np.int64], dict[int, str]]:
    """Places of the shapes and points that have a class, their classes, and names of these.

    Where the table is only a number of shapes, all of them are of class 1.
    """
    if isinstance(table, int):
        return list(range(table)), np.ones(table, dtype=np.int64), {}
    column = _column(path, list(table), attribute)
    cells = table[column]
    # nan is what differs from itself
    kept = [
        place
        for place, cell in enumerate(cells)
        if cell is not None and cell == cell and str(cell).strip()  # noqa: PLR0124
    ]
    if not kept:
        raise SceneError(
            f"column {column!r} of {path} must hold classes, but all of its {len(cells)} cells are "
            "empty; give another label_attribute (--label_attribute)"
        )
    if len(kept) < len(cells):
        warnings.warn(
            f"{path}: {len(cells) - len(kept)} of {len(cells)} shapes or points have no class in "
            f"column {column!r} and are left out",
            stacklevel=4,
        )
    numbers, names = _numbered(path, column, [cells[place] for place in kept])
    kept = [place for place, number in zip(kept, numbers, strict=True) if number]
    numbers = numbers[numbers > 0]
    rest = {
        name: [cells[place] for place in kept] for name, cells in table.items() if name != column
    }
    return kept, numbers, names or _names_beside(numbers, rest)


def _names_beside(numbers: NDArray[np.int64], table: Mapping[str, list[Any]]) -> dict[int, str]:
    """Names of numbered classes from a usual column of texts that has one for each."""
    for column in (name for name in table if str(name).lower() in (*_USUAL, "name")):
        pairs = {
            (number, name.strip())
            for number, name in zip(numbers.tolist(), table[column], strict=True)
            if isinstance(name, str) and name.strip()
        }
        names = dict(pairs)
        if len(pairs) == len(set(names.values())) == len(set(numbers.tolist())):
            return names
    return {}


def _numbered(
    path: Path, column: str, found: list[Any]
) -> tuple[NDArray[np.int64], dict[int, str]]:
    """Class values, 0 for unlabelled, and their names where they are texts."""
    try:
        numbers = np.array([float(value) for value in found])
    except ValueError:
        texts = [str(value).strip() for value in found]
        names = sorted(set(texts))
        warn_of_case(names, f"column {column!r} of {path}")
        lookup = {name: value for value, name in enumerate(names, 1)}
        return np.array([lookup[text] for text in texts]), dict(enumerate(names, 1))
    wrong = numbers[(numbers != np.floor(numbers)) | (numbers < 0)]
    if len(wrong) or not numbers.any():
        raise SceneError(
            f"{path}: column {column!r} must hold names, or whole numbers from 1 (0 is "
            f"unlabelled), got {shorten(np.unique(wrong if len(wrong) else numbers).tolist())}"
        )
    return numbers.astype(np.int64), {}
