//! Several servers: how they share the load, and what happens when one is away, broken or back.

use std::net::SocketAddr;
use std::time::Duration;

use super::harness::{RawUpstream, Session, TestDoor, on_door_thread};

const GET: &str = "GET /v2/x HTTP/1.1\r\nHost: api.example\r\nAuthorization: ApiKey {key}\r\n\r\n";
const POST: &str = "POST /v2/x HTTP/1.1\r\nHost: api.example\r\nAuthorization: ApiKey {key}\r\nContent-Length: 4\r\n\r\nabcd";

fn requests(upstream: &RawUpstream) -> usize {
    upstream.seen().iter().map(|seen| seen.matches("HTTP/1.1\r\n").count()).sum()
}

/// An address where nobody listens.
async fn nobody() -> SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// Closes each connection once it has read a request.
async fn breaking() -> RawUpstream {
    RawUpstream::start(async |mut session: Session| {
        session.request().await;
    })
    .await
}

#[test]
fn three_servers_share_the_load() {
    on_door_thread(async {
        let servers =
            [RawUpstream::friendly().await, RawUpstream::friendly().await, RawUpstream::friendly().await];
        let addresses = servers.each_ref().map(|server| server.address);
        let door = TestDoor::before_several(&addresses, |_| {}).await;
        let mut client = door.connect().await;
        for _ in 0..300 {
            client.send(GET).await;
            assert_eq!(client.answer().await.status, 200);
        }
        let counts = servers.each_ref().map(requests);
        assert_eq!(counts.iter().sum::<usize>(), 300);
        assert!(counts.iter().all(|count| (60..140).contains(count)), "{counts:?}");
        assert!(servers.iter().all(|server| server.seen().len() == 1), "one connection each");
    });
}

#[test]
fn a_server_that_is_busy_is_asked_less() {
    on_door_thread(async {
        let slow = RawUpstream::start(async |mut session: Session| {
            session.request().await;
            session.closed().await;
        })
        .await;
        let quick = RawUpstream::friendly().await;
        let door = TestDoor::before_several(&[slow.address, quick.address], |_| {}).await;
        let mut stuck = Vec::new();
        while requests(&slow) == 0 {
            let mut client = door.connect().await;
            client.send(GET).await;
            // Either it is answered, or it is the one that hangs.
            let answered = tokio::time::timeout(Duration::from_millis(100), client.answer()).await.is_ok();
            if !answered {
                stuck.push(client);
            }
        }
        let mut client = door.connect().await;
        for _ in 0..50 {
            client.send(GET).await;
            assert_eq!(client.answer().await.status, 200);
        }
        assert_eq!((requests(&slow), stuck.len()), (1, 1));
    });
}

#[test]
fn s73_a_server_that_takes_no_connection_is_passed_over_before_a_byte_is_sent() {
    on_door_thread(async {
        let live = RawUpstream::friendly().await;
        let door = TestDoor::before_several(&[nobody().await, live.address], |_| {}).await;
        for round in 0..40 {
            let request = if round % 2 == 0 { GET } else { POST };
            assert_eq!(door.ask(request).await.status, 200, "round {round}");
        }
        assert_eq!(requests(&live), 40);
        let seen = live.seen().concat();
        assert_eq!(seen.matches("abcd").count(), 20, "a body is sent once: {seen}");
    });
}

#[test]
fn s73_another_server_is_tried_once_and_no_more() {
    on_door_thread(async {
        let away = [nobody().await, nobody().await, nobody().await];
        let door = TestDoor::before_several(&away, |setting| setting.limits.upstream_failures = 0).await;
        let answer = door.ask(GET).await;
        assert_eq!((answer.status, &answer.json()["type"]), (502, &"ProviderConnectionError".into()));
    });
}

#[test]
fn s73_a_request_of_which_a_byte_was_sent_goes_to_no_other_server() {
    on_door_thread(async {
        let (one, other) = (breaking().await, breaking().await);
        let door = TestDoor::before_several(&[one.address, other.address], |_| {}).await;
        for sent in 1..=20 {
            assert_eq!(door.ask(POST).await.status, 502);
            assert_eq!(requests(&one) + requests(&other), sent);
        }
    });
}

#[test]
fn a_server_that_breaks_off_is_ejected_tried_again_and_taken_back() {
    on_door_thread(async {
        let works = std::rc::Rc::new(std::cell::Cell::new(false));
        let mended = std::rc::Rc::clone(&works);
        let broken = RawUpstream::start(async move |mut session: Session| {
            while session.request().await.is_some() && works.get() {
                session.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        })
        .await;
        let sound = RawUpstream::friendly().await;
        let door = TestDoor::before_several(&[broken.address, sound.address], |_| {}).await;
        tokio::time::pause();
        let mut failed = 0;
        for _ in 0..100 {
            failed += usize::from(door.ask(GET).await.status == 502);
        }
        assert_eq!((failed, requests(&broken)), (5, 5), "ejected after five");
        tokio::time::advance(Duration::from_secs(11)).await;
        for _ in 0..20 {
            failed += usize::from(door.ask(GET).await.status == 502);
        }
        assert_eq!((failed, requests(&broken)), (6, 6), "one request tried it");
        mended.set(true);
        tokio::time::advance(Duration::from_secs(21)).await;
        for _ in 0..40 {
            assert_eq!(door.ask(GET).await.status, 200);
        }
        assert!(requests(&broken) > 10, "it has its share again: {}", requests(&broken));
    });
}

#[test]
fn answers_that_a_server_means_do_not_eject_it_and_late_ones_do() {
    on_door_thread(async {
        let unhappy =
            RawUpstream::answering("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n").await;
        let silent = RawUpstream::start(async |mut session: Session| session.closed().await).await;
        let door = TestDoor::before_several(&[unhappy.address, silent.address], |_| {}).await;
        tokio::time::pause();
        let mut late = 0;
        for _ in 0..60 {
            match door.ask(GET).await.status {
                500 => {}
                504 => late += 1,
                other => panic!("{other}"),
            }
        }
        // Five eject it. Its 30 seconds of silence are over with the ejection, so that it is tried now and then.
        assert!((5..=10).contains(&late), "{late}");
        assert_eq!(requests(&unhappy), 60 - late);
    });
}

#[test]
fn a_body_that_breaks_off_counts_and_a_client_that_goes_away_does_not() {
    on_door_thread(async {
        let half = RawUpstream::start(async |mut session: Session| {
            session.request().await;
            session.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await;
        })
        .await;
        let resting = RawUpstream::start(async |mut session: Session| {
            session.request().await;
            session.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nrest").await;
            session.closed().await;
        })
        .await;
        let door = TestDoor::before_several(&[half.address, resting.address], |_| {}).await;
        for _ in 0..60 {
            let mut client = door.connect().await;
            client.send(GET).await;
            client.head().await;
            // Only the first server ends by itself.
            let _ = tokio::time::timeout(Duration::from_millis(5), client.rest()).await;
        }
        assert_eq!(requests(&half), 5);
        assert!(requests(&resting) >= 50, "{}", requests(&resting));
    });
}
