"""Print mean and standard deviation over the seeds of finished runs; see --help."""

import sys

from hsi_diffusion.benchmarks.summary import summarise

if __name__ == "__main__":
    sys.exit(summarise())
