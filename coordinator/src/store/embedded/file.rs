//! The database file (or memory): opened, closed after an error, opened again.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use parking_lot::RwLock;
use redb::backends::{FileBackend, InMemoryBackend};
use redb::{Database, DatabaseError, ReadTransaction, ReadableDatabase, ReadableTable, StorageBackend};

use super::counter::Counters;
use super::failure::{Failure, OpenError};
use super::table::Tables;
use super::{clock, code, key};

/// Bytes of pages that the database keeps in memory.
const CACHE_BYTES: usize = 64 * 1024 * 1024;

/// Where the bytes are.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// Nowhere: gone with the process.
    Memory,
    /// In a file.
    File(PathBuf),
}

/// Puts something between the database and its file; tests let it fail.
pub(crate) type Wrap = Box<dyn Fn(FileBackend) -> Box<dyn StorageBackend> + Send + Sync>;

/// A database that may be closed for a while.
pub(crate) struct DatabaseFile {
    place: Place,
    name: String,
    wrap: Wrap,
    open: RwLock<Option<Database>>,
}

impl DatabaseFile {
    /// Opens or makes the database.
    pub(crate) fn open(place: Place, wrap: Wrap) -> Result<Self, OpenError> {
        let name = match &place {
            Place::Memory => "in memory".into(),
            Place::File(path) => path.display().to_string(),
        };
        let file = Self { place, name, wrap, open: RwLock::new(None) };
        let path = file.path();
        let database = file.connect()?;
        make_tables(&database)
            .map_err(|error| OpenError::Unusable { path, reason: Failure::database(&file.name, &error).to_string() })?;
        *file.open.write() = Some(database);
        Ok(file)
    }

    /// What the database is called in messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// False from an error until [`DatabaseFile::reopen`].
    pub(crate) fn is_open(&self) -> bool {
        self.open.read().is_some()
    }

    /// Opens the file again after an error. A database in memory cannot be had back.
    pub(crate) fn reopen(&self) -> Result<(), Failure> {
        match self.place {
            Place::Memory => Err(Failure::closed()),
            Place::File(_) => {
                let database = self.connect().map_err(|e| Failure::database(&self.name, &reason_of(e)))?;
                *self.open.write() = Some(database);
                tracing::info!(database = self.name, "opened again");
                Ok(())
            }
        }
    }

    /// Reads from a state that does not change meanwhile.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>) -> Result<T, Failure> {
        let transaction = {
            let open = self.open.read();
            let database = open.as_ref().ok_or_else(Failure::closed)?;
            database.begin_read().map_err(|e| Failure::database(&self.name, &e.into()))?
        };
        read(&transaction).map_err(|error| {
            if matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo) {
                drop(self.open.write().take());
            }
            Failure::database(&self.name, &error)
        })
    }

    /// Writes; closes the database after an error, since it may not be written again before it was opened anew.
    pub(crate) fn write(&self, write: impl FnOnce(&Database) -> Result<(), redb::Error>) -> Result<(), Failure> {
        let outcome = match self.open.read().as_ref() {
            Some(database) => write(database),
            None => return Err(Failure::closed()),
        };
        outcome.map_err(|error| {
            drop(self.open.write().take());
            Failure::database(&self.name, &error)
        })
    }

    fn path(&self) -> PathBuf {
        match &self.place {
            Place::Memory => PathBuf::from("memory"),
            Place::File(path) => path.clone(),
        }
    }

    fn connect(&self) -> Result<Database, OpenError> {
        let path = self.path();
        let unusable = |reason: String| OpenError::Unusable { path: path.clone(), reason };
        let backend: Box<dyn StorageBackend> = match &self.place {
            Place::Memory => Box::new(InMemoryBackend::new()),
            Place::File(path) => {
                let file = make_file(path).map_err(|e| unusable(e.to_string()))?;
                let backend = FileBackend::new(file).map_err(|e| refused(path, e))?;
                (self.wrap)(backend)
            }
        };
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        builder.create_with_backend(Backend(backend)).map_err(|e| refused(&path, e))
    }
}

fn refused(path: &Path, error: DatabaseError) -> OpenError {
    let path = path.to_path_buf();
    if matches!(error, DatabaseError::DatabaseAlreadyOpen) {
        OpenError::InUse { path }
    } else {
        OpenError::Unusable { path, reason: error.to_string() }
    }
}

fn reason_of(error: OpenError) -> redb::Error {
    match error {
        OpenError::InUse { .. } => redb::Error::DatabaseAlreadyOpen,
        OpenError::Unusable { reason, .. } => redb::Error::Io(std::io::Error::other(reason)),
    }
}

/// Opens the file; a new one is a safe entry of its folder before anything is promised.
fn make_file(path: &Path) -> std::io::Result<File> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(file)
}

/// Makes all tables and the identity, so that readers find them.
fn make_tables(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut counters = Counters::default();
        let mut tables = Tables::open(&transaction, &mut counters, clock::now())?;
        let known = tables.misc.get(key::misc::IDENTITY)?.is_some();
        if !known {
            let identity = code::write("the identity", &uuid::Uuid::new_v4().to_string())?;
            tables.misc.insert(key::misc::IDENTITY, identity.as_slice())?;
        }
    }
    transaction.commit()?;
    Ok(())
}

/// A boxed backend, since the database takes only sized ones.
#[derive(Debug)]
struct Backend(Box<dyn StorageBackend>);

impl StorageBackend for Backend {
    fn len(&self) -> std::io::Result<u64> {
        self.0.len()
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.0.read(offset, out)
    }
    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> std::io::Result<()> {
        self.0.sync_data()
    }
    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        self.0.write(offset, data)
    }
    fn close(&self) -> std::io::Result<()> {
        self.0.close()
    }
}
