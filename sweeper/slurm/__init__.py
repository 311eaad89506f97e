"""SLURM: the request for a job, the cluster's partitions, and the script of the job."""
