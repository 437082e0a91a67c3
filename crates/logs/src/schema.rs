//! The file and what is in it. It is only an index: what cannot be used is put aside by making it anew.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

/// The layout that this release reads and writes. Any other is made anew from the topic.
pub(crate) const VERSION: i64 = 1;
/// Marks the file as ours: "prlg".
const APPLICATION: i64 = 0x7072_6c67;
/// How long to wait for a lock that somebody else holds, such as a person with a shell of SQLite.
const BUSY: Duration = Duration::from_secs(5);
/// Pages of the log before they are moved into the file: 64 MiB.
const CHECKPOINT_PAGES: u32 = 16_384;

const TABLES: &str = "
    CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
    -- Up to where each partition is indexed, and when the last record before that was published.
    CREATE TABLE partitions (
        partition INTEGER PRIMARY KEY, next INTEGER NOT NULL, timestamp INTEGER NOT NULL);
    -- What rows are filtered by; `last` is the newest row of each.
    CREATE TABLE facets (
        id INTEGER PRIMARY KEY, account TEXT NOT NULL, webhook TEXT NOT NULL, endpoint TEXT NOT NULL,
        event TEXT NOT NULL, result TEXT NOT NULL, retry INTEGER NOT NULL, status INTEGER NOT NULL,
        last INTEGER NOT NULL DEFAULT 0,
        UNIQUE (account, webhook, endpoint, event, result, retry, status));
    -- A row for each outcome, slim, so that many can be looked at. The key is made of the date: see `key`.
    CREATE TABLE outcomes (
        id INTEGER PRIMARY KEY, facet INTEGER NOT NULL, partition INTEGER NOT NULL, position INTEGER NOT NULL,
        spent INTEGER);
    CREATE INDEX by_facet ON outcomes (facet, id);
    CREATE UNIQUE INDEX by_position ON outcomes (partition, position);
    CREATE TABLE documents (id INTEGER PRIMARY KEY, document BLOB NOT NULL);
    CREATE TABLE terms (
        bucket INTEGER NOT NULL, term INTEGER NOT NULL, id INTEGER NOT NULL, facet INTEGER NOT NULL,
        PRIMARY KEY (bucket, term, id)) WITHOUT ROWID;
    -- Counts by hour and facet, with the times spent as a histogram.
    CREATE TABLE hours (
        hour INTEGER NOT NULL, facet INTEGER NOT NULL, count INTEGER NOT NULL, spent BLOB NOT NULL,
        PRIMARY KEY (hour, facet)) WITHOUT ROWID;
";

/// Why an index was made anew instead of being used.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum Unusable {
    /// SQLite cannot read it.
    #[error("the file is damaged: {0}")]
    Damaged(rusqlite::Error),
    /// It is somebody else's, and may be dear to them.
    #[error("the file is no index of postrider; it is kept beside it, with .not-an-index at the end of its name")]
    Foreign,
    /// Another release wrote it.
    #[error("the file has layout {0}, this release has {VERSION}")]
    Version(i64),
}

/// The index cannot be opened at all.
#[derive(Debug, thiserror::Error)]
#[error("{path} (admin.logs.path) cannot be opened or made: {why}")]
pub(crate) struct OpenError {
    path: PathBuf,
    why: rusqlite::Error,
}

/// Opens the index for writing, making it where there is none or none that can be used; and says why it had to be
/// made anew.
pub(crate) fn open(path: &Path) -> Result<(Connection, Option<Unusable>), OpenError> {
    let failed = |why| OpenError {
        path: path.to_owned(),
        why,
    };
    let unusable = match attempt(path) {
        Ok(connection) => return Ok((connection, None)),
        Err(Attempt::System(why)) => return Err(failed(why)),
        Err(Attempt::Unusable(_)) if !is_ours(path) => {
            put_aside(path).map_err(failed)?;
            Unusable::Foreign
        }
        Err(Attempt::Unusable(unusable)) => unusable,
    };
    remove(path);
    match attempt(path) {
        Ok(connection) => Ok((connection, Some(unusable))),
        Err(Attempt::System(why)) => Err(failed(why)),
        Err(Attempt::Unusable(_)) => Err(failed(rusqlite::Error::InvalidPath(path.to_owned()))),
    }
}

/// Whether a file's first bytes say that it is an index of ours, whatever became of the rest.
fn is_ours(path: &Path) -> bool {
    use std::io::Read as _;
    let mut head = [0; 72];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && head.starts_with(b"SQLite format 3\0") && head[68..] == APPLICATION.to_be_bytes()[4..]
}

fn put_aside(path: &Path) -> rusqlite::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".not-an-index");
    std::fs::rename(path, name).map_err(|_| rusqlite::Error::InvalidPath(path.to_owned()))
}

/// Removes the file and what SQLite keeps beside it.
pub(crate) fn remove(path: &Path) {
    for ending in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        // Whatever is still there is met when the file is opened again.
        let _ = std::fs::remove_file(name);
    }
}

/// Whether an error means that the file is broken, and not the system around it.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

/// Opens the index for reading.
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(32);
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", -16_384)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    Ok(connection)
}

enum Attempt {
    Unusable(Unusable),
    System(rusqlite::Error),
}

impl From<rusqlite::Error> for Attempt {
    fn from(error: rusqlite::Error) -> Self {
        if is_damage(&error) {
            Self::Unusable(Unusable::Damaged(error))
        } else {
            Self::System(error)
        }
    }
}

fn attempt(path: &Path) -> Result<Connection, Attempt> {
    make_private(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match (application, version, tables) {
        (APPLICATION, VERSION, _) => {}
        (0, 0, 0) => make(&connection)?,
        (APPLICATION, other, _) => return Err(Attempt::Unusable(Unusable::Version(other))),
        (..) => return Err(Attempt::Unusable(Unusable::Foreign)),
    }
    tune(&connection)?;
    Ok(connection)
}

/// Makes the file where there is none, for our eyes only: what SQLite keeps beside it gets the same rights.
fn make_private(path: &Path) {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    // What keeps it from being made is told by opening it.
    let _ = options.write(true).create_new(true).mode(0o600).open(path);
}

fn make(connection: &Connection) -> rusqlite::Result<()> {
    // Outside of the transaction, which it cannot be in.
    connection.pragma_update(None, "journal_mode", "wal")?;
    let transaction = connection.unchecked_transaction()?;
    connection.execute_batch(TABLES)?;
    connection.pragma_update(None, "application_id", APPLICATION)?;
    connection.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

fn tune(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "wal")?;
    // In WAL a crash of the machine may lose the last commits, offsets and rows together; they are read again.
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    connection.pragma_update(None, "cache_size", -65_536)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(())
}
