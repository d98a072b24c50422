//! The coordinator's secrets on disk.
//!
//! `identity.key` is what join strings pin: who has it is the coordinator. `fleet.key` seals tickets and tokens,
//! hashes one-time codes, and lets services on several machines trust each other. Both are files of 43 characters
//! that only their owner may read; a file that others may read is refused, because it is a secret no more.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::Context;
use data_encoding::BASE64URL_NOPAD;
use lanyard_wire::keys::{SecretKey, SymmetricKey, derive_key};
use zeroize::Zeroizing;

use crate::problem::Problem;

/// File of the identity key inside the data directory.
pub const IDENTITY_FILE: &str = "identity.key";

/// File of the fleet key inside the data directory.
pub const FLEET_FILE: &str = "fleet.key";

/// Reads the coordinator's identity.
///
/// # Errors
/// When the file is missing, readable by others, or not a key.
pub fn read_identity(dir: &Path) -> anyhow::Result<SecretKey> {
    read(&dir.join(IDENTITY_FILE)).map(|bytes| SecretKey::from_bytes(*bytes))
}

/// Reads the fleet key.
///
/// # Errors
/// When the file is missing, readable by others, or not a key.
pub fn read_fleet(dir: &Path) -> anyhow::Result<SymmetricKey> {
    read(&dir.join(FLEET_FILE)).map(|bytes| SymmetricKey::from_bytes(*bytes))
}

/// The identity of a process that runs services but not the checkpoint.
///
/// It follows from the fleet key and the process's name, so the checkpoint knows its public half without being told,
/// and a machine that only relays need not hold the key that join strings pin.
#[must_use]
pub fn outpost_identity(fleet: &SymmetricKey, name: &str) -> SecretKey {
    SecretKey::from_bytes(*derive_key(fleet, b"lanyard outpost", &[name.as_bytes()]).as_bytes())
}

/// Draws a secret and writes it to a file that must not exist yet.
///
/// # Errors
/// When the file exists or cannot be written, or there is no randomness.
pub fn create(path: &Path) -> anyhow::Result<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut()).map_err(|error| {
        Problem::new("system.randomness", format!("the operating system gives no random numbers: {error}"))
    })?;
    let text = Zeroizing::new(BASE64URL_NOPAD.encode(bytes.as_ref()) + "\n");
    write_private(path, text.as_bytes())?;
    Ok(bytes)
}

/// Writes a new file that only its owner may read, down to the disk.
///
/// # Errors
/// When the file exists or cannot be written.
pub fn write_private(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let mut file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("create {}", path.display()))?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half a key must not look like one to the next run.
        let _ = std::fs::remove_file(path);
    }
    written.with_context(|| format!("write {}", path.display()))
}

/// Makes a directory that only its owner may enter, or closes an existing one to others.
///
/// # Errors
/// When it cannot be made or changed.
pub fn create_private_dir(path: &Path) -> anyhow::Result<()> {
    if path.is_dir() {
        return std::fs::set_permissions(path, Permissions::from_mode(0o700))
            .with_context(|| format!("close {} to other users", path.display()));
    }
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("create the directory {}", path.display()))
}

/// Refuses a file or directory that anybody but its owner may use.
///
/// # Errors
/// [`Problem`] `keys.open_to_others`.
pub fn check_private(path: &Path) -> anyhow::Result<()> {
    let mode =
        std::fs::metadata(path).with_context(|| format!("look at {}", path.display()))?.permissions().mode();
    if mode & 0o077 != 0 {
        let text = format!(
            "{} is open to other users (mode {:o}): run \"chmod go= {}\", and if somebody may have read a key, see \
             docs/operations.md, \"Keys\"",
            path.display(),
            mode & 0o777,
            path.display()
        );
        return Err(Problem::new("keys.open_to_others", text).into());
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Zeroizing<[u8; 32]>> {
    let text = match std::fs::read(path) {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let text = format!(
                "there is no {}: run \"lanyard-server init\" first, or copy the file from the coordinator's data \
                 directory",
                path.display()
            );
            return Err(Problem::new("keys.missing", text).into());
        }
        Err(error) => {
            let text = format!(
                "{} cannot be read ({error}): run this as the user who owns the data directory",
                path.display()
            );
            return Err(Problem::new("keys.unreadable", text).into());
        }
    };
    check_private(path)?;
    let decoded = BASE64URL_NOPAD.decode(text.trim_ascii()).ok().map(Zeroizing::new);
    let bytes: Option<[u8; 32]> = decoded.and_then(|bytes| bytes.as_slice().try_into().ok());
    bytes.map(Zeroizing::new).ok_or_else(|| {
        let text = format!("{} is damaged: put it back from a backup; nothing was changed", path.display());
        Problem::new("keys.damaged", text).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::code_of;

    #[test]
    fn a_secret_survives_the_disk_and_only_its_owner_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FLEET_FILE);
        let written = create(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read_fleet(dir.path()).unwrap(), SymmetricKey::from_bytes(*written));
    }

    #[test]
    fn a_secret_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FLEET_FILE);
        let first = create(&path).unwrap();
        create(&path).unwrap_err();
        assert_eq!(read_fleet(dir.path()).unwrap(), SymmetricKey::from_bytes(*first));
    }

    #[test]
    fn missing_open_and_damaged_files_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FLEET_FILE);
        assert_eq!(code_of(&read_fleet(dir.path()).unwrap_err()), "keys.missing");
        create(&path).unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let error = read_fleet(dir.path()).unwrap_err();
        assert_eq!(code_of(&error), "keys.open_to_others");
        assert!(error.to_string().contains("chmod"), "{error}");
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "short").unwrap();
        assert_eq!(code_of(&read_fleet(dir.path()).unwrap_err()), "keys.damaged");
    }

    #[test]
    fn outposts_of_different_names_have_different_identities() {
        let fleet = SymmetricKey::from_bytes([3; 32]);
        let key = |name| outpost_identity(&fleet, name).public();
        assert_eq!(key("relay-2"), key("relay-2"));
        assert_ne!(key("relay-2"), key("relay-3"));
    }
}
