"""Where the scenes of the Basque Country's collection are published."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hsi_diffusion.scenes.info import SourceFile

if TYPE_CHECKING:
    from hsi_diffusion.scenes.info import FileRole

PAGE: Final = "https://www.ehu.eus/ccwintco/index.php/Hyperspectral_Remote_Sensing_Scenes"
NO_LICENCE_STATED: Final = "not stated with the files; ask the provider before passing them on"


def ehu_file(role: FileRole, path: str, *, mirror: str, sha256: str, size: int) -> SourceFile:
    """A file of the collection, with its mirror, since the first server is often down.

    ``path`` lies below the collection's folder of uploads; the mirror has names of its own for the
    scenes.
    """
    name = path.rpartition("/")[2]
    urls = (
        f"https://www.ehu.eus/ccwintco/uploads/{path}",
        f"https://huggingface.co/datasets/danaroth/{mirror}/resolve/main/{name}",
    )
    return SourceFile(name=name, urls=urls, sha256=sha256, size=size, role=role)
