"""Change one part of DiffCRN at a time, and compare; see --help."""

import sys

from hsi_diffusion.benchmarks.command import ablate

if __name__ == "__main__":
    sys.exit(ablate())
