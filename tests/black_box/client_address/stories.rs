//! What the article says of addresses and users, once more with everybody behind proxies.

use super::{CLIENT, Front, OTHER_CLIENT, gateway};
use crate::harness::{Key, TestGateway, Wire};

const REFUSED: &str = "400 Login failed";
const ADMITTED: &str = "100 Login ok";

/// Status at the API and answer to a `LOGIN`, of a key from `client`.
fn by_key(front: Front, gateway: &TestGateway, client: &str, key: &Key) -> (u16, String) {
    let status = front.api_get(gateway, client, &key.authorization()).status;
    (status, front.isproxy(gateway, client).ask(&key.login()))
}

fn session(front: Front, gateway: &TestGateway, client: &str, login: &str) -> Wire {
    let mut session = front.isproxy(gateway, client);
    assert_eq!(session.ask(login), ADMITTED);
    session
}

#[test]
fn r52_behind_proxies_a_password_from_an_address_outside_the_list_is_refused_at_both_doors() {
    let gateway = gateway();
    gateway.create_customer("acme");
    for (number, front) in Front::ALL.into_iter().enumerate() {
        let name = format!("acme/user{number}");
        let user = gateway.create_user(&name);
        let outside = session(front, &gateway, OTHER_CLIENT, &user.login());
        gateway.cli(&["allow", "add", &format!("user:{name}"), "192.0.2.0/24"]).expect_success();
        let before = gateway.api_upstream.requests().len();
        front
            .api_get(&gateway, OTHER_CLIENT, &user.authorization())
            .assert_refusal(401, "AuthenticationError");
        assert_eq!(front.isproxy(&gateway, OTHER_CLIENT).ask(&user.login()), REFUSED, "{front:?}");
        { outside }.expect_closed();
        assert_eq!(gateway.api_upstream.requests().len(), before, "{front:?}");
        assert_eq!(front.api_get(&gateway, CLIENT, &user.authorization()).status, 200, "{front:?}");
        assert_eq!(front.isproxy(&gateway, CLIENT).ask(&user.login()), ADMITTED, "{front:?}");
    }
}

#[test]
fn r60_behind_proxies_deactivation_ends_every_access_and_reactivation_restores_it() {
    let gateway = gateway();
    gateway.create_customer("acme");
    gateway.create_user("acme/robin");
    let kim = gateway.create_user("acme/kim");
    let robin = gateway.create_key("acme/robin");
    let sessions: Vec<Wire> = Front::ALL
        .into_iter()
        .flat_map(|front| [kim.login(), robin.login()].map(|login| session(front, &gateway, CLIENT, &login)))
        .collect();
    for name in ["acme/kim", "acme/robin"] {
        gateway.cli(&["user", "deactivate", name]).expect_success();
    }
    for mut session in sessions {
        session.expect_closed();
    }
    for front in Front::ALL {
        for authorization in [kim.authorization(), robin.authorization()] {
            front.api_get(&gateway, CLIENT, &authorization).assert_refusal(401, "AuthenticationError");
        }
        for login in [kim.login(), robin.login()] {
            assert_eq!(front.isproxy(&gateway, CLIENT).ask(&login), REFUSED, "{front:?}");
        }
    }
    assert_eq!(gateway.api_upstream.bytes_received(), 0);
    for name in ["acme/kim", "acme/robin"] {
        gateway.cli(&["user", "reactivate", name]).expect_success();
    }
    for front in Front::ALL {
        assert_eq!(front.api_get(&gateway, CLIENT, &kim.authorization()).status, 200, "{front:?}");
        assert_eq!(front.isproxy(&gateway, CLIENT).ask(&kim.login()), ADMITTED, "{front:?}");
        assert_eq!(by_key(front, &gateway, CLIENT, &robin), (200, ADMITTED.to_owned()), "{front:?}");
    }
}

#[test]
fn r61_behind_proxies_lists_of_customer_user_and_key_must_each_admit_the_client() {
    let gateway = gateway();
    let inside = (200, ADMITTED.to_owned());
    let outside = (403, REFUSED.to_owned());
    for (number, front) in Front::ALL.into_iter().enumerate() {
        let handle = format!("acme{number}");
        gateway.create_customer(&handle);
        let admin = format!("{handle}/admin");
        let key = gateway.create_key(&admin);
        let from = |client: &str| by_key(front, &gateway, client, &key);
        let narrow = |owner: String, network: &str| {
            gateway.cli(&["allow", "add", &owner, network]).expect_success();
        };
        let both = || (from(CLIENT), from(OTHER_CLIENT));
        assert_eq!(both(), (inside.clone(), inside.clone()), "{front:?}");
        // Neither proxy's own address helps anybody.
        narrow(format!("customer:{handle}"), "127.0.0.0/8");
        assert_eq!(both(), (outside.clone(), outside.clone()), "{front:?}");
        narrow(format!("customer:{handle}"), "192.0.2.0/24");
        narrow(format!("customer:{handle}"), "203.0.113.0/24");
        assert_eq!(both(), (inside.clone(), inside.clone()), "{front:?}");
        let open = session(front, &gateway, OTHER_CLIENT, &key.login());
        narrow(format!("user:{admin}"), "192.0.2.0/24");
        { open }.expect_closed();
        assert_eq!(both(), (inside.clone(), outside.clone()), "{front:?}");
        narrow(format!("key:{}", key.id), "203.0.113.0/24");
        assert_eq!(both(), (outside.clone(), outside.clone()), "{front:?}");
        front.api_get(&gateway, CLIENT, &key.authorization()).assert_refusal(403, "AuthorizationError");
    }
}

#[test]
fn r62_behind_proxies_a_closed_access_point_is_refused_with_a_right_credential() {
    let gateway = gateway();
    gateway.create_customer("acme");
    for (login, access, status, line) in [
        ("noapi", "console,isproxy", 403, ADMITTED),
        ("nolines", "console,api", 200, REFUSED),
        ("neither", "console", 403, REFUSED),
    ] {
        let name = format!("acme/{login}");
        gateway.create_user_with(&name, &["--access", access]);
        let key = gateway.create_key(&name);
        for front in Front::ALL {
            assert_eq!(by_key(front, &gateway, CLIENT, &key), (status, line.to_owned()), "{front:?} {login}");
        }
    }
    assert_eq!(gateway.api_upstream.requests().len(), Front::ALL.len());
}
