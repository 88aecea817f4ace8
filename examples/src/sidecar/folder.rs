use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use agentkeys_core::{Random, Secret};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The token that an agent's SDK must send, in a file that only this user reads: mode 0600, in a folder of mode
/// 0700. The file has no trailing newline: an SDK sends it as it stands, and the one for Rust refuses a newline.
///
/// Both are removed when it is dropped.
#[derive(Debug)]
pub struct TokenFolder {
    folder: PathBuf,
    made: bool,
    token: Secret,
}

impl TokenFolder {
    /// A new token in `folder`, which is made; one that is there must be this user's and nobody else's, as one is
    /// that an earlier sidecar left behind.
    ///
    /// # Errors
    /// Where the folder is open to others, or the file cannot be written.
    pub fn create(folder: &Path, random: &dyn Random) -> io::Result<Self> {
        let made = match DirBuilder::new().mode(0o700).create(folder) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(error),
        };
        // a symbolic link is followed by nobody here
        let found = fs::symlink_metadata(folder)?;
        let own = found.uid() == rustix::process::geteuid().as_raw();
        if !found.is_dir() || !own || found.mode() & 0o077 != 0 {
            let text = "the folder of the token is not this user's alone (mode 0700)";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        let mut bytes = [0; TOKEN_BYTES];
        random.fill(&mut bytes).map_err(io::Error::other)?;
        let token = Secret::new(URL_SAFE_NO_PAD.encode(bytes));
        let written = Self { folder: folder.to_owned(), made, token };
        let beside = folder.join("token.new");
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(written.token.expose().as_bytes())?;
        fs::rename(&beside, written.file())?;
        Ok(written)
    }

    /// The token.
    #[must_use]
    pub const fn token(&self) -> &Secret {
        &self.token
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.folder.join("token")
    }
}

impl Drop for TokenFolder {
    fn drop(&mut self) {
        let _gone = fs::remove_file(self.file());
        if self.made {
            let _gone = fs::remove_dir(&self.folder);
        }
    }
}

/// 256 bits: nobody guesses it.
const TOKEN_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use agentkeys_core::SystemRandom;

    use super::*;

    fn place(name: &str) -> PathBuf {
        let place = std::env::temp_dir().join(format!("agentkeys-folder-{}-{name}", std::process::id()));
        let _gone = fs::remove_dir_all(&place);
        place
    }

    fn create(folder: &Path) -> io::Result<TokenFolder> {
        TokenFolder::create(folder, &SystemRandom::new())
    }

    #[test]
    fn the_token_is_one_line_without_an_end_that_only_its_user_reads() {
        let place = place("new");
        let folder = create(&place).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&place), mode(&folder.file())), (0o700, 0o600));
        let text = fs::read_to_string(folder.file()).unwrap();
        assert_eq!((text.as_str(), text.len()), (folder.token().expose().as_str(), 43));
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        assert!(!format!("{folder:?}").contains(&text));
        drop(folder);
        assert!(!place.exists());
    }

    #[test]
    fn a_folder_that_others_reach_is_refused() {
        for mode in [0o701, 0o710, 0o755, 0o770, 0o777] {
            let place = place("open");
            fs::create_dir(&place).unwrap();
            fs::set_permissions(&place, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(create(&place).unwrap_err().kind(), io::ErrorKind::PermissionDenied, "{mode:o}");
            assert_eq!(fs::read_dir(&place).unwrap().count(), 0);
            fs::remove_dir(&place).unwrap();
        }
        let (target, link) = (place("target"), place("link"));
        DirBuilder::new().mode(0o700).create(&target).unwrap();
        symlink(&target, &link).unwrap();
        assert_eq!(create(&link).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        fs::remove_file(&link).unwrap();
        fs::write(&link, "a file").unwrap();
        assert_eq!(create(&link).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert!(create(&target.join("no/such")).is_err());
        fs::remove_file(&link).unwrap();
        fs::remove_dir(&target).unwrap();
    }

    #[test]
    fn what_an_earlier_sidecar_left_is_replaced_and_an_open_file_in_it_is_not_kept() {
        let place = place("left");
        DirBuilder::new().mode(0o700).create(&place).unwrap();
        for name in ["token", "token.new"] {
            fs::write(place.join(name), "old").unwrap();
            fs::set_permissions(place.join(name), fs::Permissions::from_mode(0o666)).unwrap();
        }
        let folder = create(&place).unwrap();
        assert_eq!(fs::metadata(folder.file()).unwrap().mode() & 0o777, 0o600);
        assert_eq!(&fs::read_to_string(folder.file()).unwrap(), folder.token().expose());
        drop(folder);
        assert_eq!(fs::read_dir(&place).unwrap().count(), 0);
        fs::remove_dir(&place).unwrap();
    }
}
