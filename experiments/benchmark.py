"""Compare methods on scenes and splits over seeds; see --help."""

import sys

from hsi_diffusion.benchmarks.command import benchmark

if __name__ == "__main__":
    sys.exit(benchmark())
