//! The PROXY protocol, versions 1 and 2 (HAProxy's specification, "The PROXY protocol"): a balancer that passes bytes
//! on says before the first of them from where they come.
//!
//! It reads the header and not one byte more, because TLS or a line protocol begins right behind it. The source's
//! address is all that is taken; additional information (TLVs) is passed over. Called by the doors for each
//! connection, before TLS.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ppp::{PartialResult, v1, v2};
use tokio::io::{AsyncReadExt, Take};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::config::{ClientAddressRules, ProxyProtocol};

/// The longest header of version 1, CRLF included (specification §2.1).
const V1_MAX_BYTES: usize = 107;
const V1_BEGINNING: &[u8] = b"PROXY ";
/// What tells the versions apart. No header is shorter, so this much can be read whatever it is.
const BEGINNING_BYTES: usize = 12;
/// Signature, version, family and length of version 2 (specification §2.2).
const V2_FIXED_BYTES: usize = 16;
/// The longest header of version 2 that is taken: addresses take 216 bytes at most, the rest is for TLVs, of which a
/// client's certificate is the largest in use.
const V2_MAX_BYTES: usize = 4_096;

/// How far a header has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// At least so many bytes are missing; that many may be read.
    NeedsBytes(usize),
    /// The rest up to the next line feed is missing, at most so many bytes.
    NeedsLine(usize),
    /// It is complete.
    Complete(Announced),
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// The connection is passed on from there.
    Source(SocketAddr),
    /// The peer speaks for itself (`LOCAL`, a health check), or cannot tell (`UNKNOWN`, a Unix socket): its own
    /// address stands.
    Peer,
}

/// Why a connection is closed instead of served.
#[derive(Debug, thiserror::Error)]
pub enum ProxyHeaderError {
    /// Only trusted proxies may connect where headers are accepted.
    #[error("the peer is not in `trusted_proxies`")]
    Stranger,
    /// The connection begins with something else.
    #[error("there is no PROXY protocol header")]
    Missing,
    /// It begins like one.
    #[error("the PROXY protocol header is malformed")]
    Malformed,
    /// It is longer than the bound of its version.
    #[error("the PROXY protocol header is too long")]
    TooLong,
    /// It was not complete in time.
    #[error("the PROXY protocol header did not come in time")]
    TooLate,
    /// The peer closed, or the connection broke.
    #[error("the connection ended within the PROXY protocol header")]
    Ended(#[from] io::Error),
}

/// Where an accepted connection comes from: `peer`, unless `rules` say that a header tells it.
///
/// Then `peer` must be a trusted proxy, and the header complete `within` that time (SECURITY S15).
pub async fn read_source(
    stream: &mut TcpStream,
    peer: SocketAddr,
    rules: &ClientAddressRules,
    within: Duration,
) -> Result<SocketAddr, ProxyHeaderError> {
    if rules.proxy_protocol == ProxyProtocol::Refuse {
        return Ok(peer);
    }
    if !rules.trusted_proxies.contains(peer.ip()) {
        return Err(ProxyHeaderError::Stranger);
    }
    // Boxed: it is over before the connection's long life begins.
    match timeout(within, Box::pin(read_header(stream))).await {
        Ok(announced) => announced.map(|announced| match announced {
            Announced::Source(source) => source,
            Announced::Peer => peer,
        }),
        Err(_) => Err(ProxyHeaderError::TooLate),
    }
}

async fn read_header(stream: &mut TcpStream) -> Result<Announced, ProxyHeaderError> {
    let mut header = Vec::new();
    loop {
        let wanted = match parse_header(&header)? {
            Progress::Complete(announced) => return Ok(announced),
            Progress::NeedsBytes(count) => count,
            Progress::NeedsLine(most) => line_part(stream, most).await?,
        };
        if bounded(stream, wanted).read_buf(&mut header).await? == 0 {
            return Err(ProxyHeaderError::Ended(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

fn bounded(stream: &mut TcpStream, bytes: usize) -> Take<&mut TcpStream> {
    stream.take(bytes as u64)
}

/// How much of what has come belongs to the line, of at most `most` bytes; it is looked at and left where it is.
async fn line_part(stream: &TcpStream, most: usize) -> io::Result<usize> {
    let mut room = [0; V1_MAX_BYTES];
    let room = room.get_mut(..most).unwrap_or_default();
    let come = stream.peek(room).await?;
    let line = room.iter().take(come).position(|byte| *byte == b'\n').map(|end| end + 1);
    Ok(line.unwrap_or(come))
}

/// What the bytes `read` so far are, or lack. Pure.
pub fn parse_header(read: &[u8]) -> Result<Progress, ProxyHeaderError> {
    let begins_like = |beginning: &[u8]| read.iter().zip(beginning).all(|(one, other)| one == other);
    if begins_like(v2::PROTOCOL_PREFIX) || begins_like(V1_BEGINNING) {
        if let Some(missing) = BEGINNING_BYTES.checked_sub(read.len()).filter(|missing| *missing > 0) {
            return Ok(Progress::NeedsBytes(missing));
        }
        return if begins_like(V1_BEGINNING) { parse_v1(read) } else { parse_v2(read) };
    }
    Err(ProxyHeaderError::Missing)
}

fn parse_v1(read: &[u8]) -> Result<Progress, ProxyHeaderError> {
    let room = V1_MAX_BYTES.checked_sub(read.len()).ok_or(ProxyHeaderError::TooLong)?;
    let Some(line) = read.iter().position(|byte| *byte == b'\n').map(|end| end + 1) else {
        return if room == 0 { Err(ProxyHeaderError::TooLong) } else { Ok(Progress::NeedsLine(room)) };
    };
    // `ppp` takes `PROXY UNKNOWN \n` too.
    if line != read.len() || !read.ends_with(b"\r\n") {
        return Err(ProxyHeaderError::Malformed);
    }
    let header = v1::Header::try_from(read).map_err(|_| ProxyHeaderError::Malformed)?;
    if header.header.len() != read.len() {
        return Err(ProxyHeaderError::Malformed);
    }
    Ok(Progress::Complete(match header.addresses {
        v1::Addresses::Tcp4(tcp) => Announced::Source((tcp.source_address, tcp.source_port).into()),
        v1::Addresses::Tcp6(tcp) => Announced::Source((tcp.source_address, tcp.source_port).into()),
        v1::Addresses::Unknown => Announced::Peer,
    }))
}

fn parse_v2(read: &[u8]) -> Result<Progress, ProxyHeaderError> {
    let length = match read.get(V2_FIXED_BYTES - 2..V2_FIXED_BYTES) {
        Some([high, low]) => V2_FIXED_BYTES + usize::from(u16::from_be_bytes([*high, *low])),
        _ => return Ok(Progress::NeedsBytes(V2_FIXED_BYTES - read.len())),
    };
    if length > V2_MAX_BYTES {
        return Err(ProxyHeaderError::TooLong);
    }
    let header = match v2::Header::try_from(read) {
        // A bound to be sure of: nothing is ever asked for without an end.
        Err(error) if error.is_incomplete() && read.len() < length => {
            return Ok(Progress::NeedsBytes(length - read.len()));
        }
        Err(_) => return Err(ProxyHeaderError::Malformed),
        Ok(header) => header,
    };
    if read.len() != length {
        return Err(ProxyHeaderError::Malformed);
    }
    let announced = match (header.command, header.protocol, header.addresses) {
        (v2::Command::Local, _, _)
        | (v2::Command::Proxy, _, v2::Addresses::Unspecified)
        | (v2::Command::Proxy, v2::Protocol::Stream, v2::Addresses::Unix(_)) => Announced::Peer,
        (v2::Command::Proxy, v2::Protocol::Stream, v2::Addresses::IPv4(tcp)) => {
            Announced::Source((tcp.source_address, tcp.source_port).into())
        }
        (v2::Command::Proxy, v2::Protocol::Stream, v2::Addresses::IPv6(tcp)) => {
            Announced::Source((tcp.source_address, tcp.source_port).into())
        }
        // Datagrams do not come over TCP.
        (v2::Command::Proxy, _, _) => return Err(ProxyHeaderError::Malformed),
    };
    Ok(Progress::Complete(announced))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::time::Instant;

    use super::*;
    use crate::model::TrustedProxies;

    /// A header of version 2: version and command, family and protocol, what follows the length.
    fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[0x20 | command, family], &length, payload].concat()
    }

    const TCP4: &[u8] = &[192, 0, 2, 7, 10, 0, 0, 1, 0x1f, 0x90, 0, 80];

    fn source(text: &str) -> Announced {
        Announced::Source(text.parse().unwrap())
    }

    fn complete(bytes: &[u8]) -> Option<Announced> {
        match parse_header(bytes) {
            Ok(Progress::Complete(announced)) => Some(announced),
            Ok(_) | Err(_) => None,
        }
    }

    #[test]
    fn both_versions_tell_the_source() {
        let tcp6 = [&[0x20, 1, 0x0d, 0xb8][..], &[0; 11], &[7], &[0; 16], &[0x1f, 0x90, 0, 80]].concat();
        let tlvs = [TCP4, &[0x02, 0, 3], b"api", &[0x20, 0, 1, 0xff]].concat();
        for (header, announced) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 80\r\n".to_vec(), source("192.0.2.7:8080")),
            (b"PROXY TCP6 2001:db8::7 ::1 8080 80\r\n".to_vec(), source("[2001:db8::7]:8080")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Announced::Peer),
            (b"PROXY UNKNOWN ffff:f::1 ffff::2 1 2\r\n".to_vec(), Announced::Peer),
            (v2(1, 0x11, TCP4), source("192.0.2.7:8080")),
            (v2(1, 0x21, &tcp6), source("[2001:db8::7]:8080")),
            (v2(1, 0x11, &tlvs), source("192.0.2.7:8080")),
            (v2(0, 0x00, &[]), Announced::Peer),
            (v2(0, 0x11, TCP4), Announced::Peer),
            (v2(1, 0x00, &[]), Announced::Peer),
            (v2(1, 0x31, &[0; 216]), Announced::Peer),
            (v2(1, 0x11, &[TCP4, &[0; V2_MAX_BYTES - 28]].concat()), source("192.0.2.7:8080")),
        ] {
            assert_eq!(complete(&header), Some(announced), "{}", header.escape_ascii());
            for end in 0..header.len() {
                let part = parse_header(&header[..end]).unwrap();
                match part {
                    Progress::NeedsBytes(count) => {
                        assert!((1..=header.len() - end).contains(&count), "{end}: {count} is too much");
                    }
                    Progress::NeedsLine(most) => assert_eq!(most, V1_MAX_BYTES - end),
                    Progress::Complete(_) => panic!("complete after {end}: {}", header.escape_ascii()),
                }
            }
        }
    }

    #[test]
    fn s15_what_is_no_header_is_refused_at_its_first_wrong_byte() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"LOGIN key\r\n",
            b"\x16\x03\x01",
            b"P ",
            b"PROXY\r",
            b"proxy ",
            b" PROXY TCP4",
            b"\r\n\r\nG",
            b"\n",
        ] {
            assert!(
                matches!(parse_header(bytes), Err(ProxyHeaderError::Missing)),
                "{}",
                bytes.escape_ascii()
            );
        }
    }

    #[test]
    fn s15_malformed_headers_are_refused() {
        for header in [
            &b"PROXY TCP4 192.0.2.7 10.0.0.1 8080\r\n"[..],
            b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 80\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 80 \r\n",
            b"PROXY TCP4  192.0.2.7 10.0.0.1 8080 80\r\n",
            b"PROXY TCP4 192.0.2.777 10.0.0.1 8080 80\r\n",
            b"PROXY TCP4 2001:db8::7 ::1 8080 80\r\n",
            b"PROXY TCP6 192.0.2.7 10.0.0.1 8080 80\r\n",
            b"PROXY TCP5 192.0.2.7 10.0.0.1 8080 80\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 99999\r\n",
            b"PROXY TCP4 localhost 10.0.0.1 8080 80\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 80\r\nGET",
            b"PROXY UNKNOWN\n",
            b"PROXY UNKNOWN \n",
            b"PROXY UNKNOWN \n\r\n",
            b"PROXY UNKNOWN\r \n",
            b"PROXY UNKNOWN\rx\r\n",
            b"PROXY UNKNOWN \xff\r\n",
        ] {
            let parsed = parse_header(header);
            assert!(matches!(parsed, Err(ProxyHeaderError::Malformed)), "{}", header.escape_ascii());
        }
        let version = [v2::PROTOCOL_PREFIX, &[0x11, 0x11, 0, 12], TCP4].concat();
        for header in [
            version,
            v2(2, 0x11, TCP4),
            v2(1, 0x41, TCP4),
            v2(1, 0x13, TCP4),
            v2(1, 0x12, TCP4),
            v2(1, 0x10, TCP4),
            v2(1, 0x21, TCP4),
            v2(1, 0x11, &TCP4[..11]),
            [v2(1, 0x11, TCP4), vec![0]].concat(),
        ] {
            let parsed = parse_header(&header);
            assert!(matches!(parsed, Err(ProxyHeaderError::Malformed)), "{}", header.escape_ascii());
        }
    }

    #[test]
    fn s15_overlong_headers_are_refused() {
        let line = [&b"PROXY UNKNOWN "[..], &[b'x'; 100]].concat();
        assert!(matches!(parse_header(&line), Err(ProxyHeaderError::TooLong)));
        assert!(matches!(parse_header(&line[..107]), Err(ProxyHeaderError::TooLong)));
        assert_eq!(parse_header(&line[..106]).unwrap(), Progress::NeedsLine(1));
        let long = v2(1, 0x11, &[TCP4, &[0; V2_MAX_BYTES - 27]].concat());
        assert!(matches!(parse_header(&long[..16]), Err(ProxyHeaderError::TooLong)));
    }

    fn accepting() -> ClientAddressRules {
        let trusted_proxies = TrustedProxies::new("127.0.0.0/8".parse().unwrap());
        ClientAddressRules { trusted_proxies, proxy_protocol: ProxyProtocol::Accept }
    }

    /// What is read of connections that send `bytes`, and what is left for who comes after.
    async fn read(rules: &ClientAddressRules, bytes: &[u8]) -> (Result<String, ProxyHeaderError>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut stream, peer) = listener.accept().await.unwrap();
        let (read, ()) = tokio::join!(read_source(&mut stream, peer, rules, Duration::from_secs(5)), async {
            for byte in bytes {
                client.write_all(&[*byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
            client.shutdown().await.unwrap();
        });
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        (read.map(|source| if source == peer { "the peer".to_owned() } else { source.to_string() }), rest)
    }

    #[tokio::test]
    async fn the_header_is_read_and_not_one_byte_more() {
        let v1 = b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 80\r\n".to_vec();
        for header in [v1, v2(1, 0x11, &[TCP4, &[4, 0, 1, 0]].concat())] {
            let (source, rest) = read(&accepting(), &[&header, &b"LOGIN a\nIS b\n"[..]].concat()).await;
            assert_eq!(
                (source.unwrap().as_str(), rest.as_slice()),
                ("192.0.2.7:8080", &b"LOGIN a\nIS b\n"[..])
            );
        }
        let (source, rest) = read(&accepting(), &[&v2(0, 0, &[]), &b"x"[..]].concat()).await;
        assert_eq!((source.unwrap().as_str(), rest.as_slice()), ("the peer", &b"x"[..]));
        let (source, _) = read(&accepting(), b"PROXY TCP4 192").await;
        assert!(matches!(source, Err(ProxyHeaderError::Ended(_))), "{source:?}");
    }

    #[tokio::test]
    async fn s15_nothing_is_read_where_it_is_refused_and_nothing_of_strangers() {
        let header = b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 80\r\n";
        let (source, rest) = read(&ClientAddressRules::default(), header).await;
        assert_eq!((source.unwrap().as_str(), rest.as_slice()), ("the peer", &header[..]));
        let trusted_proxies = TrustedProxies::new("192.0.2.0/24".parse().unwrap());
        let rules = ClientAddressRules { trusted_proxies, ..accepting() };
        let (source, rest) = read(&rules, header).await;
        assert!(matches!(source, Err(ProxyHeaderError::Stranger)));
        assert_eq!(rest, header);
    }

    #[tokio::test(start_paused = true)]
    async fn s15_a_missing_header_ends_the_wait_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut stream, peer) = listener.accept().await.unwrap();
        client.write_all(b"PROXY TCP4 192.0.2").await.unwrap();
        let began = Instant::now();
        let read = read_source(&mut stream, peer, &accepting(), Duration::from_secs(5)).await;
        assert!(matches!(read, Err(ProxyHeaderError::TooLate)));
        assert_eq!(began.elapsed().as_secs(), 5);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_header_a_beginning_or_refused(
            beginning in prop_oneof![Just(&b""[..]), Just(V1_BEGINNING), Just(v2::PROTOCOL_PREFIX)],
            rest in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let bytes = [beginning, &rest].concat();
            match parse_header(&bytes) {
                Ok(Progress::NeedsBytes(count)) => {
                    prop_assert!(count > 0 && bytes.len() + count <= V2_MAX_BYTES);
                }
                Ok(Progress::NeedsLine(most)) => prop_assert!(most > 0 && bytes.len() + most <= V1_MAX_BYTES),
                Ok(Progress::Complete(_)) => prop_assert!(!beginning.is_empty()),
                Err(_) => {}
            }
        }
    }
}
