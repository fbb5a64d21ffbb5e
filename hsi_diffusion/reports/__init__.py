"""Reports: figures, tables and the report of a run, from plain arrays and dicts."""

from hsi_diffusion.reports.comparison import (
    Measurement,
    comparison_table,
    measurements_csv,
    per_class_csv,
    spread,
)
from hsi_diffusion.reports.confusion import confusion_matrix
from hsi_diffusion.reports.differences import differences_figure
from hsi_diffusion.reports.figures import save_both, save_figure
from hsi_diffusion.reports.gallery import compared_maps, map_gallery
from hsi_diffusion.reports.images import false_colour_image, label_image
from hsi_diffusion.reports.maps import (
    classification_map,
    false_colour,
    split_map,
)
from hsi_diffusion.reports.papers import grid_table, paper_table
from hsi_diffusion.reports.reading import read_measurements
from hsi_diffusion.reports.reconstructions import (
    reconstruction_images,
    reconstruction_spectra,
)
from hsi_diffusion.reports.report import (
    IMAGES,
    CandidateReport,
    ChoiceReport,
    RunReport,
    SplitReport,
    write_report,
)
from hsi_diffusion.reports.significance import PairedTest, paired, significance_table, verdicts
from hsi_diffusion.reports.spectra import (
    class_spectra,
    embedding,
    feature_maps,
    learning_curves,
)
from hsi_diffusion.reports.tables import (
    TRAINING_ACCURACY,
    UNSEEN_FIELDS,
    TextTable,
    class_table,
    results_table,
)
from hsi_diffusion.reports.timesteps import timestep_map, timestep_table

__all__ = [
    "IMAGES",
    "TRAINING_ACCURACY",
    "UNSEEN_FIELDS",
    "CandidateReport",
    "ChoiceReport",
    "Measurement",
    "PairedTest",
    "RunReport",
    "SplitReport",
    "TextTable",
    "class_spectra",
    "class_table",
    "classification_map",
    "compared_maps",
    "comparison_table",
    "confusion_matrix",
    "differences_figure",
    "embedding",
    "false_colour",
    "false_colour_image",
    "feature_maps",
    "grid_table",
    "label_image",
    "learning_curves",
    "map_gallery",
    "measurements_csv",
    "paired",
    "paper_table",
    "per_class_csv",
    "read_measurements",
    "reconstruction_images",
    "reconstruction_spectra",
    "results_table",
    "save_both",
    "save_figure",
    "significance_table",
    "split_map",
    "spread",
    "timestep_map",
    "timestep_table",
    "verdicts",
    "write_report",
]
