//! Clients that send for ever and never read.

use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use super::{alone, report};
use crate::harness::{Key, PATIENCE, TestGateway, by_length};

/// How much a gateway may grow for each stuck session, whatever the client sends: its buffers, filled.
const GROWTH_BYTES_A_SESSION: u64 = 384 * 1_024;
/// `isproxy_write_seconds`.
const WRITE_SECONDS: u64 = 5;
/// How long a client waits for room before it looks whether it may stop.
const PAUSE: Duration = Duration::from_millis(200);

/// An upstream that calls every name available, and remembers nothing: it must not be what grows.
pub fn start_forgetful_upstream() -> SocketAddr {
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
    stream.set_write_timeout(Some(PAUSE)).unwrap();
    stream.write_all(format!("{}\r\nIS warm.example\r\n", key.login()).as_bytes()).unwrap();
    let expected = "100 Login ok\r\nwarm.example available\r\n";
    let mut answered = vec![0; expected.len()];
    stream.read_exact(&mut answered).unwrap();
    assert_eq!(String::from_utf8(answered).unwrap(), expected);
    stream
}

/// Writes requests for as long as they are taken, and tries on until `stop`; how many bytes were taken.
fn write_for_ever(mut stream: &TcpStream, stop: &AtomicBool) -> usize {
    let line = format!("IS {}.example\r\n", "n".repeat(400));
    let part = line.repeat(64);
    let mut written = 0;
    while !stop.load(Ordering::Relaxed) {
        // Goes on within a line where the write before ended.
        match stream.write(&part.as_bytes()[written % line.len()..]) {
            Ok(count) => written += count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            // The gateway closed it.
            Err(_) => break,
        }
    }
    written
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

    let stop = AtomicBool::new(false);
    let (mut most, mut asked, mut slowest) = (before, 0, Duration::ZERO);
    let written: usize = thread::scope(|scope| {
        let writers: Vec<_> =
            sessions.iter().map(|session| scope.spawn(|| write_for_ever(session, &stop))).collect();
        // The clients' own windows are shut: the gateway's log tells when it has ended them.
        let stalled = |line: &Value| line["method"] == "SESSION" && line["reason"] == "write_stalled";
        let deadline = Instant::now() + 3 * PATIENCE;
        while gateway.access_log(0).iter().filter(|line| stalled(line)).count() < count {
            assert!(Instant::now() < deadline, "not every stuck session was ended");
            // Others are served meanwhile.
            let began = Instant::now();
            let name = format!("n{asked}.example");
            assert_eq!(reading.ask(&format!("IS {name}")), format!("{name} available"));
            slowest = slowest.max(began.elapsed());
            asked += 1;
            most = most.max(gateway.process().resident_bytes());
            thread::park_timeout(Duration::from_millis(20));
        }
        stop.store(true, Ordering::Relaxed);
        writers.into_iter().map(|writer| writer.join().unwrap()).sum()
    });
    assert_eq!(gateway.api_get("/", &key.authorization()).status, 200);
    let growth = most - before;
    report(
        "unread",
        &format!(
            "{count} sessions wrote {} KiB each and read nothing: the gateway grew by {} KiB at most; the slowest of \
             {asked} requests of another session took {slowest:.2?} meanwhile",
            written / count / 1_024,
            growth / 1_024
        ),
    );
    let bound = GROWTH_BYTES_A_SESSION * u64::try_from(count).unwrap();
    assert!(growth < bound, "the gateway grew by {growth} bytes; {bound} are allowed");
}
