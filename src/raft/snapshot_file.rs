//! The newest snapshot: one file, which has its name only when it is whole and on disk, or bytes in memory.

use super::openraft_types::{SnapshotMeta, TypeConfig};
use crate::defaults::RAFT_SNAPSHOT_MAX_BYTES;
use bytes::Bytes;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

const NAME: &str = "snapshot";
const DRAFT: &str = "snapshot.";

/// The name of a draft; dropping it removes a draft that was not kept.
#[derive(Debug)]
pub(crate) struct DraftName(PathBuf);

impl Drop for DraftName {
    fn drop(&mut self) {
        // The draft has its proper name by now, or stays until the next start removes it.
        let _ = std::fs::remove_file(&self.0);
    }
}

pub(crate) type Snapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotImage>;

/// The bytes of a snapshot. A file may have lost its name since; one that is not kept yet holds its draft's name.
#[derive(Debug)]
pub(crate) enum SnapshotImage {
    File { file: File, path: PathBuf, draft: Option<DraftName> },
    Memory(Bytes),
}

impl SnapshotImage {
    fn open(path: PathBuf, draft: Option<DraftName>) -> io::Result<SnapshotImage> {
        Ok(SnapshotImage::File { file: File::open(&path)?, path, draft })
    }

    pub(crate) fn len(&self) -> io::Result<u64> {
        match self {
            SnapshotImage::File { file, .. } => Ok(file.metadata()?.len()),
            SnapshotImage::Memory(bytes) => Ok(bytes.len() as u64),
        }
    }

    /// At most `count` bytes from `offset` on.
    pub(crate) fn part(&self, offset: u64, count: usize) -> io::Result<Bytes> {
        match self {
            SnapshotImage::File { file, .. } => {
                let mut part = Vec::with_capacity(count);
                let mut file = file;
                file.seek(SeekFrom::Start(offset))?;
                file.take(count as u64).read_to_end(&mut part)?;
                Ok(part.into())
            }
            SnapshotImage::Memory(bytes) => {
                let start = (offset as usize).min(bytes.len());
                Ok(bytes.slice(start..bytes.len().min(start + count)))
            }
        }
    }

    pub(crate) fn read<T>(&self, read: impl FnOnce(&mut dyn Read) -> T) -> io::Result<T> {
        match self {
            SnapshotImage::File { file, .. } => {
                let mut file = file;
                file.seek(SeekFrom::Start(0))?;
                Ok(read(&mut BufReader::new(file)))
            }
            SnapshotImage::Memory(bytes) => Ok(read(&mut Cursor::new(bytes))),
        }
    }
}

#[derive(Debug)]
pub(crate) enum Draft {
    File { file: BufWriter<File>, name: DraftName, written: u64 },
    Memory(Vec<u8>),
}

impl Draft {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Draft::File { written, .. } => *written,
            Draft::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// The whole draft, on disk when this returns.
    pub(crate) fn finish(self) -> io::Result<SnapshotImage> {
        match self {
            Draft::File { mut file, name, .. } => {
                file.flush()?;
                file.get_ref().sync_all()?;
                SnapshotImage::open(name.0.clone(), Some(name))
            }
            Draft::Memory(bytes) => Ok(SnapshotImage::Memory(bytes.into())),
        }
    }
}

impl Write for Draft {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.len().saturating_add(bytes.len() as u64) > RAFT_SNAPSHOT_MAX_BYTES {
            return Err(io::Error::other(format!("a snapshot may have {RAFT_SNAPSHOT_MAX_BYTES} bytes at most")));
        }
        match self {
            Draft::File { file, written, .. } => {
                let count = file.write(bytes)?;
                *written += count as u64;
                Ok(count)
            }
            Draft::Memory(all) => all.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Draft::File { file, .. } => file.flush(),
            Draft::Memory(_) => Ok(()),
        }
    }
}

/// The newest snapshot, shared by its builder, installer and sender; clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct SnapshotShelf {
    dir: Option<PathBuf>,
    drafts: Arc<AtomicU64>,
    /// The last failure to write a snapshot of this server's own, until one is written.
    failed: Arc<Mutex<Option<Instant>>>,
    /// The newest's bytes, known without its lock, which is held during writes to the disk.
    size: Arc<AtomicU64>,
    current: Arc<Mutex<Option<Newest>>>,
}

#[derive(Debug)]
struct Newest {
    meta: SnapshotMeta,
    /// The bytes themselves, without a directory.
    memory: Option<Bytes>,
}

impl SnapshotShelf {
    pub(crate) fn new(dir: Option<&Path>) -> SnapshotShelf {
        SnapshotShelf { dir: dir.map(Path::to_path_buf), ..SnapshotShelf::default() }
    }

    /// A shelf of its own for the same directory, to read the same snapshot twice.
    pub(crate) fn apart(&self) -> SnapshotShelf {
        SnapshotShelf::new(self.dir.as_deref())
    }

    /// The snapshot of a former run, for the state machine to read; then [`SnapshotShelf::found`]. Drafts are removed.
    pub(crate) fn left_behind(&self) -> io::Result<Option<SnapshotImage>> {
        let Some(dir) = &self.dir else { return Ok(None) };
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(DRAFT) {
                std::fs::remove_file(entry.path())?;
            }
        }
        match SnapshotImage::open(dir.join(NAME), None) {
            Ok(image) => Ok(Some(image)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn found(&self, meta: SnapshotMeta, size: u64) {
        self.size.store(size, Ordering::Release);
        *self.lock() = Some(Newest { meta, memory: None });
    }

    pub(crate) fn note(&self, written: bool) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = (!written).then(Instant::now);
    }

    /// Time since a snapshot could not be written, unless one was since.
    pub(crate) fn since_failure(&self) -> Option<Duration> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).map(|at| at.elapsed())
    }

    /// The newest's metadata. Waits while one is being kept.
    pub(crate) fn meta(&self) -> Option<SnapshotMeta> {
        self.lock().as_ref().map(|newest| newest.meta.clone())
    }

    /// The newest's size in bytes, 0 without one.
    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Newest>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new draft, under another name than one that is being installed.
    pub(crate) fn draft(&self) -> io::Result<Draft> {
        match &self.dir {
            Some(dir) => {
                let number = self.drafts.fetch_add(1, Ordering::Relaxed);
                let name = DraftName(dir.join(format!("{DRAFT}{number}")));
                Ok(Draft::File { file: BufWriter::new(File::create_new(&name.0)?), name, written: 0 })
            }
            None => Ok(Draft::Memory(Vec::new())),
        }
    }

    /// Makes `image` the newest; on disk when this returns, unless a newer one is there already.
    pub(crate) fn keep(&self, meta: &SnapshotMeta, image: SnapshotImage) -> io::Result<()> {
        let mut current = self.lock();
        if current.as_ref().is_some_and(|newest| newest.meta.last_log_id > meta.last_log_id) {
            return Ok(());
        }
        let size = image.len()?;
        let memory = match (image, &self.dir) {
            (SnapshotImage::Memory(bytes), _) => Some(bytes),
            (SnapshotImage::File { path, draft, .. }, Some(dir)) => {
                if path != dir.join(NAME) {
                    std::fs::rename(&path, dir.join(NAME))?;
                    File::open(dir)?.sync_all()?;
                }
                drop(draft);
                None
            }
            (SnapshotImage::File { .. }, None) => return Err(io::Error::other("a snapshot in a file, and no directory")),
        };
        self.size.store(size, Ordering::Release);
        *current = Some(Newest { meta: meta.clone(), memory });
        Ok(())
    }

    pub(crate) fn newest(&self) -> io::Result<Option<(SnapshotMeta, SnapshotImage)>> {
        let current = self.lock();
        let Some(newest) = current.as_ref() else { return Ok(None) };
        let image = match (&newest.memory, &self.dir) {
            (Some(bytes), _) => SnapshotImage::Memory(bytes.clone()),
            (None, Some(dir)) => SnapshotImage::open(dir.join(NAME), None)?,
            (None, None) => return Ok(None),
        };
        Ok(Some((newest.meta.clone(), image)))
    }
}
