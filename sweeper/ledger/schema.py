"""The ledger's tables. `events` is append-only history; the others hold the state it leads to."""

from sqlalchemy import (
    JSON,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

SCHEMA_VERSION = 1

metadata = MetaData()

versions = Table("sweeper_schema", metadata, Column("version", Integer, primary_key=True))

sweeps = Table(
    "sweeps",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("experiment", String(250), nullable=False),
    Column("resolved", JSON, nullable=False),
    Column("config_hash", String(64), nullable=False),
    Column("profile", String(63), nullable=False),
    Column("text", Text, nullable=False),
    Column("state", String(20), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("provenance", JSON, nullable=False),
)

studies = Table(
    "studies",
    metadata,
    Column("sweep", String(63), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("method", String(63), nullable=False),
    Column("task", String(120), nullable=False),
    Column("objective", String(120), nullable=False),
    Column("seed", Integer, nullable=False),
    Column("facts", JSON, nullable=False),  # baselines, data source, hashes: known once data are
)

trials = Table(
    "trials",
    metadata,
    Column("sweep", String(63), primary_key=True),
    Column("study", String(200), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("params", JSON, nullable=False),
    Column("sampled", JSON, nullable=False),
    Column("seed", String(20), nullable=False),  # 63 bits, more than a JSON number keeps
    Column("state", String(20), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("value", Float),
    Column("best_epoch", Integer),
    Column("test", JSON, nullable=False),
    Column("checkpoint", Text),
    Column("failure", String(40)),
    Column("reason", Text),
)

events = Table(
    "events",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("sweep", String(63), nullable=False),
    Column("at", Float, nullable=False),
    Column("kind", String(30), nullable=False),
    Column("study", String(200)),
    Column("number", Integer),
    Column("attempt", Integer),
    Column("payload", JSON, nullable=False),
    Index("events_of_a_trial", "sweep", "study", "number"),
    Index("events_of_a_sweep", "sweep", "seq"),
    sqlite_autoincrement=True,
)

mirrors = Table(  # what a recorder has shipped elsewhere: its cursor, and the ids it was given
    "mirrors",
    metadata,
    Column("sweep", String(63), primary_key=True),
    Column("recorder", String(200), primary_key=True),
    Column("entity", String(300), primary_key=True),  # "cursor", "sweep", "study/…", "trial/…/3"
    Column("ref", String(300), nullable=False),
)
