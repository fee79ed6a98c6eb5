//! Packets with descriptors over a socket pair. What the packets mean is not known here.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

use super::memory::move_up;

/// The most descriptors that the kernel takes in one packet.
pub const MAX_DESCRIPTORS: usize = 253;
/// Bytes that fit into a packet whatever the limits on socket buffers are.
pub const MAX_PACKET_BYTES: usize = 64 << 10;

/// What came in.
#[derive(Debug)]
pub struct Packet {
    /// How many bytes of the buffer it filled.
    pub n_bytes: usize,
    /// The descriptors that came with it.
    pub descriptors: Vec<OwnedFd>,
}

/// A connected pair of sockets that keep packets whole and in order. Both are close-on-exec.
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (one, other) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    Ok((move_up(one)?, move_up(other)?))
}

/// Whether a call may wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Blocking {
    /// It waits for room or for a packet.
    Wait,
    /// It fails with `WouldBlock`.
    Never,
}

/// Sends the concatenation of `parts` as one packet, with `descriptors`.
///
/// # Errors
/// What sendmsg(2) says: `EPIPE` or `ECONNRESET` when the other side is gone.
pub fn send(socket: impl AsFd, parts: &[&[u8]], descriptors: &[BorrowedFd<'_>], blocking: Blocking) -> io::Result<()> {
    let slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::TOOMANYREFS.into());
    }
    let mut flags = SendFlags::NOSIGNAL;
    if blocking == Blocking::Never {
        flags |= SendFlags::DONTWAIT;
    }
    rustix::io::retry_on_intr(|| rustix::net::sendmsg(socket.as_fd(), &slices, &mut ancillary, flags))?;
    Ok(())
}

/// How many bytes the next packet has; 0 also when the other side is gone and nothing is left.
///
/// # Errors
/// What recvmsg(2) says.
pub fn next_length(socket: impl AsFd, blocking: Blocking) -> io::Result<usize> {
    let mut flags = RecvFlags::PEEK | RecvFlags::TRUNC;
    if blocking == Blocking::Never {
        flags |= RecvFlags::DONTWAIT;
    }
    let nothing: &mut [u8] = &mut [];
    let (_, n_bytes) = retry_on_reset(|| rustix::net::recv(socket.as_fd(), &mut *nothing, flags))?;
    Ok(n_bytes)
}

/// Calls again after a signal, and after the word that the other side went away and had something of ours unread: the kernel
/// tells that once, and before it hands out what the other side had sent, which follows.
fn retry_on_reset<T>(mut receive: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match rustix::io::retry_on_intr(&mut receive) {
            Err(Errno::CONNRESET) => {}
            other => return other,
        }
    }
}

/// Receives one packet; `None` when the other side is gone and nothing is left.
///
/// # Errors
/// What recvmsg(2) says; `EMFILE` if this process may not hold the descriptors that came.
pub fn receive(socket: impl AsFd, buffer: &mut [u8], blocking: Blocking) -> io::Result<Option<Packet>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut flags = RecvFlags::CMSG_CLOEXEC;
    if blocking == Blocking::Never {
        flags |= RecvFlags::DONTWAIT;
    }
    let received =
        retry_on_reset(|| rustix::net::recvmsg(socket.as_fd(), &mut [IoSliceMut::new(buffer)], &mut ancillary, flags))?;
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(Errno::MFILE.into());
    }
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(Errno::MSGSIZE.into());
    }
    if received.bytes == 0 && descriptors.is_empty() {
        return Ok(None);
    }
    Ok(Some(Packet { n_bytes: received.bytes, descriptors }))
}
