"""From a scene to its map: pretrain without labels, classify with few, and compare with raw bands.

With no options it simulates a scene and needs neither data nor network (2 minutes on 2 cores).
The same as `hsi-diffusion run`.
"""

import sys

from hsi_diffusion.run_command import run_main

if __name__ == "__main__":
    sys.exit(run_main(prog="python experiments/run.py"))
