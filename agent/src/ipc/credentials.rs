//! Who may speak to the agent: root, the user it runs as, and members of the group `lanyard`.
//!
//! The socket's permissions say the same, but a directory mounted elsewhere or a descriptor handed on would
//! pass them; the kernel's word about the other end of the connection does not change on the way.

use std::path::Path;

use tokio::net::UnixStream;

use crate::exit::{Code, Problem};

/// The group whose members may command the agent, where it exists.
pub const GROUP: &str = "lanyard";

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Peer {
    user: u32,
    groups: Vec<u32>,
}

/// The users that are allowed.
#[derive(Clone, Copy, Debug)]
pub struct Allowed {
    own_user: u32,
    group: Option<u32>,
}

impl Allowed {
    /// Root, the owner of this process, and the group of [`GROUP`] if `group_file` has it.
    #[must_use]
    pub fn from_system(own_user: u32, group_file: &Path) -> Self {
        let groups = std::fs::read_to_string(group_file).unwrap_or_default();
        Self { own_user, group: group_id(&groups, GROUP) }
    }

    /// The group that owns the socket.
    #[must_use]
    pub const fn group(&self) -> Option<u32> {
        self.group
    }

    /// Checks who opened this connection.
    ///
    /// # Errors
    ///
    /// The kernel does not say, or it is somebody else.
    pub fn check(&self, stream: &UnixStream) -> Result<(), Problem> {
        let peer = Peer::of(stream).map_err(|error| {
            Problem::new(Code::AgentNoPermission, format!("the kernel does not say who asks: {error}"))
        })?;
        if self.admits(&peer) {
            return Ok(());
        }
        let text =
            format!("user {} may not command the agent; use sudo, or join the group {GROUP}", peer.user);
        Err(Problem::new(Code::AgentNoPermission, text))
    }

    fn admits(&self, peer: &Peer) -> bool {
        peer.user == 0
            || peer.user == self.own_user
            || self.group.is_some_and(|group| peer.groups.contains(&group))
    }
}

impl Peer {
    fn of(stream: &UnixStream) -> std::io::Result<Self> {
        let credentials = stream.peer_cred()?;
        let mut groups = supplementary_groups(stream)?;
        groups.push(credentials.gid());
        Ok(Self { user: credentials.uid(), groups })
    }
}

/// The other end's groups at the moment it connected; macOS tells the first sixteen.
#[cfg(target_os = "macos")]
fn supplementary_groups(stream: &UnixStream) -> std::io::Result<Vec<u32>> {
    use nix::sys::socket::{getsockopt, sockopt::LocalPeerCred};

    Ok(getsockopt(stream, LocalPeerCred)?.groups().to_vec())
}

/// The other end's supplementary groups at the moment it connected (`SO_PEERGROUPS`, Linux 4.13).
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the standard library and socket2 have no call for SO_PEERGROUPS")]
fn supplementary_groups(stream: &UnixStream) -> std::io::Result<Vec<u32>> {
    use std::os::fd::AsRawFd as _;

    // NGROUPS_MAX of Linux is 65,536; 1,024 is more than any directory service gives, and more is an error.
    let mut groups = vec![0_u32; 1_024];
    let mut length =
        libc::socklen_t::try_from(size_of_val(groups.as_slice())).map_err(std::io::Error::other)?;
    // SAFETY: the pointer and the length describe `groups`, which outlives the call; the kernel writes at
    // most `length` bytes and stores how many it wrote.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERGROUPS,
            groups.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result != 0 {
        return Err(std::io::Error::last_os_error());
    }
    groups.truncate(usize::try_from(length).unwrap_or(0) / size_of::<u32>());
    Ok(groups)
}

/// The number of a group in the text of `/etc/group`.
fn group_id(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_the_owner_and_the_group_may_ask_and_nobody_else() {
        let allowed = Allowed { own_user: 500, group: Some(90) };
        assert!(allowed.admits(&peer(0, &[])));
        assert!(allowed.admits(&peer(500, &[7])));
        assert!(allowed.admits(&peer(1000, &[7, 90])));
        assert!(!allowed.admits(&peer(1000, &[7])));
        let no_group = Allowed { own_user: 500, group: None };
        assert!(!no_group.admits(&peer(1000, &[90])));
    }

    #[test]
    fn the_group_is_found_by_its_whole_name() {
        let file = "root:x:0:\nlanyard-admin:x:80:\nlanyard:x:90:milena,ivo\n";
        assert_eq!(group_id(file, "lanyard"), Some(90));
        assert_eq!(group_id(file, "lan"), None);
        assert_eq!(group_id("lanyard:x\n", "lanyard"), None);
    }

    #[tokio::test]
    async fn the_kernel_says_who_is_at_the_other_end() {
        let (here, _there) = UnixStream::pair().unwrap();
        let peer = Peer::of(&here).unwrap();
        let own = nix::unistd::geteuid().as_raw();
        assert_eq!(peer.user, own);
        assert!(!peer.groups.is_empty());
        Allowed { own_user: own, group: None }.check(&here).unwrap();
    }

    fn peer(user: u32, groups: &[u32]) -> Peer {
        Peer { user, groups: groups.to_vec() }
    }
}
