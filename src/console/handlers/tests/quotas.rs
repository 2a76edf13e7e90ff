//! The pages of quotas through the router.

use std::num::NonZeroU32;

use http::StatusCode;

use super::api_keys::key_of;
use crate::auth::{Holder, KeyToMake, PasswordEnd};
use crate::console::test_browser::TestConsole;
use crate::model::QuotaTerms;

const OF_ALEX: &str = "/account/users/alex/quotas";

async fn terms_of(console: &TestConsole, holder: &str) -> Option<String> {
    let holder: Holder = holder.parse().unwrap();
    console.plane.quota(&holder).await.unwrap().map(|state| state.terms.to_string())
}

async fn give(console: &TestConsole, holder: &str, day: u64) {
    let terms = QuotaTerms::new(Some(day), None).unwrap();
    console.plane.set_quota(&holder.parse().unwrap(), Some(terms)).await.unwrap();
}

#[tokio::test]
async fn an_administrator_gives_quotas_to_users_and_keys_and_takes_them_away() {
    let console = TestConsole::new().await;
    let (key, _) = key_of(&console, "acme/alex", "api").await;
    let mut admin = console.signed_in("acme/admin").await;
    let page = admin.get(OF_ALEX).await;
    assert!(page.says("API key “Billing server”") && page.says("The whole account"), "{page:?}");
    let saved = admin.submit(OF_ALEX, &[("of", "user"), ("day", "1000"), ("month", "")]).await;
    assert!(saved.says("The quota was saved.") && saved.says("0 of 1,000 requests"), "{saved:?}");
    let key = key.to_string();
    admin.submit(OF_ALEX, &[("of", &key), ("day", "5"), ("month", " 50 ")]).await;
    assert_eq!(terms_of(&console, "user:acme/alex").await.as_deref(), Some("1000 a day"));
    assert_eq!(terms_of(&console, &format!("key:{key}")).await.as_deref(), Some("5 a day, 50 a month"));
    let all = admin.get("/account/quotas").await;
    assert!(
        all.says("0 of 1,000 requests") && all.says("0 of 50 requests") && all.says("2 quotas"),
        "{all:?}"
    );
    let at_key = format!("href=\"{OF_ALEX}?key={key}#quota-{key}\"");
    assert!(all.says(&at_key) && all.says(&format!("href=\"{OF_ALEX}\"")), "{all:?}");
    let gone = admin.submit(OF_ALEX, &[("of", "user")]).await;
    assert!(gone.says("The quota was taken away."), "{gone:?}");
    let again = admin.submit(OF_ALEX, &[("of", "user")]).await;
    assert!(again.says("Nothing was changed."), "{again:?}");
    assert_eq!(terms_of(&console, "user:acme/alex").await, None);
}

#[tokio::test]
async fn what_is_no_number_is_told_beside_its_field_and_nothing_is_saved() {
    let console = TestConsole::new().await;
    let mut admin = console.signed_in("acme/admin").await;
    admin.get(OF_ALEX).await;
    for typed in ["0", "-1", "many", "1000000000001", "1.5"] {
        let answer = admin.post(OF_ALEX, &[("of", "user"), ("day", typed), ("month", "7")]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{typed}");
        assert!(answer.says("Enter a whole number from 1 to 1,000,000,000,000"), "{answer:?}");
        assert!(answer.says(&format!("value=\"{typed}\"")) && answer.says("value=\"7\""), "{answer:?}");
    }
    assert_eq!(terms_of(&console, "user:acme/alex").await, None);
    for of in ["account", "nonsense", "key_0000000000001"] {
        let answer = admin.post(OF_ALEX, &[("of", of), ("day", "5")]).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{of}");
    }
}

#[tokio::test]
async fn everybody_sees_the_own_quotas_with_a_warning_and_changes_none() {
    let console = TestConsole::new().await;
    give(&console, "user:acme/alex", 10).await;
    give(&console, "customer:acme", 100).await;
    console.world.add_uses(8).await;
    let mut alex = console.signed_in("acme/alex").await;
    let own = alex.get("/profile/quotas").await;
    assert!(own.says("8 of 10 requests") && own.says("8 of 100 requests"), "{own:?}");
    assert!(own.says("Nearly used up") && !own.says("name=\"day\""), "{own:?}");
    let profile = alex.get("/profile").await;
    assert!(profile.says("8 of the 10 requests that alex may make today are used."), "{profile:?}");
    let sent = alex.post("/profile/quotas", &[("of", "user"), ("day", "1000")]).await;
    assert_eq!(sent.status, StatusCode::FORBIDDEN);
    assert_eq!(alex.get("/account/quotas").await.status, StatusCode::FORBIDDEN);
    assert_eq!(alex.get("/account/users/admin/quotas").await.status, StatusCode::FORBIDDEN);
    assert_eq!(alex.get("/account/users/nobody/quotas").await.status, StatusCode::NOT_FOUND);
    assert_eq!(terms_of(&console, "user:acme/alex").await.as_deref(), Some("10 a day"));
}

#[tokio::test]
async fn many_keys_are_cut_into_parts_of_which_the_one_with_a_key_can_be_asked_for() {
    let console = TestConsole::new().await;
    let order = KeyToMake::new("acme/alex".parse().unwrap(), "Shop", "api".parse().unwrap());
    let count = NonZeroU32::new(51).unwrap();
    let made = console.plane.create_keys(&order, count, PasswordEnd::Accepted).await.unwrap();
    console.world.reload().await;
    let listed = console.plane.list_keys(Some(&"acme/alex".parse().unwrap())).await.unwrap();
    assert_eq!((made.keys.len(), listed.len()), (51, 51));
    let (first, last) = (listed[0].key.id.to_string(), listed[50].key.id.to_string());
    let mut admin = console.signed_in("acme/admin").await;
    for path in [OF_ALEX.to_owned(), format!("{OF_ALEX}?page=9"), format!("{OF_ALEX}?key={first}")] {
        let page = admin.get(&path).await;
        assert!(page.says("1–50 of 51 API keys") && page.says("The whole account"), "{path}: {page:?}");
        assert!(page.says(&format!("quota-{first}")) && !page.says(&format!("quota-{last}")), "{path}");
    }
    for path in [format!("{OF_ALEX}?page=2"), format!("{OF_ALEX}?key={last}")] {
        let page = admin.get(&path).await;
        assert!(page.says("51–51 of 51 API keys") && !page.says("The whole account"), "{path}: {page:?}");
        assert!(page.says(&format!("quota-{last}")) && !page.says(&format!("quota-{first}")), "{path}");
    }
    let wrong = admin.post(OF_ALEX, &[("of", &last), ("day", "many")]).await;
    assert!(wrong.says("value=\"many\""), "the part that holds the key comes back: {wrong:?}");
    let saved = admin.submit(OF_ALEX, &[("of", &last), ("day", "7")]).await;
    assert!(saved.says("The quota was saved.") && saved.says("0 of 7 requests"), "{saved:?}");
    let warned = admin.get("/account/quotas?page=7").await;
    assert!(warned.says("1 quota") && warned.says("0 of 7 requests"), "beyond the end: {warned:?}");
}
