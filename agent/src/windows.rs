//! What Windows has and the standard library does not reach: events, who may open what we make, and its oldest clock.
//!
//! Every call into the system that is `unsafe` on Windows stands here or in `sockets/windows.rs`.

use std::ffi::c_void;
use std::io;
use std::net::Ipv4Addr;
use std::os::windows::ffi::OsStrExt as _;
use std::os::windows::io::{AsRawHandle as _, AsRawSocket, FromRawHandle as _, OwnedHandle};
use std::path::Path;
use std::ptr;
use std::time::Duration;

use windows_sys::Win32::Foundation::{ERROR_OBJECT_ALREADY_EXISTS, HANDLE, LocalFree, NO_ERROR, WAIT_FAILED};
use windows_sys::Win32::NetworkManagement::IpHelper::{
    CreateUnicastIpAddressEntry, InitializeUnicastIpAddressEntry, MIB_UNICASTIPADDRESS_ROW,
};
use windows_sys::Win32::Networking::WinSock::{
    AF_INET, FD_READ, IpDadStatePreferred, SOCKET, SOCKET_ERROR, WSAEVENT, WSAEventSelect,
};
use windows_sys::Win32::Security::Authorization::{
    ConvertStringSecurityDescriptorToSecurityDescriptorW, SDDL_REVISION_1,
};
use windows_sys::Win32::Security::{PSECURITY_DESCRIPTOR, SECURITY_ATTRIBUTES};
use windows_sys::Win32::Storage::FileSystem::CreateDirectoryW;
use windows_sys::Win32::System::Performance::{QueryPerformanceCounter, QueryPerformanceFrequency};
use windows_sys::Win32::System::Threading::{CreateEventW, INFINITE, SetEvent, WaitForMultipleObjects};

/// Most events that one wait takes; the system allows 64.
const EVENTS_MAX: usize = 8;

/// Something that happened, until one wait has seen it (an event that resets itself).
#[derive(Debug)]
pub struct Event(OwnedHandle);

impl Event {
    /// An event that has not happened.
    ///
    /// # Errors
    ///
    /// When the system has no handles left.
    #[expect(unsafe_code, reason = "the standard library has no events")]
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointer is given; the handle that comes back is nobody else's.
        let handle = unsafe { CreateEventW(ptr::null(), 0, 0, ptr::null()) };
        if handle.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: an open handle that we own, as just checked.
        Ok(Self(unsafe { OwnedHandle::from_raw_handle(handle) }))
    }

    /// It happened: the next wait for it returns.
    #[expect(unsafe_code, reason = "the standard library has no events")]
    pub fn set(&self) {
        // SAFETY: the handle is open as long as `self` is there. It fails for handles that are no events alone.
        unsafe { SetEvent(self.raw()) };
    }

    /// For calls that signal it.
    #[must_use]
    pub fn raw(&self) -> HANDLE {
        self.0.as_raw_handle()
    }

    /// Happens from now on whenever there is something to receive at a socket, instead of the event that did so before; and
    /// again after each receive that leaves something. The socket does not block any more.
    ///
    /// # Errors
    ///
    /// As from `WSAEventSelect`.
    #[expect(unsafe_code, reason = "the standard library and socket2 have no call for events of sockets")]
    pub fn follow(&self, socket: &impl AsRawSocket) -> io::Result<()> {
        let socket = socket.as_raw_socket() as SOCKET;
        // SAFETY: both handles are open during the call; the system keeps the event for itself.
        let result = unsafe { WSAEventSelect(socket, self.raw() as WSAEVENT, FD_READ as i32) };
        if result == SOCKET_ERROR { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits until one of these happened, of which it takes note; of more than [`EVENTS_MAX`] the first ones count.
    ///
    /// # Errors
    ///
    /// As from `WaitForMultipleObjects`.
    #[expect(unsafe_code, reason = "the standard library has no events")]
    pub fn wait_for_any<'e>(events: impl Iterator<Item = &'e Self>) -> io::Result<()> {
        let mut handles = [ptr::null_mut(); EVENTS_MAX];
        let mut count = 0;
        for (slot, event) in handles.iter_mut().zip(events) {
            *slot = event.raw();
            count += 1;
        }
        // SAFETY: the first `count` handles are those of events that are borrowed until the end of this call.
        let outcome = unsafe { WaitForMultipleObjects(count, handles.as_ptr(), 0, INFINITE) };
        if outcome == WAIT_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// Who may open a thing, in the system's language for it (SDDL).
#[derive(Debug)]
pub struct Access(PSECURITY_DESCRIPTOR);

impl Access {
    /// The system itself, administrators, and whoever made it; nobody else, and nothing is inherited from above. What is made
    /// inside a directory of this kind inherits the same.
    const PRIVATE: &str = "D:P(A;OICI;GA;;;SY)(A;OICI;GA;;;BA)(A;OICI;GA;;;OW)";

    /// For what is private.
    ///
    /// # Errors
    ///
    /// As from `ConvertStringSecurityDescriptorToSecurityDescriptorW`.
    #[expect(unsafe_code, reason = "the standard library has no security descriptors")]
    pub fn private() -> io::Result<Self> {
        let text: Vec<u16> = Self::PRIVATE.encode_utf16().chain([0]).collect();
        let mut descriptor = ptr::null_mut();
        // SAFETY: the text ends with a zero and outlives the call; the place for the answer is ours.
        let done = unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                text.as_ptr(),
                SDDL_REVISION_1,
                &raw mut descriptor,
                ptr::null_mut(),
            )
        };
        if done == 0 { Err(io::Error::last_os_error()) } else { Ok(Self(descriptor)) }
    }

    /// Calls something that makes a thing with this access; what the pointer says is valid during the call.
    pub fn with<R>(&self, make: impl FnOnce(*mut c_void) -> R) -> R {
        let mut attributes = SECURITY_ATTRIBUTES {
            nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
            lpSecurityDescriptor: self.0,
            bInheritHandle: 0,
        };
        make((&raw mut attributes).cast())
    }
}

impl Drop for Access {
    #[expect(unsafe_code, reason = "the system wants its memory back by a call of its own")]
    fn drop(&mut self) {
        // SAFETY: what the conversion gave us, and given back once.
        unsafe { LocalFree(self.0) };
    }
}

/// Makes a directory with private access; one that is there stays as it is.
///
/// # Errors
///
/// As from `CreateDirectoryW`.
#[expect(unsafe_code, reason = "the standard library makes directories with the access of the one above")]
pub fn make_private_directory(path: &Path) -> io::Result<()> {
    let name: Vec<u16> = path.as_os_str().encode_wide().chain([0]).collect();
    // SAFETY: the name ends with a zero and outlives the call, as does what the other pointer says.
    let made =
        Access::private()?.with(|attributes| unsafe { CreateDirectoryW(name.as_ptr(), attributes.cast()) });
    if made == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives an interface one more address, and with it the route of its prefix. Gone with the interface.
///
/// # Errors
///
/// As from `CreateUnicastIpAddressEntry`.
#[expect(unsafe_code, reason = "the standard library knows no interfaces")]
pub fn add_address(interface: u32, ip: Ipv4Addr, prefix: u8) -> io::Result<()> {
    let mut row = MIB_UNICASTIPADDRESS_ROW::default();
    // SAFETY: it writes to the row alone, which is ours.
    unsafe { InitializeUnicastIpAddressEntry(&raw mut row) };
    row.Address.Ipv4.sin_family = AF_INET;
    row.Address.Ipv4.sin_addr.S_un.S_addr = u32::from_ne_bytes(ip.octets());
    row.InterfaceIndex = interface;
    row.OnLinkPrefixLength = prefix;
    // Nobody else answers for it: looking for others would keep it from use for seconds.
    row.DadState = IpDadStatePreferred;
    // SAFETY: the row is filled in, and read during the call alone.
    match unsafe { CreateUnicastIpAddressEntry(&raw const row) } {
        NO_ERROR | ERROR_OBJECT_ALREADY_EXISTS => Ok(()),
        code => Err(io::Error::from_raw_os_error(code as i32)),
    }
}

/// Time since the system started, sleep included.
#[must_use]
#[expect(unsafe_code, reason = "the standard library's clock begins anywhere")]
pub fn since_boot() -> Duration {
    let (mut ticks, mut a_second) = (0, 0);
    // SAFETY: both write one number to a place of ours; neither fails since Windows XP.
    unsafe {
        QueryPerformanceCounter(&raw mut ticks);
        QueryPerformanceFrequency(&raw mut a_second);
    }
    let (ticks, a_second) =
        (u64::try_from(ticks).unwrap_or_default(), u64::try_from(a_second).unwrap_or_default());
    let seconds = ticks.checked_div(a_second).unwrap_or_default();
    let nanos = (ticks.checked_rem(a_second).unwrap_or_default() * 1_000_000_000).checked_div(a_second);
    Duration::new(seconds, u32::try_from(nanos.unwrap_or_default()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_seen_by_one_wait() {
        let (quiet, set) = (Event::new().unwrap(), Event::new().unwrap());
        set.set();
        Event::wait_for_any([&quiet, &set].into_iter()).unwrap();
        quiet.set();
        // Would not return if the first were what is left.
        Event::wait_for_any([&quiet].into_iter()).unwrap();
    }

    #[test]
    fn an_event_follows_a_socket_until_it_has_nothing_more() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let event = Event::new().unwrap();
        event.follow(&socket).unwrap();
        for number in 0..2 {
            socket.send_to(&[number], socket.local_addr().unwrap()).unwrap();
        }
        for number in 0..2 {
            Event::wait_for_any([&event].into_iter()).unwrap();
            let mut byte = [0];
            assert_eq!((socket.recv(&mut byte).unwrap(), byte), (1, [number]));
        }
        assert_eq!(socket.recv(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn the_text_of_private_access_is_understood() {
        Access::private().unwrap().with(|attributes| assert!(!attributes.is_null()));
    }
}
