//! Clients that send for ever and never read.

use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, Socket, Type};

use super::{alone, report};
use crate::harness::{Key, PATIENCE, TestGateway, by_length, wait_for};

/// How much a gateway may grow for all stuck sessions together.
const GROWTH_BYTES: u64 = 16 * 1_024 * 1_024;
/// `isproxy_write_seconds`: longer than it takes to fill every buffer on the way.
const WRITE_SECONDS: u64 = 8;
/// A client that could write nothing for so long has written all that it can.
const STUCK: Duration = Duration::from_millis(500);

/// An upstream that calls every name available, and remembers nothing: it must not be what grows.
fn start_forgetful_upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut writer = BufWriter::new(stream.try_clone().unwrap());
                let mut lines = BufReader::new(stream);
                let mut line = String::new();
                while lines.read_line(&mut line).is_ok_and(|count| count > 0) {
                    let reply = line.trim_end().replacen("IS ", "", 1) + " available\r\n";
                    line.clear();
                    let sent = writer.write_all(reply.as_bytes());
                    if sent.is_err() || (lines.buffer().is_empty() && writer.flush().is_err()) {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// A session with small buffers of its own, logged in, that was answered once.
fn open_session(address: SocketAddr, key: &Key) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(32 * 1_024).unwrap();
    socket.set_send_buffer_size(64 * 1_024).unwrap();
    socket.connect_timeout(&address.into(), PATIENCE).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(STUCK)).unwrap();
    stream.write_all(format!("{}\r\nIS warm.example\r\n", key.login()).as_bytes()).unwrap();
    let expected = "100 Login ok\r\nwarm.example available\r\n";
    let mut answered = vec![0; expected.len()];
    stream.read_exact(&mut answered).unwrap();
    assert_eq!(String::from_utf8(answered).unwrap(), expected);
    stream
}

/// Writes requests until nothing more is taken; how many bytes were.
fn write_until_stuck(mut stream: &TcpStream) -> usize {
    let line = format!("IS {}.example\r\n", "n".repeat(400));
    let part = line.repeat(64);
    let mut written = 0;
    loop {
        // Goes on within a line where the write before ended.
        match stream.write(&part.as_bytes()[written % line.len()..]) {
            Ok(count) => written += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return written;
            }
            Err(error) => panic!("the session ended after {written} bytes: {error}"),
        }
    }
}

#[test]
fn sessions_that_never_read_cost_little_memory_delay_nobody_and_are_closed() {
    let _alone = alone();
    let count = by_length(64, 128);
    let upstream = start_forgetful_upstream();
    let gateway = TestGateway::configured(|config| {
        config["upstreams"][1]["servers"] = json!([upstream.to_string()]);
        config["limits"]["isproxy_write_seconds"] = json!(WRITE_SECONDS);
    });
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let mut reading = gateway.isproxy_session(&key.login());
    let address = gateway.address("isproxy");
    let sessions: Vec<TcpStream> = (0..count).map(|_| open_session(address, &key)).collect();
    let before = gateway.process().resident_bytes();

    let written: usize = thread::scope(|scope| {
        let writers: Vec<_> =
            sessions.iter().map(|session| scope.spawn(move || write_until_stuck(session))).collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    });
    let growth = gateway.process().resident_bytes().saturating_sub(before);
    assert!(sessions.iter().all(|session| session.take_error().unwrap().is_none()), "a session ended early");

    // Others are served meanwhile.
    let asked = Instant::now();
    for number in 0..50 {
        let name = format!("n{number}.example");
        assert_eq!(reading.ask(&format!("IS {name}")), format!("{name} available"));
    }
    assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
    let others = asked.elapsed();
    assert!(others < Duration::from_secs(5), "50 requests of another session took {others:?}");

    // What they sent and nobody read makes the end a reset, which the socket tells once.
    let mut open: Vec<&TcpStream> = sessions.iter().collect();
    wait_for("the end of every stuck session", || {
        open.retain(|session| session.take_error().unwrap().is_none());
        open.is_empty().then_some(())
    });
    assert_eq!(reading.ask("IS last.example"), "last.example available");
    report(
        "unread",
        &format!(
            "{count} sessions wrote {} KiB each and read nothing: the gateway grew by {} KiB; 50 requests of another \
             session took {others:.2?} meanwhile",
            written / count / 1_024,
            growth / 1_024
        ),
    );
    assert!(growth < GROWTH_BYTES, "the gateway grew by {growth} bytes");
}
