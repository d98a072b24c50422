//! What survives a restart: keys, memberships, and what is known of the peers.
//!
//! The state directory (0700) holds `keys.json`, written once, and `state.json`, written often: losing the
//! second costs joining again, losing the first makes this another device. Each write goes to a temporary
//! file that is synced and renamed, so a crash leaves the old or the new file, never half of one. A file
//! that cannot be understood is never overwritten: the agent refuses to start and says what to do, or sets
//! it aside when told so. The directory is locked while an agent runs.

mod cache;
pub mod private;
mod text;
mod writer;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lanyard_proto::device::DeviceCache;
use lanyard_wire::ids::DeviceId;
use lanyard_wire::keys::{PublicKey, SecretKey};
use lanyard_wire::limits::WEB_PORT;
use lanyard_wire::names::DeviceName;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::exit::{Code, Problem};
use text::{Secret, Text};

pub use writer::Writer;

/// The format of both files; a larger number was written by a newer release.
const VERSION: u32 = 1;

const KEYS: &str = "keys.json";
const STATE: &str = "state.json";
const LOCK: &str = "lock";

/// What to do with a file that cannot be understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damaged {
    /// Refuse to start; the file stays as it is.
    Refuse,
    /// Rename it to `NAME.broken` and start without it.
    SetAside,
}

/// The two secrets of a device.
#[derive(Debug)]
pub struct Keys {
    /// The long-lived identity; its public half names the device.
    pub identity: SecretKey,
    /// The WireGuard key.
    pub wireguard: SecretKey,
}

/// Everything else.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// How often the agent has been started.
    pub boot: u64,
    /// The UDP port used last; 0 = never bound.
    pub port: u16,
    /// `lanyard down` was said, and not `lanyard up` since.
    pub down: bool,
    /// The name given with the newest `join --name`.
    pub name: Option<DeviceName>,
    /// Where coordinators are found by name.
    pub hosts: Vec<Host>,
    /// Devices this one refuses.
    pub refused: Vec<DeviceId>,
    /// What the device machine wants to find again. Shared, because a copy for the disk would take as much again for each member.
    pub cache: Arc<DeviceCache>,
}

/// Where one coordinator is found, as its join string said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its identity key.
    pub key: PublicKey,
    /// Host name or address.
    pub name: String,
    /// UDP port.
    pub port: u16,
    /// TCP port of its door.
    pub door: u16,
}

/// The state directory, locked by this process.
#[derive(Debug)]
pub struct Store {
    directory: PathBuf,
    _lock: File,
}

impl Store {
    /// Opens and locks the directory and reads or creates what is in it.
    ///
    /// # Errors
    ///
    /// The directory cannot be used, another agent holds it, or a file cannot be understood.
    pub fn open(directory: &Path, damaged: Damaged) -> Result<(Self, Keys, State), Problem> {
        let lock = lock(directory)?;
        let store = Self { directory: directory.to_owned(), _lock: lock };

        let keys = match store.read::<KeysFile>(KEYS, damaged, "this becomes a new device")? {
            Some(file) => Keys { identity: file.identity.into_key(), wireguard: file.wireguard.into_key() },
            None => store.create_keys()?,
        };
        let state = store
            .read::<StateFile>(STATE, damaged, "join its networks again; the device stays the same")?
            .map(State::from)
            .unwrap_or_default();
        Ok((store, keys, state))
    }

    /// Replaces the saved state; returns when it is on the disk.
    ///
    /// # Errors
    ///
    /// The file cannot be written; the old one is still there.
    pub fn save(&self, state: &State) -> Result<(), Problem> {
        self.write(STATE, &StateFile::from(state))
    }

    fn create_keys(&self) -> Result<Keys, Problem> {
        let keys = Keys { identity: random_key()?, wireguard: random_key()? };
        let file = KeysFile {
            v: VERSION,
            identity: Secret::from_key(&keys.identity),
            wireguard: Secret::from_key(&keys.wireguard),
        };
        self.write(KEYS, &file)?;
        Ok(keys)
    }

    fn read<T: for<'a> Deserialize<'a>>(
        &self,
        name: &str,
        damaged: Damaged,
        consequence: &str,
    ) -> Result<Option<T>, Problem> {
        let path = self.directory.join(name);
        let mut text = Zeroizing::new(String::new());
        match File::open(&path).and_then(|mut file| file.read_to_string(&mut text)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            // Not UTF-8: damaged like any other content.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
            Err(error) => return Err(unreadable("read", &path, &error)),
        }
        if let Ok(Version { v }) = serde_json::from_str(&text)
            && v > VERSION
        {
            let text = format!(
                "{} was written by a newer lanyard (format {v}, this one knows {VERSION}); install that release",
                path.display()
            );
            return Err(Problem::new(Code::StateNewer, text));
        }
        let error = match serde_json::from_str(&text) {
            Ok(value) => return Ok(Some(value)),
            Err(error) => error,
        };
        let aside = self.directory.join(format!("{name}.broken"));
        match damaged {
            Damaged::Refuse => {
                let text = format!(
                    "{} is damaged: {error}; restore it from a backup, or start once with --set-aside, which \
                     renames it to {} ({consequence})",
                    path.display(),
                    aside.display()
                );
                Err(Problem::new(Code::StateCorrupt, text))
            }
            Damaged::SetAside => {
                std::fs::rename(&path, &aside).map_err(|error| unreadable("rename", &path, &error))?;
                tracing::warn!(file = %path.display(), aside = %aside.display(), "damaged file set aside: {consequence}");
                Ok(None)
            }
        }
    }

    fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<(), Problem> {
        let path = self.directory.join(name);
        let text = serde_json::to_vec_pretty(value).map(Zeroizing::new);
        text.map_err(io::Error::from)
            .and_then(|text| replace(&self.directory, &path, &text))
            .map_err(|error| unreadable("write", &path, &error))
    }
}

/// Puts `bytes` in place of the file at `path`, all or nothing.
fn replace(directory: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("json.tmp");
    let mut file = private::open(OpenOptions::new().write(true).create(true).truncate(true), &temporary)?;
    private::restrict(&file)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    // The rename itself is durable only once the directory is.
    private::keep_names(directory)
}

/// Creates the directory where needed and takes its lock, which the kernel frees with this process.
fn lock(directory: &Path) -> Result<File, Problem> {
    private::make_directory(directory).map_err(|error| unreadable("create", directory, &error))?;
    let path = directory.join(LOCK);
    let mut options = OpenOptions::new();
    let mut file = private::open(options.read(true).write(true).create(true).truncate(false), &path)
        .map_err(|error| unreadable("open", &path, &error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            let owner =
                file.read_to_string(&mut owner).ok().map(|_| owner.trim()).filter(|pid| !pid.is_empty());
            let text = format!(
                "another agent{} uses {}; stop it first, or give this one its own --state, --socket and --tun",
                owner.map(|pid| format!(" (process {pid})")).unwrap_or_default(),
                directory.display()
            );
            return Err(Problem::new(Code::AgentAlreadyRunning, text));
        }
        Err(TryLockError::Error(error)) => return Err(unreadable("lock", &path, &error)),
    }
    // Only for the message above; the lock is what counts.
    let noted = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
    noted.map_err(|error| unreadable("write", &path, &error))?;
    Ok(file)
}

fn random_key() -> Result<SecretKey, Problem> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|error| {
        Problem::new(Code::AgentStart, format!("the operating system gives no random bytes: {error}"))
    })?;
    Ok(SecretKey::from_bytes(*bytes))
}

fn unreadable(verb: &str, path: &Path, error: &io::Error) -> Problem {
    let advice = if error.kind() == io::ErrorKind::PermissionDenied {
        "; start the agent as root (sudo lanyard up, or systemctl start lanyard), or name a directory of yours \
         with --state"
    } else {
        ""
    };
    Problem::new(Code::StateUnreadable, format!("cannot {verb} {}: {error}{advice}", path.display()))
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysFile {
    v: u32,
    identity: Secret,
    wireguard: Secret,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateFile {
    v: u32,
    boot: u64,
    port: u16,
    down: bool,
    name: Option<Text<DeviceName>>,
    hosts: Vec<HostFile>,
    refused: Vec<Text<DeviceId>>,
    coordinators: Vec<cache::CoordinatorFile>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HostFile {
    key: Text<PublicKey>,
    name: String,
    port: u16,
    #[serde(default = "usual_door")]
    door: u16,
}

const fn usual_door() -> u16 {
    WEB_PORT
}

impl From<&State> for StateFile {
    fn from(state: &State) -> Self {
        let host = |host: &Host| HostFile {
            key: Text(host.key),
            name: host.name.clone(),
            port: host.port,
            door: host.door,
        };
        Self {
            v: VERSION,
            boot: state.boot,
            port: state.port,
            down: state.down,
            name: state.name.clone().map(Text),
            hosts: state.hosts.iter().map(host).collect(),
            refused: state.refused.iter().copied().map(Text).collect(),
            coordinators: state.cache.coordinators.iter().map(cache::CoordinatorFile::from).collect(),
        }
    }
}

impl From<StateFile> for State {
    fn from(file: StateFile) -> Self {
        let host =
            |host: HostFile| Host { key: host.key.0, name: host.name, port: host.port, door: host.door };
        Self {
            boot: file.boot,
            port: file.port,
            down: file.down,
            name: file.name.map(|name| name.0),
            hosts: file.hosts.into_iter().map(host).collect(),
            refused: file.refused.into_iter().map(|device| device.0).collect(),
            cache: Arc::new(DeviceCache {
                coordinators: file.coordinators.into_iter().map(Into::into).collect(),
            }),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) use super::cache::tests::example as example_cache;

    #[test]
    fn a_second_agent_on_the_same_directory_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let first = Store::open(directory.path(), Damaged::Refuse).unwrap();
        let problem = Store::open(directory.path(), Damaged::Refuse).unwrap_err();
        assert_eq!(problem.code, Code::AgentAlreadyRunning);
        // What is locked cannot be read on Windows, so the owner stays unknown there.
        let owner = format!("process {}", std::process::id());
        assert!(cfg!(windows) || problem.text.contains(&owner), "{problem}");
        drop(first);
        Store::open(directory.path(), Damaged::Refuse).unwrap();
    }

    #[test]
    fn keys_are_made_once_and_readable_by_the_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("state");
        let (first, keys, _) = Store::open(&inner, Damaged::Refuse).unwrap();
        let identity = keys.identity.public();
        assert_mode(&inner, 0o700);
        assert_mode(&inner.join(KEYS), 0o600);
        drop(first);

        let (_second, keys, _) = Store::open(&inner, Damaged::Refuse).unwrap();
        assert_eq!(keys.identity.public(), identity);
        assert_ne!(keys.identity.public(), keys.wireguard.public());
    }

    #[test]
    fn state_comes_back_as_it_was_saved() {
        let directory = tempfile::tempdir().unwrap();
        let (store, _, mut state) = Store::open(directory.path(), Damaged::Refuse).unwrap();
        state.boot = 7;
        state.port = 41_641;
        state.down = true;
        state.name = Some("t480".parse().unwrap());
        state.hosts.push(Host {
            key: PublicKey::from_bytes([3; 32]),
            name: "vpn.example".to_owned(),
            port: 7443,
            door: 8443,
        });
        state.refused.push(DeviceId::from_bytes([9; 16]));
        state.cache = example_cache().into();
        store.save(&state).unwrap();
        assert_mode(&directory.path().join(STATE), 0o600);
        drop(store);

        let (_store, _, read) = Store::open(directory.path(), Damaged::Refuse).unwrap();
        assert_eq!(format!("{read:?}"), format!("{state:?}"));
    }

    #[test]
    fn every_truncation_is_refused_and_the_file_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let (store, _, state) = Store::open(directory.path(), Damaged::Refuse).unwrap();
        store.save(&state).unwrap();
        drop(store);
        for name in [KEYS, STATE] {
            let path = directory.path().join(name);
            let whole = std::fs::read(&path).unwrap();
            for length in 0..whole.len() {
                std::fs::write(&path, &whole[..length]).unwrap();
                let problem = Store::open(directory.path(), Damaged::Refuse).unwrap_err();
                assert_eq!(problem.code, Code::StateCorrupt, "{name} cut at {length}");
                assert!(problem.text.contains(name), "{problem}");
                assert_eq!(std::fs::read(&path).unwrap(), &whole[..length]);
            }
            std::fs::write(&path, &whole).unwrap();
        }
    }

    #[test]
    fn a_damaged_file_is_set_aside_only_when_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(STATE);
        std::fs::write(&path, b"\xFF\xFE nonsense").unwrap();
        assert_eq!(Store::open(directory.path(), Damaged::Refuse).unwrap_err().code, Code::StateCorrupt);

        let (_store, _, state) = Store::open(directory.path(), Damaged::SetAside).unwrap();

        assert_eq!(state.boot, 0);
        assert_eq!(std::fs::read(directory.path().join("state.json.broken")).unwrap(), b"\xFF\xFE nonsense");
    }

    #[test]
    fn a_file_of_a_newer_release_is_not_called_damaged() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(STATE), r#"{"v": 2, "something": "new"}"#).unwrap();
        let problem = Store::open(directory.path(), Damaged::SetAside).unwrap_err();
        assert_eq!(problem.code, Code::StateNewer);
    }

    #[test]
    fn a_directory_that_cannot_be_made_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let problem = Store::open(&file.join("state"), Damaged::Refuse).unwrap_err();
        assert_eq!(problem.code, Code::StateUnreadable);
        assert!(problem.text.contains("state"), "{problem}");
    }

    #[cfg(unix)]
    fn assert_mode(path: &Path, mode: u32) {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
    }

    /// Windows has access lists, which a file inherits from its directory.
    #[cfg(windows)]
    fn assert_mode(path: &Path, _: u32) {
        assert!(path.exists(), "{}", path.display());
    }
}
