//! Files and directories for the agent's eyes only: keys, memberships, its log.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// Makes a directory that only its owner may enter, with those above it; one that is there stays as it is.
///
/// # Errors
///
/// As from `mkdir`.
#[cfg(unix)]
pub fn make_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes a directory that only the system, administrators and its owner may enter, with those above it; one that is there
/// stays as it is. What is made inside inherits that.
///
/// # Errors
///
/// As from `CreateDirectoryW`.
#[cfg(windows)]
pub fn make_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        std::fs::create_dir_all(above)?;
    }
    crate::windows::make_private_directory(path)
}

/// Opens a file by these options; one that is made is for its owner alone, on Windows as its directory is.
///
/// # Errors
///
/// As from `open`.
pub fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options.open(path)
}

/// Makes sure that a file which may have been there before is for its owner alone.
///
/// # Errors
///
/// As from `chmod`.
pub fn restrict(file: &File) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    }
    #[cfg(windows)]
    let _ = file;
    Ok(())
}

/// Makes what was renamed in a directory outlive a loss of power.
///
/// # Errors
///
/// As from `fsync`.
pub fn keep_names(directory: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(directory)?.sync_all()?;
    // NTFS keeps a journal of names by itself.
    #[cfg(windows)]
    let _ = directory;
    Ok(())
}
