//! Packet sockets and the ring that the kernel shares with us: the one file with `unsafe` code.
//!
//! Everything else about live capture is safe code over what this file offers. Numbers and layouts
//! are those of packet(7), `linux/if_packet.h` and the kernel's `packet_mmap.rst`.
#![expect(unsafe_code, reason = "sockets, options and shared memory of the kernel have no safe interface")]

use std::ffi::{CString, c_int, c_uint, c_void};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where the word that says who owns a block is, from the block's begin.
const BLOCK_STATUS: usize = 8;

/// One instruction of classic BPF: operation, jump if true, jump if false, operand.
pub type Instruction = (u16, u8, u8, u32);

/// What a wait on a socket ended with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// There is something to read.
    Ready,
    /// Time is up.
    Silent,
    /// The socket reports an error; ask [`take_error`].
    Failed,
}

/// Counters of a packet socket since they were last read.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct RingCounters {
    /// Packets that passed the filter, dropped ones included.
    pub packets: u32,
    /// Packets dropped because the ring was full.
    pub drops: u32,
}

/// Number of the interface called `name`; `None` when there is none.
pub fn index_of(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: `name` is a string that ends in NUL and lives until the call returns.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (index != 0).then_some(index)
}

/// Present name of the interface of this number; `None` when it has gone.
pub fn name_of(index: u32) -> Option<String> {
    let mut name = [0_u8; libc::IF_NAMESIZE];
    // SAFETY: the call writes IF_NAMESIZE bytes at most, which is what `name` holds.
    let found = unsafe { libc::if_indextoname(index, name.as_mut_ptr().cast()) };
    if found.is_null() {
        return None;
    }
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    Some(String::from_utf8_lossy(name.get(..end)?).into_owned())
}

/// Waits until `fd` can be read, at most `millis`.
///
/// # Errors
/// What the system says; an interrupted wait is a [`Wait::Silent`] one.
pub fn wait(fd: BorrowedFd<'_>, millis: u16) -> io::Result<Wait> {
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: `entry` is one pollfd, as the count says, and lives until the call returns.
    let ready = unsafe { libc::poll(&raw mut entry, 1, c_int::from(millis)) };
    match ready {
        0 => Ok(Wait::Silent),
        1.. if entry.revents & (libc::POLLERR | libc::POLLNVAL) != 0 => Ok(Wait::Failed),
        1.. => Ok(Wait::Ready),
        _ => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(Wait::Silent),
            error => Err(error),
        },
    }
}

/// Takes the error that a socket holds for us; `None` when there is none.
///
/// # Errors
/// What the system says.
pub fn take_error(fd: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
    let code: c_int = get(fd, libc::SOL_SOCKET, libc::SO_ERROR)?;
    Ok((code != 0).then(|| io::Error::from_raw_os_error(code)))
}

/// How the kernel divides packets by a program, and where it takes that from (`linux/if_packet.h`).
const PACKET_FANOUT_CBPF: c_uint = 6;
const PACKET_FANOUT_DATA: c_int = 22;

/// Joins `group`, or makes a new one, and returns its number. The sockets of a group share their
/// interface: each packet goes to one of them, by what `program` says of it, or else by a hash of the
/// flow that is the same in both directions, where IPv4's fragments are put together before.
///
/// # Errors
/// What the system says.
pub fn join_fanout(
    fd: BorrowedFd<'_>,
    group: Option<u16>,
    program: Option<&[Instruction]>,
) -> io::Result<u16> {
    let fresh = if group.is_none() { libc::PACKET_FANOUT_FLAG_UNIQUEID } else { 0 };
    let kind = match program {
        Some(_) => PACKET_FANOUT_CBPF,
        None => libc::PACKET_FANOUT_HASH | libc::PACKET_FANOUT_FLAG_DEFRAG,
    } | fresh;
    let request = u32::from(group.unwrap_or(0)) | (kind << 16);
    set(fd, libc::SOL_PACKET, libc::PACKET_FANOUT, &request)?;
    if let Some(program) = program.filter(|_| group.is_none()) {
        set_program(fd, libc::SOL_PACKET, PACKET_FANOUT_DATA, program)?;
    }
    let joined: u32 = get(fd, libc::SOL_PACKET, libc::PACKET_FANOUT)?;
    // The lower half is the group's number.
    Ok(joined as u16)
}

/// A value that the kernel reads or writes as plain bytes.
///
/// # Safety
/// Any bit pattern is a valid value, and there is no padding.
unsafe trait Plain: Default {}
// SAFETY: integers.
unsafe impl Plain for c_int {}
// SAFETY: integers.
unsafe impl Plain for u32 {}
// SAFETY: an array of integers.
unsafe impl Plain for [u32; 3] {}

fn get<T: Plain>(fd: BorrowedFd<'_>, level: c_int, option: c_int) -> io::Result<T> {
    let mut value = T::default();
    let mut length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel writes `length` bytes at most, the size of `value`, of which any are valid.
    let done =
        unsafe { libc::getsockopt(fd.as_raw_fd(), level, option, (&raw mut value).cast(), &raw mut length) };
    check(done).map(|()| value)
}

fn set<T>(fd: BorrowedFd<'_>, level: c_int, option: c_int, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes, the size of `value`, which lives until it returns.
    let done =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, std::ptr::from_ref(value).cast(), length) };
    check(done)
}

fn set_program(fd: BorrowedFd<'_>, level: c_int, option: c_int, program: &[Instruction]) -> io::Result<()> {
    let mut code: Vec<libc::sock_filter> =
        program.iter().map(|&(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k }).collect();
    let len = u16::try_from(code.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // The kernel copies the program; `code` lives until then.
    let program = libc::sock_fprog { len, filter: code.as_mut_ptr() };
    set(fd, level, option, &program)
}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// A packet socket, deaf until it is [bound](Self::bind).
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// A socket for frames with their link-layer headers, in version 3 of the ring's layout.
    ///
    /// # Errors
    /// What the system says; without CAP_NET_RAW it refuses.
    pub fn new() -> io::Result<Self> {
        // SAFETY: a system call without pointers.
        let fd = unsafe {
            libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0)
        };
        check(fd)?;
        // SAFETY: the descriptor is new and nobody else's.
        let socket = Self(unsafe { OwnedFd::from_raw_fd(fd) });
        set(
            socket.0.as_fd(),
            libc::SOL_PACKET,
            libc::PACKET_VERSION,
            &(libc::tpacket_versions::TPACKET_V3 as c_int),
        )?;
        Ok(socket)
    }

    /// Lets through only what `program` accepts.
    ///
    /// # Errors
    /// What the system says.
    pub fn attach(&self, program: &[Instruction]) -> io::Result<()> {
        set_program(self.0.as_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, program)
    }

    /// Takes also packets that are for other machines, for as long as the socket lives.
    ///
    /// # Errors
    /// What the system says.
    pub fn promiscuous(&self, index: u32) -> io::Result<()> {
        let request = libc::packet_mreq {
            mr_ifindex: index as c_int,
            mr_type: libc::PACKET_MR_PROMISC as u16,
            mr_alen: 0,
            mr_address: [0; 8],
        };
        set(self.0.as_fd(), libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &request)
    }

    /// Starts to listen on an interface, to every protocol.
    ///
    /// # Errors
    /// What the system says.
    pub fn bind(&self, index: u32) -> io::Result<()> {
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
            sll_ifindex: index as c_int,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: `address` has the size that is told, and lives until the call returns.
        check(unsafe { libc::bind(self.0.as_raw_fd(), (&raw const address).cast(), length) })
    }

    /// Hardware type (`ARPHRD_`) of the interface that the socket is bound to.
    ///
    /// # Errors
    /// What the system says.
    pub fn hardware(&self) -> io::Result<u16> {
        let mut address = libc::sockaddr_ll {
            sll_family: 0,
            sll_protocol: 0,
            sll_ifindex: 0,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let mut length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: the kernel writes `length` bytes at most, the size of `address`: integers.
        check(unsafe { libc::getsockname(self.0.as_raw_fd(), (&raw mut address).cast(), &raw mut length) })?;
        Ok(address.sll_hatype)
    }

    /// Counters since the last call: reading resets them.
    ///
    /// # Errors
    /// What the system says.
    pub fn counters(&self) -> io::Result<RingCounters> {
        // tpacket_stats_v3: packets, drops, and how often the queue was frozen.
        let [packets, drops, _] = get::<[u32; 3]>(self.0.as_fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS)?;
        Ok(RingCounters { packets, drops })
    }

    /// Shares `blocks` blocks of `block_bytes` bytes with the kernel, which gives a block to us when
    /// it is full or `timeout_ms` after its first packet.
    ///
    /// # Errors
    /// What the system says, such as that there is not so much memory.
    pub fn ring(self, blocks: u32, block_bytes: u32, timeout_ms: u32) -> io::Result<Ring> {
        // The kernel only checks that frames would fill the blocks; packets lie end to end.
        const FRAME_BYTES: u32 = 2048;
        let request = libc::tpacket_req3 {
            tp_block_size: block_bytes,
            tp_block_nr: blocks,
            tp_frame_size: FRAME_BYTES,
            tp_frame_nr: blocks * (block_bytes / FRAME_BYTES),
            tp_retire_blk_tov: timeout_ms,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        set(self.0.as_fd(), libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
        let bytes = blocks as usize * block_bytes as usize;
        // SAFETY: a new mapping at an address of the kernel's choice; nobody's memory is replaced.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                self.0.as_raw_fd(),
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let memory = NonNull::new(memory.cast()).ok_or_else(io::Error::last_os_error)?;
        Ok(Ring { memory, blocks, block_bytes: block_bytes as usize, socket: self })
    }
}

/// The blocks that the kernel fills and we empty, and their socket.
#[derive(Debug)]
pub struct Ring {
    /// Begin of the mapping of `blocks * block_bytes` bytes.
    memory: NonNull<u8>,
    blocks: u32,
    block_bytes: usize,
    socket: PacketSocket,
}

// SAFETY: the mapping belongs to this value alone, and no method depends on the thread.
unsafe impl Send for Ring {}

impl Ring {
    /// How many blocks there are.
    pub fn blocks(&self) -> u32 {
        self.blocks
    }

    /// The socket.
    pub fn socket(&self) -> &PacketSocket {
        &self.socket
    }

    /// Its descriptor, for [`wait`], [`take_error`] and [`join_fanout`].
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.0.as_fd()
    }

    /// A block that is ours; `None` while the kernel owns it, and for a number that is no block's.
    pub fn block(&self, number: u32) -> Option<&[u8]> {
        let status = self.status(number)?.load(Ordering::Acquire);
        if status & libc::TP_STATUS_USER == 0 {
            return None;
        }
        // SAFETY: the block lies within the mapping, since `status` checked its number. The status,
        // read with acquire order, says that the kernel has written it and will not touch it until
        // `release` gives it back, which needs `&mut self` and thereby ends this borrow.
        Some(unsafe { std::slice::from_raw_parts(self.begin(number).as_ptr(), self.block_bytes) })
    }

    /// Gives a block back to the kernel.
    pub fn release(&mut self, number: u32) {
        if let Some(status) = self.status(number) {
            status.store(libc::TP_STATUS_KERNEL, Ordering::Release);
        }
    }

    /// The word that says who owns a block.
    fn status(&self, number: u32) -> Option<&AtomicU32> {
        if number >= self.blocks {
            return None;
        }
        // SAFETY: the word lies within the block, which lies within the mapping; the mapping begins
        // at a page and blocks are whole pages, so it is aligned. Both sides use it as one word.
        Some(unsafe { AtomicU32::from_ptr(self.begin(number).add(BLOCK_STATUS).as_ptr().cast()) })
    }

    /// Begin of a block, which must exist.
    fn begin(&self, number: u32) -> NonNull<u8> {
        debug_assert!(number < self.blocks);
        // SAFETY: callers have checked `number`, so this stays within the mapping.
        unsafe { self.memory.add(number as usize * self.block_bytes) }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let bytes = self.blocks as usize * self.block_bytes;
        // SAFETY: this is the mapping of `ring`, which nobody can borrow any more.
        unsafe { libc::munmap(self.memory.as_ptr().cast::<c_void>(), bytes) };
    }
}

const _: () = assert!(size_of::<c_uint>() == 4);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_have_numbers_and_names() {
        let lo = index_of("lo").unwrap();
        assert_eq!(name_of(lo).as_deref(), Some("lo"));
        assert_eq!(index_of("no-such-if0"), None);
        assert_eq!(index_of("nul\0inside"), None);
        assert_eq!(name_of(u32::MAX), None);
    }

    #[test]
    fn a_wait_ends_with_data_or_with_its_time() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(wait(socket.as_fd(), 1).unwrap(), Wait::Silent);
        socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        assert_eq!(wait(socket.as_fd(), 1000).unwrap(), Wait::Ready);
        assert!(take_error(socket.as_fd()).unwrap().is_none());
    }
}
