"""What names may look like: as patterns, and as words for people."""

NAME = r"^[a-z0-9][a-z0-9_-]{0,62}$"
EXPERIMENT = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"  # of the environment
RULES = {
    NAME: "must be 1 to 63 of a-z, 0-9, - and _, and start with a letter or digit",
    EXPERIMENT: "must be 1 to 63 letters, digits, - and _, and start with a letter or digit",
    VARIABLE: "must be the name of an environment variable: letters, digits and _, no value",
}
