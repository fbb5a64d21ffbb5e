"""Many runs: plans of methods on scenes and splits, run here or on a Dask cluster, and tables.

Names are imported from the modules, so that a worker loads no more than its task needs.
"""
