//! How an application connects (`/connect`): addresses, header, and samples with a placeholder. Never a key.

use askama::Template;

use crate::console::frame::Frame;

/// The page.
#[derive(Template)]
#[template(path = "console/connect.html")]
pub struct ConnectPage {
    /// What surrounds it.
    pub frame: Frame,
    /// The API's address, with a `/` at its end; `None`: none is offered.
    pub api: Option<String>,
    /// Host and port of `IsProxy`; `None`: none is offered.
    pub isproxy: Option<String>,
    /// Where the viewer makes keys; `None`: the viewer may not.
    pub keys: Option<String>,
}

/// A session as it goes over the line.
const SESSION: &str = "\
→ STARTTLS
← 100 OK
  (now TLS)
→ LOGIN $API_KEY
← 100 Login ok
→ IS example.com
← example.com available
→ QUIT";

/// A request to the API below `address`, with the key from `$API_KEY`.
pub fn api_request(address: &str) -> String {
    let address = address.trim_end_matches('/');
    format!("curl -H \"Authorization: ApiKey $API_KEY\" {address}/v2/domains/example.com/check")
}

/// A question to `IsProxy` at `address`, with the key from `$API_KEY`.
pub fn isproxy_request(address: &str) -> String {
    format!("echo \"$API_KEY\" | latchkey isproxy {address} --ca ca.crt --key-stdin example.com")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::frame::Place;
    use crate::console::pages::samples::frame;
    use crate::console::testing::check_page;

    fn page() -> ConnectPage {
        ConnectPage {
            frame: frame("Connect", Place::Connect),
            api: Some("https://api.example:8701/".into()),
            isproxy: Some("is.example:2001".into()),
            keys: Some("/profile/api-keys".into()),
        }
    }

    #[test]
    fn the_samples_hold_a_variable_in_place_of_a_key() {
        let html = check_page("connect", &page());
        let request = "ApiKey $API_KEY&#34; https://api.example:8701/v2/domains/example.com/check";
        assert!(html.contains(request), "{html}");
        assert!(html.contains("latchkey isproxy is.example:2001") && html.contains("STARTTLS"), "{html}");
    }

    #[test]
    fn what_is_not_offered_is_not_told() {
        let html =
            check_page("connect-none", &ConnectPage { api: None, isproxy: None, keys: None, ..page() });
        assert!(html.contains("Ask the operator") && !html.contains("/profile/api-keys"), "{html}");
    }
}
