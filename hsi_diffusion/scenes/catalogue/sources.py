"""Where the scenes of the Basque Country's collection are published."""

from __future__ import annotations

from typing import Final

EHU: Final = "https://www.ehu.eus/ccwintco/uploads"
EHU_PAGE: Final = "https://www.ehu.eus/ccwintco/index.php/Hyperspectral_Remote_Sensing_Scenes"

# the first server is often down
MIRROR: Final = "https://huggingface.co/datasets/danaroth"

NO_LICENCE_STATED: Final = "not stated with the files; ask the provider before passing them on"
