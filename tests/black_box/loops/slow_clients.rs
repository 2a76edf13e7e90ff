//! Clients that take their time: with a head, with a body, with reading, with anything at all.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::{alone, percentiles, report};
use crate::harness::{PATIENCE, Request, TestGateway, by_length};

/// A valid client's requests, 99 of 100, are answered within this.
const P99: Duration = Duration::from_millis(100);
/// What all of them together may cost.
const GROWTH_BYTES: u64 = 64 * 1_048_576;
/// Each sends a byte, or reads none, as often as this.
const PACE: Duration = Duration::from_millis(500);
/// What those who do not read ask for.
const LARGE: usize = 4 * 1_048_576;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slow {
    Head,
    Body,
    Read,
    Silent,
}

/// A connection that is opened anew whenever the gateway has ended it.
struct SlowClient {
    kind: Slow,
    address: SocketAddr,
    begin: Vec<u8>,
    stream: TcpStream,
}

impl SlowClient {
    fn open(kind: Slow, address: SocketAddr, authorization: &str) -> Self {
        let begin = match kind {
            Slow::Silent => String::new(),
            Slow::Head => "GET / HTTP/1.1\r\nX-Slow: ".to_owned(),
            Slow::Body => format!(
                "POST / HTTP/1.1\r\nHost: api.example\r\nAuthorization: {authorization}\r\nContent-Length: 1000000\r\n\r\n"
            ),
            Slow::Read => {
                format!("GET /large HTTP/1.1\r\nHost: api.example\r\nAuthorization: {authorization}\r\n\r\n")
            }
        }
        .into_bytes();
        Self { kind, address, stream: connect(address, &begin), begin }
    }

    /// Does its next little; answers whether it had to begin anew.
    fn go_on(&mut self) -> usize {
        let is_open = match self.kind {
            Slow::Head | Slow::Body => self.stream.write_all(b"a").is_ok(),
            Slow::Silent => !matches!(self.stream.read(&mut [0]), Ok(0)),
            // What was sent stays unread; the end of it is not seen, and need not be.
            Slow::Read => true,
        };
        if !is_open {
            self.stream = connect(self.address, &self.begin);
        }
        usize::from(!is_open)
    }
}

fn connect(address: SocketAddr, begin: &[u8]) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.connect_timeout(&address.into(), PATIENCE).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.write_all(begin).unwrap();
    stream.set_nonblocking(true).unwrap();
    stream
}

#[test]
fn s74_slow_clients_of_every_kind_keep_nobody_waiting_and_cost_little_memory() {
    let _alone = alone();
    let (count, seconds) = (by_length(50, 200), by_length(3, 30));
    let gateway = TestGateway::start();
    gateway.create_customer("acme");
    let key = gateway.create_key("acme/admin");
    let large = vec![b'a'; LARGE];
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n");
    gateway.api_upstream.answer("/large", [head.as_bytes(), &large].concat());
    let (address, authorization) = (gateway.address("api"), key.authorization());
    let request = Request::get("/").authorization(&authorization);
    assert_eq!(gateway.connect("api").exchange(&request).status, 200);
    let before = gateway.process().resident_bytes();
    let (stop, renewed) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (mut times, mut most) = (Vec::new(), before);
    thread::scope(|scope| {
        scope.spawn(|| {
            let kinds = [Slow::Head, Slow::Body, Slow::Read, Slow::Silent];
            let all = kinds.iter().flat_map(|kind| std::iter::repeat_n(kind, count));
            let mut clients: Vec<SlowClient> =
                all.map(|kind| SlowClient::open(*kind, address, &authorization)).collect();
            while !stop.load(Ordering::Relaxed) {
                renewed.fetch_add(clients.iter_mut().map(SlowClient::go_on).sum(), Ordering::Relaxed);
                thread::park_timeout(PACE);
            }
        });
        let (mut kept, end) = (gateway.connect("api"), Instant::now() + Duration::from_secs(seconds as u64));
        while Instant::now() < end {
            // One request on a kept connection, and one on a new one.
            for fresh in [false, true] {
                let began = Instant::now();
                let status = if fresh {
                    gateway.connect("api").exchange(&request).status
                } else {
                    kept.exchange(&request).status
                };
                assert_eq!(status, 200);
                times.push(began.elapsed());
            }
            most = most.max(gateway.process().resident_bytes());
            thread::park_timeout(Duration::from_millis(5));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let grown = most - before;
    times.sort();
    let p99 = times[times.len() * 99 / 100];
    report(
        "slow_clients",
        &format!(
            "{count} slow clients of each kind for {seconds} s, {} connections begun anew: {} requests of others {}; {} KiB more",
            renewed.into_inner(),
            times.len(),
            percentiles(times),
            grown / 1_024,
        ),
    );
    assert!(p99 < P99, "{p99:?}");
    assert!(grown < GROWTH_BYTES, "{grown} bytes more");
}
