//! What is counted: requests of each kind, one after the other on one connection.

use crate::black_box::harness::{
    Authority, FrameClient, Http2Frame, Installation, Key, LineReply, Request, TestGateway, Wire,
};

/// Lines of `IsProxy` that are sent at once.
const PIPELINED: usize = 20;
/// Networks in each listener's list; one of them is the tests' own.
const NETWORKS: usize = 1_000;

/// One kind of request.
pub struct Row {
    /// As the baseline calls it.
    pub name: &'static str,
    /// How often it is asked.
    pub turns: usize,
    /// Requests that are asked in one turn.
    pub requests_of_a_turn: usize,
    /// Connects; answers what asks one turn.
    pub open: fn(&TestGateway, &Key) -> Box<dyn FnMut()>,
}

/// All rows.
pub const ROWS: [Row; 6] = [
    Row { name: "API, HTTP/1.1, GET with a key", turns: 400, requests_of_a_turn: 1, open: get },
    // Of more than 200 in a second some are not kept for `latchkey explain`, which costs less.
    Row { name: "API, HTTP/1.1, refused key", turns: 150, requests_of_a_turn: 1, open: refused },
    Row { name: "API, HTTP/1.1, POST with a body", turns: 400, requests_of_a_turn: 1, open: post },
    Row { name: "API, TLS 1.3, GET with a key", turns: 400, requests_of_a_turn: 1, open: tls },
    Row { name: "API, HTTP/2, GET with a key", turns: 400, requests_of_a_turn: 1, open: http2 },
    Row { name: "IsProxy, pipelined IS", turns: 40, requests_of_a_turn: PIPELINED, open: isproxy },
];

/// What the rows are asked of: one door thread, an access log, and long lists.
pub fn installation() -> Installation {
    let networks: Vec<String> = std::iter::once("127.0.0.0/8".to_owned())
        // Every other /24, so that none of them are joined.
        .chain((1..NETWORKS).map(|n| format!("10.{}.{}.0/24", n / 128, n % 128 * 2)))
        .collect();
    let installation = Installation::configured(|config| {
        config["threads"] = 1.into();
        for listener in config["listeners"].as_array_mut().unwrap() {
            if ["http", "isproxy"].contains(&listener["protocol"].as_str().unwrap()) {
                listener["allow_list"] = networks.clone().into();
            }
        }
    });
    // All replies at once, whatever came in how many pieces.
    installation.isproxy_upstream.reply_with(|line| match line.strip_prefix("IS ") {
        Some(name) if name == domain(PIPELINED - 1) => {
            LineReply::Lines((0..PIPELINED).map(|number| format!("{} available", domain(number))).collect())
        }
        _ => LineReply::Nothing,
    });
    installation
}

fn domain(number: usize) -> String {
    format!("name-{number:02}.example")
}

fn get(gateway: &TestGateway, key: &Key) -> Box<dyn FnMut()> {
    exchanging(gateway.connect("api"), request("GET", key), 200)
}

fn refused(gateway: &TestGateway, key: &Key) -> Box<dyn FnMut()> {
    let mut unknown = key.clone();
    let last = unknown.text.pop();
    unknown.text.push(if last == Some('A') { 'B' } else { 'A' });
    exchanging(gateway.connect("api"), request("GET", &unknown), 401)
}

fn post(gateway: &TestGateway, key: &Key) -> Box<dyn FnMut()> {
    let body = br#"{"name":"example.com","period":1}"#;
    exchanging(gateway.connect("api"), request("POST", key).body(body), 200)
}

fn tls(gateway: &TestGateway, key: &Key) -> Box<dyn FnMut()> {
    exchanging(gateway.connect_tls(), request("GET", key), 200)
}

fn request(method: &str, key: &Key) -> Request {
    Request::new(method, "/v2/domains/example.com").authorization(&key.authorization())
}

fn exchanging(mut wire: Wire, request: Request, status: u16) -> Box<dyn FnMut()> {
    Box::new(move || assert_eq!(wire.exchange(&request).status, status))
}

fn http2(gateway: &TestGateway, key: &Key) -> Box<dyn FnMut()> {
    let wire = Wire::connect_tls(gateway.address("api-tls"), Authority::shared().client(&["h2"]));
    let mut client = FrameClient::over(wire, 65_535);
    let authorization = key.authorization();
    Box::new(move || {
        let stream = client.get("/v2/domains/example.com", &authorization);
        client.expect_head(stream);
        while !matches!(client.next_frame(), Some(Http2Frame::Data(of, _, true)) if of == stream) {}
    })
}

fn isproxy(gateway: &TestGateway, key: &Key) -> Box<dyn FnMut()> {
    let mut session = gateway.isproxy_session(&key.login());
    let lines: Vec<String> = (0..PIPELINED).map(|number| format!("IS {}\r\n", domain(number))).collect();
    let lines = lines.concat();
    Box::new(move || {
        session.send(&lines);
        for number in 0..PIPELINED {
            assert_eq!(session.read_line(), format!("{} available", domain(number)));
        }
    })
}
