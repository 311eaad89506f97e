"""The ledger's tables. `events` is the append-only history; the others have the state."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

SCHEMA_VERSION = 7  # a ledger of another version is refused

# A CRC-32 has no sign, so that the Integer of PostgreSQL is too small for it.
CHECKSUM = "checksum"  # column of each table in SEALED: `rows.sealed`

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
    Column(CHECKSUM, BigInteger, nullable=False),
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
    Column("seed", BigInteger, nullable=False),
    Column("facts", JSON, nullable=False),  # baselines, data source, hashes
    Column("sampler_state", JSON, nullable=False),  # `SamplerState`
    Column(CHECKSUM, BigInteger, nullable=False),
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
    Column("seed", String(20), nullable=False),  # 63 bits, too many for a JSON number
    Column("state", String(20), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("uncounted", Integer, nullable=False, default=0),
    Column("forgiven", Integer, nullable=False, default=0),
    Column("halvings", Integer, nullable=False, default=0),
    Column("value", Float),
    Column("best_epoch", Integer),
    Column("test", JSON, nullable=False),
    Column("checkpoint", Text),  # name (`checkpoint_name`)
    Column("failure", String(40)),
    Column("reason", Text),
    Column("origin", Integer),
    Column("sampler_state", JSON, nullable=False),  # `SamplerState`
    Column(CHECKSUM, BigInteger, nullable=False),
)

# With `sqlite_autoincrement` no number of a deleted row, which a cursor has passed, comes again.
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
    Column(CHECKSUM, BigInteger, nullable=False),
    Index("events_of_a_trial", "sweep", "study", "number"),
    Index("events_of_a_sweep", "sweep", "seq"),
    sqlite_autoincrement=True,
)

mirrors = Table(  # state of recorders: cursors, and ids of shipped entities
    "mirrors",
    metadata,
    Column("sweep", String(63), primary_key=True),
    Column("recorder", String(200), primary_key=True),
    Column("entity", String(300), primary_key=True),  # "cursor", "sweep", "study/…", "trial/…/3"
    Column("ref", Text, nullable=False),
    Column(CHECKSUM, BigInteger, nullable=False),
)

leases = Table(  # drivers of sweeps; `last_write` is the mark of the last commit
    "leases",
    metadata,
    Column("sweep", String(63), primary_key=True),
    Column("owner", String(32)),  # None: nobody
    Column("place", String(120)),  # the kernel in which `pid` is valid
    Column("host", String(255)),
    Column("pid", Integer),
    Column("started", Float),  # `lease.start_of(pid)`, since process ids are reused
    Column("since", Float),  # by the database's clock, like `renewed`
    Column("renewed", Float),
    Column("last_write", String(32)),
)

requests = Table(  # requests of users about a sweep or one of its trials, from any terminal
    "requests",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("sweep", String(63), nullable=False),
    Column("kind", String(20), nullable=False),  # a RequestKind
    Column("at", Float, nullable=False),
    Column("by", String(255), nullable=False),
    Column("study", String(200)),  # None: about the sweep
    Column("number", Integer),  # of the trial; None until a suggestion is one
    Column("planned", JSON),  # of a suggestion: `Suggestion`
    Column("state", String(20), nullable=False, default="open"),  # a RequestState
    Column("answer", Text),
    Index("requests_of_a_sweep", "sweep", "id"),
    sqlite_autoincrement=True,
)

labels = Table(  # tags of users on a sweep
    "labels",
    metadata,
    Column("sweep", String(63), primary_key=True),
    Column("name", String(63), primary_key=True),
    Column("value", Text, nullable=False),
    Column(CHECKSUM, BigInteger, nullable=False),
)

remarks = Table(  # notes of users about a sweep
    "remarks",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("sweep", String(63), nullable=False),
    Column("at", Float, nullable=False),
    Column("by", String(255), nullable=False),
    Column("text", Text, nullable=False),
    Column(CHECKSUM, BigInteger, nullable=False),
    Index("remarks_of_a_sweep", "sweep", "id"),
    sqlite_autoincrement=True,
)

SEALED = (sweeps, studies, trials, events, mirrors, labels, remarks)
