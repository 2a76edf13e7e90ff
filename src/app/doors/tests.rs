//! Door threads that begin, and one that cannot.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::*;
use crate::app::testing::TestInstallation;

#[test]
fn a_thread_that_cannot_accept_is_an_error_and_no_other_accepts_beside_it() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let installation = runtime.block_on(TestInstallation::new());
    let opened = runtime.block_on(installation.open());
    let generation =
        Arc::new(Generation::first(Arc::clone(&installation.config), &opened.shared.metrics).unwrap());
    let sockets = Sockets::of(installation.sockets_with_a_broken_one());
    let address = sockets.addresses()[0].1;
    let refused = spawn(&opened.shared, &generation, &sockets, &Drain::default()).unwrap_err();
    assert!(format!("{refused:#}").starts_with("a door thread could not be started: "), "{refused:#}");
    drop(sockets);
    // The other thread, which could, ends and lets go of its socket.
    let until = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).is_ok() {
        assert!(Instant::now() < until);
        std::thread::yield_now();
    }
}
