//! The file half of key rings. Unix only: it stands on modes, owners and hard links.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::{KeyRing, KeyRingError, MAX_KEY_FILE_BYTES, Purpose};
use crate::secret::Secret;

/// A ring in a file. Unix only. These functions wait for the disk: call them where blocking is allowed.
impl<P: Purpose> KeyRing<P> {
    /// Loads a key file; never makes one (R44). It must be a regular file, no symbolic link, of mode 0600
    /// or stricter, and belong to the user that this process runs as.
    ///
    /// # Errors
    /// [`KeyRingError`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self, KeyRingError> {
        Self::from_secret(&read(path.as_ref())?)
    }

    /// Writes the ring to a new file: whole, on the disk, readable by its owner alone, or not at all. Of
    /// several that try at once one wins.
    ///
    /// # Errors
    /// [`KeyRingError::Exists`] where anything has that name; what [`KeyRing::to_secret`] says.
    pub fn create(&self, path: impl AsRef<Path>) -> Result<(), KeyRingError> {
        let folder = Folder::lock(path.as_ref())?;
        let temporary = folder.write(&self.to_secret()?)?;
        // unlike a rename, a link never replaces what is there
        let linked = fs::hard_link(&temporary, path.as_ref());
        let removed = fs::remove_file(&temporary);
        linked.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => KeyRingError::Exists,
            _ => KeyRingError::Io(error),
        })?;
        removed.and_then(|()| folder.handle.sync_all()).map_err(KeyRingError::Io)
    }

    /// Rotates: loads the file, lets `step` answer the ring that follows, and replaces the file by it, at
    /// once and on the disk before this returns. One process at a time does so; others wait. Publish and
    /// sign with the answered ring only then.
    ///
    /// # Errors
    /// [`KeyRingError`], that of `step` too; the file is then what it was.
    pub fn update(
        path: impl AsRef<Path>,
        step: impl FnOnce(&Self) -> Result<Self, KeyRingError>,
    ) -> Result<Self, KeyRingError> {
        let folder = Folder::lock(path.as_ref())?;
        let ring = step(&Self::load(path.as_ref())?)?;
        let temporary = folder.write(&ring.to_secret()?)?;
        fs::rename(&temporary, path.as_ref()).map_err(KeyRingError::Io)?;
        folder.handle.sync_all().map_err(KeyRingError::Io)?;
        Ok(ring)
    }
}

fn read(path: &Path) -> Result<Secret<Vec<u8>>, KeyRingError> {
    // a FIFO must not make us wait for its writer
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| {
        match (error.kind(), error.raw_os_error()) {
            (io::ErrorKind::NotFound, _) => KeyRingError::Missing,
            (_, Some(code)) if code == rustix::io::Errno::LOOP.raw_os_error() => KeyRingError::NotAFile,
            _ => KeyRingError::Io(error),
        }
    })?;
    let metadata = file.metadata().map_err(KeyRingError::Io)?;
    if !metadata.is_file() {
        return Err(KeyRingError::NotAFile);
    }
    check(metadata.mode(), metadata.uid(), rustix::process::geteuid().as_raw())?;
    // room for all, so that no copy is left behind by growing
    let mut text = Vec::with_capacity(MAX_KEY_FILE_BYTES + 2);
    let limit = MAX_KEY_FILE_BYTES as u64 + 1;
    let outcome = file.take(limit).read_to_end(&mut text);
    let text = Secret::new(text);
    outcome.map_err(KeyRingError::Io)?;
    Ok(text)
}

/// Who may use a file of this mode and owner, for a process of this effective user.
const fn check(mode: u32, owner: u32, user: u32) -> Result<(), KeyRingError> {
    if owner != user {
        return Err(KeyRingError::Owner);
    }
    if mode & 0o077 != 0 { Err(KeyRingError::Permissions) } else { Ok(()) }
}

/// The folder of a key file, locked until dropped (a killed process holds no lock).
struct Folder {
    handle: File,
    temporary: PathBuf,
}

impl Folder {
    fn lock(path: &Path) -> Result<Self, KeyRingError> {
        let name = path.file_name().ok_or(KeyRingError::NotAFile)?;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(".new");
        let handle = File::open(folder).map_err(KeyRingError::Io)?;
        handle.lock().map_err(KeyRingError::Io)?;
        Ok(Self { handle, temporary: folder.join(hidden) })
    }

    /// A file beside the key file, whole and on the disk.
    fn write(&self, text: &Secret<Vec<u8>>) -> Result<PathBuf, KeyRingError> {
        let write = || {
            // left by somebody who was killed: whoever lives holds the lock
            match fs::remove_file(&self.temporary) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.temporary)?;
            file.write_all(text.expose())?;
            file.sync_all()
        };
        write().map_err(KeyRingError::Io)?;
        Ok(self.temporary.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w39_only_the_owner_may_use_a_key_file() {
        for good in [0o100_600, 0o100_400, 0o600] {
            assert!(check(good, 7, 7).is_ok(), "{good:o}");
        }
        for bad in [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o777] {
            assert!(matches!(check(bad, 7, 7), Err(KeyRingError::Permissions)), "{bad:o}");
        }
        for (owner, user) in [(0, 7), (7, 0), (8, 7)] {
            assert!(matches!(check(0o600, owner, user), Err(KeyRingError::Owner)));
        }
    }
}
