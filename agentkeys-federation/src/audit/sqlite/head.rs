use std::fs::{File, OpenOptions, TryLockError};
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use super::AuditStoreError;
use crate::audit::chain::{ChainError, ChainHead};

/// The chain's head beside the database, one line within one sector, and the lock of the one who writes.
#[derive(Debug)]
pub(super) struct HeadFile {
    file: File,
    synced: u64,
}

impl HeadFile {
    pub(super) fn create(path: &Path) -> Result<Self, AuditStoreError> {
        let file = create_private(path)?;
        lock(&file)?;
        let mut head = Self { file, synced: 0 };
        head.write(&ChainHead::EMPTY).and_then(|()| head.sync()).map_err(AuditStoreError::Io)?;
        Ok(head)
    }

    pub(super) fn open(path: &Path) -> Result<(Self, ChainHead), AuditStoreError> {
        let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(AuditStoreError::Io)?;
        check_private(&file)?;
        lock(&file)?;
        let head = read(&mut file)?;
        Ok((Self { file, synced: head.count() }, head))
    }

    /// Writes the head where other processes see it; every [`SYNC_EVERY`] rows it is made durable as well.
    pub(super) fn write(&mut self, head: &ChainHead) -> std::io::Result<()> {
        let line = format!("{:<width$}\n", head.to_string(), width = WIDTH - 1);
        write_at_start(&mut self.file, line.as_bytes())?;
        if head.count().saturating_sub(self.synced) >= SYNC_EVERY {
            self.sync()?;
            self.synced = head.count();
        }
        Ok(())
    }

    pub(super) fn sync(&self) -> std::io::Result<()> {
        self.file.sync_data()
    }
}

#[cfg(unix)]
fn write_at_start(file: &mut File, bytes: &[u8]) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, 0)
}

#[cfg(not(unix))]
fn write_at_start(file: &mut File, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::{Seek as _, Write as _};
    file.rewind()?;
    file.write_all(bytes)
}

/// The head in a file: one line of [`WIDTH`] bytes and nothing else.
fn read(file: &mut File) -> Result<ChainHead, AuditStoreError> {
    let mut line = Vec::new();
    file.take(WIDTH as u64 + 1).read_to_end(&mut line).map_err(AuditStoreError::Io)?;
    let line = std::str::from_utf8(&line).ok().filter(|line| line.len() == WIDTH);
    let line = line.and_then(|line| line.strip_suffix('\n')).ok_or(ChainError::HeadText)?;
    Ok(line.trim_end_matches(' ').parse::<ChainHead>()?)
}

/// A process that this one is just starting has all of its files until it becomes another program, and with
/// them a lock that was let go here: it is waited for.
fn lock(file: &File) -> Result<(), AuditStoreError> {
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(AuditStoreError::Io(error)),
        }
    }
    Err(AuditStoreError::Locked)
}

/// A new file that is its owner's alone.
pub(super) fn create_private(path: &Path) -> Result<File, AuditStoreError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(AuditStoreError::Io)
}

/// Refuses a file that others than its owner may read or write.
pub(super) fn check_private(file: &File) -> Result<(), AuditStoreError> {
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::MetadataExt::mode(&file.metadata().map_err(AuditStoreError::Io)?);
        if mode & 0o077 != 0 {
            return Err(AuditStoreError::Mode);
        }
    }
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}

/// `ak-audit-1`, the longest count, 64 digits and the spaces between them.
const WIDTH: usize = 128;

/// Half a second together.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// So many rows may be without a durable head.
const SYNC_EVERY: u64 = 1024;
