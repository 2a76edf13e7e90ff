//! What two processes say to each other while one takes the other's place, over the new one's standard input.
//!
//! A socket that keeps messages apart (`SOCK_SEQPACKET`), so that a message and the descriptors with it (`SCM_RIGHTS`,
//! unix(7)) arrive together. The two may be of different versions: a message is JSON, and unknown fields are passed over.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use serde::{Deserialize, Serialize};
use tokio::io::Interest;

use crate::app::sockets::Held;
use crate::net::{BoundListener, ListenerLock, Queue};

/// The longest message: a listener takes some hundred bytes.
const MESSAGE_BYTES_MAX: usize = 128 * 1024;
/// As many descriptors go with one message; the kernel takes 253 (`SCM_MAX_FD`).
const DESCRIPTORS_AT_ONCE: usize = 64;
/// How long the other side may take to read or write what it is about to.
const PATIENCE: Duration = Duration::from_secs(10);

/// One end.
#[derive(Debug)]
pub(super) struct Channel(OwnedFd);

/// What is said.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub(super) enum Message {
    /// These sockets follow: of each listener the sockets, then the lock.
    Sockets {
        /// In the order of their descriptors.
        listeners: Vec<Described>,
    },
    /// Some of their descriptors are with this message.
    Descriptors,
    /// The new process serves.
    Ready,
    /// The old process leaves it to the new one.
    Taken,
}

/// A listener whose descriptors follow.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Described {
    name: String,
    asked: SocketAddr,
    address: SocketAddr,
    sockets: usize,
    /// Does systemd hold them, too?
    #[serde(default)]
    kept: bool,
}

impl Channel {
    /// Both ends.
    pub(super) fn pair() -> io::Result<(Self, Self)> {
        let (one, other) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self::of(one)?, Self::of(other)?))
    }

    /// The end that `descriptor` is.
    pub(super) fn of(descriptor: OwnedFd) -> io::Result<Self> {
        set_socket_timeout(&descriptor, Timeout::Recv, Some(PATIENCE))?;
        set_socket_timeout(&descriptor, Timeout::Send, Some(PATIENCE))?;
        Ok(Self(descriptor))
    }

    /// For the process that is to have this end.
    pub(super) fn into_descriptor(self) -> OwnedFd {
        self.0
    }

    /// Says `message`, with `descriptors`.
    pub(super) fn send(&self, message: &Message, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_AT_ONCE))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::Error::other("too many descriptors for one message"));
        }
        let text = [IoSlice::new(&bytes)];
        rustix::io::retry_on_intr(|| sendmsg(&self.0, &text, &mut control, SendFlags::NOSIGNAL))?;
        Ok(())
    }

    /// Hands over every socket and lock of `held`, which stay ours, too.
    pub(super) fn send_sockets(&self, held: &[Held]) -> io::Result<()> {
        let described = |held: &Held| Described {
            name: held.name.clone(),
            asked: held.asked,
            address: held.bound.address,
            sockets: held.bound.sockets.len(),
            kept: held.bound.queue == Queue::Kept,
        };
        self.send(&Message::Sockets { listeners: held.iter().map(described).collect() }, &[])?;
        let descriptors: Vec<_> = held.iter().flat_map(|held| descriptors_of(&held.bound)).collect();
        for some in descriptors.chunks(DESCRIPTORS_AT_ONCE) {
            self.send(&Message::Descriptors, some)?;
        }
        Ok(())
    }

    /// What the other side says next, with the descriptors that came with it; `None`: it has closed its end.
    fn receive(&self, flags: RecvFlags) -> io::Result<Option<(Message, Vec<OwnedFd>)>> {
        let mut bytes = vec![0; MESSAGE_BYTES_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_AT_ONCE))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::io::retry_on_intr(|| {
            let mut into = [IoSliceMut::new(&mut bytes)];
            recvmsg(&self.0, &mut into, &mut control, flags | RecvFlags::CMSG_CLOEXEC)
        });
        let received = match received {
            // It has closed its end without reading all.
            Err(Errno::CONNRESET) => return Ok(None),
            received => received?,
        };
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(some) = message {
                descriptors.extend(some);
            }
        }
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message was too long"));
        }
        let text = bytes.get(..received.bytes).filter(|text| !text.is_empty());
        text.map(|text| Ok((serde_json::from_slice(text)?, descriptors))).transpose()
    }

    /// What the other side says next, if it says so within ten seconds.
    pub(super) fn next(&self) -> io::Result<Option<Message>> {
        Ok(self.receive(RecvFlags::empty())?.map(|(message, _)| message))
    }

    /// Takes over what [`Channel::send_sockets`] sends.
    pub(super) fn receive_sockets(&self) -> io::Result<Vec<Held>> {
        let unexpected = || io::Error::new(io::ErrorKind::InvalidData, "something else came than sockets");
        let gone = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let (first, _) = self.receive(RecvFlags::empty())?.ok_or_else(gone)?;
        let Message::Sockets { listeners } = first else { return Err(unexpected()) };
        let wanted: usize = listeners.iter().map(|listener| listener.sockets + 1).sum();
        let mut descriptors = Vec::new();
        while descriptors.len() < wanted {
            let (message, some) = self.receive(RecvFlags::empty())?.ok_or_else(gone)?;
            if message != Message::Descriptors || some.is_empty() {
                return Err(unexpected());
            }
            descriptors.extend(some);
        }
        let mut descriptors = descriptors.into_iter();
        let held = |Described { name, asked, address, sockets, kept }| {
            let queue = if kept { Queue::Kept } else { Queue::Ours };
            let sockets = descriptors.by_ref().take(sockets).map(TcpListener::from).collect();
            let lock = Arc::new(ListenerLock::from(descriptors.next().ok_or_else(unexpected)?));
            Ok(Held { name, asked, bound: Arc::new(BoundListener { address, sockets, lock, queue }) })
        };
        listeners.into_iter().map(held).collect()
    }

    /// What the other side says next, however long it takes; `None`: it has closed its end. From then on this end waits
    /// for nobody else.
    pub(super) async fn answer(&self) -> io::Result<Option<Message>> {
        // Watched by the runtime as what it knows to watch; read as what it is.
        let watched = UnixDatagram::from(self.0.try_clone()?);
        watched.set_nonblocking(true)?;
        let watched = tokio::net::UnixDatagram::from_std(watched)?;
        loop {
            watched.readable().await?;
            match watched.try_io(Interest::READABLE, || self.receive(RecvFlags::DONTWAIT)) {
                Ok(received) => return Ok(received.map(|(message, _)| message)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn descriptors_of(bound: &BoundListener) -> Vec<BorrowedFd<'_>> {
    bound.sockets.iter().map(AsFd::as_fd).chain([bound.lock.as_fd()]).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::num::NonZeroUsize;

    use super::*;
    use crate::net::bind;

    fn held(name: &str, sockets: usize) -> Held {
        let asked = "127.0.0.1:0".parse().unwrap();
        let bound = bind(asked, NonZeroUsize::new(sockets).unwrap()).unwrap();
        bound.listen().unwrap();
        Held { name: name.to_owned(), asked, bound: Arc::new(bound) }
    }

    #[test]
    fn every_socket_and_lock_arrives_and_what_queues_there_with_it() {
        let (ours, theirs) = Channel::pair().unwrap();
        // More than go with one message.
        let mut given = vec![held("api", 40), held("ops", 1), held("isproxy", 40)];
        Arc::get_mut(&mut given[1].bound).unwrap().queue = Queue::Kept;
        let address = given[1].bound.address;
        let mut waiting = TcpStream::connect(address).unwrap();
        ours.send_sockets(&given).unwrap();
        drop(given);
        let taken = theirs.receive_sockets().unwrap();
        let counts: Vec<_> =
            taken.iter().map(|held| (held.name.as_str(), held.bound.sockets.len())).collect();
        assert_eq!(counts, [("api", 40), ("ops", 1), ("isproxy", 40)]);
        let queues: Vec<_> = taken.iter().map(|held| held.bound.queue).collect();
        assert_eq!(queues, [Queue::Ours, Queue::Kept, Queue::Ours]);
        for held in &taken {
            assert_eq!(held.bound.sockets[0].local_addr().unwrap(), held.bound.address);
            let again = bind(held.bound.address, NonZeroUsize::MIN).unwrap_err();
            assert!(again.to_string().contains("already served"), "{again}");
        }
        let (mut accepted, _) = taken[1].bound.sockets[0].accept().unwrap();
        accepted.set_nonblocking(false).unwrap();
        io::Write::write_all(&mut waiting, b"x").unwrap();
        let mut byte = [0];
        io::Read::read_exact(&mut accepted, &mut byte).unwrap();
        assert_eq!(&byte, b"x");
    }

    #[tokio::test]
    async fn answers_come_one_by_one_and_an_end_is_noticed() {
        let (ours, theirs) = Channel::pair().unwrap();
        theirs.send(&Message::Ready, &[]).unwrap();
        assert_eq!(ours.answer().await.unwrap(), Some(Message::Ready));
        ours.send(&Message::Taken, &[]).unwrap();
        assert_eq!(theirs.next().unwrap(), Some(Message::Taken));
        ours.send(&Message::Taken, &[]).unwrap();
        drop(theirs);
        assert_eq!(ours.answer().await.unwrap(), None, "although it has not read all");
        assert!(ours.send(&Message::Taken, &[]).is_err());
    }

    #[test]
    fn a_message_of_a_newer_version_is_read_as_far_as_it_is_known() {
        let known: Message = serde_json::from_str(r#"{"say":"ready","since":7}"#).unwrap();
        assert_eq!(known, Message::Ready);
        assert!(serde_json::from_str::<Message>(r#"{"say":"sing"}"#).is_err());
        let (ours, theirs) = Channel::pair().unwrap();
        ours.send(&Message::Taken, &[]).unwrap();
        assert!(theirs.receive_sockets().is_err(), "no sockets");
    }
}
