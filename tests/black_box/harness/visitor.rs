//! Somebody at the console without a browser: keeps cookies, fills in the forms of the pages, follows where they lead.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Answer, Request, TestGateway, Wire, from_base32};

/// Redirects that are followed at most: the console needs three.
const REDIRECTS: usize = 6;

/// A browser's cookies, and the address that it comes from.
#[derive(Clone)]
pub struct Visitor<'g> {
    gateway: &'g TestGateway,
    /// Where it comes from; none: the usual address.
    source: Option<String>,
    /// The cookies that it keeps.
    pub cookies: BTreeMap<String, String>,
}

/// What came back, and for which address.
#[derive(Debug)]
pub struct Page {
    /// The answer.
    pub answer: Answer,
    /// The path with its query.
    pub path: String,
}

impl<'g> Visitor<'g> {
    /// Somebody who was never here.
    pub fn new(gateway: &'g TestGateway) -> Self {
        Self { gateway, source: None, cookies: BTreeMap::new() }
    }

    /// Somebody who was never here and comes from `source`.
    pub fn from(gateway: &'g TestGateway, source: &str) -> Self {
        Self { source: Some(source.to_owned()), ..Self::new(gateway) }
    }

    /// Asks for a page, and shows it wherever it leads.
    pub fn open(&mut self, path: &str) -> Page {
        let answered = self.get(path);
        self.follow(answered)
    }

    /// Asks for a page, and follows nothing.
    pub fn get(&mut self, path: &str) -> Page {
        self.send("GET", path, None)
    }

    /// Sends the form of `page` whose action is `action` with `fields` besides its hidden ones; follows where it leads.
    #[track_caller]
    pub fn submit(&mut self, page: &Page, action: &str, fields: &[(&str, &str)]) -> Page {
        let answered = self.submit_only(page, action, fields);
        self.follow(answered)
    }

    /// Sends the form, and follows nothing.
    #[track_caller]
    pub fn submit_only(&mut self, page: &Page, action: &str, fields: &[(&str, &str)]) -> Page {
        let hidden = page.hidden_fields(action);
        let hidden = hidden.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        // What is given here stands in the place of what the page has.
        let kept = hidden.filter(|(name, _)| fields.iter().all(|(other, _)| other != name));
        let all: Vec<(&str, &str)> = kept.chain(fields.iter().copied()).collect();
        self.post(action, &all)
    }

    /// Sends `fields` as a form of the console would, with nothing added.
    pub fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        for (_, password) in fields.iter().filter(|(name, _)| name.contains("password")) {
            self.gateway.secrets().note("password", password);
        }
        self.send("POST", path, Some(body.as_bytes()))
    }

    fn send(&mut self, method: &str, path: &str, form: Option<&[u8]>) -> Page {
        let address = self.gateway.address("console");
        let mut request = Request::of(&format!("localhost:{}", address.port()), method, path);
        if !self.cookies.is_empty() {
            let pairs: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.field("Cookie", &pairs.join("; "));
        }
        if let Some(form) = form {
            request = request
                .field("Sec-Fetch-Site", "same-origin")
                .field("Content-Type", "application/x-www-form-urlencoded")
                .body(form);
        }
        let mut wire = match &self.source {
            Some(source) => Wire::connect_from(source, address),
            None => Wire::connect(address),
        };
        let answer = wire.exchange(&request);
        self.keep_cookies(&answer);
        let page = Page { answer, path: path.to_owned() };
        self.look_for_secrets(&page);
        page
    }

    /// A page shows no secret but what it makes known, of which nobody may hear again.
    fn look_for_secrets(&self, page: &Page) {
        let secrets = self.gateway.secrets();
        for value in self.cookies.values() {
            secrets.note("cookie", value);
        }
        let html = page.html();
        let block = |id: &str| html.contains(&format!("id=\"{id}\""));
        let mut shown = Vec::new();
        if block("secret") {
            shown.push(page.secret());
            secrets.note("secret that is shown once", &page.secret());
        }
        if block("codes") {
            shown.extend(page.recovery_codes());
            page.recovery_codes().iter().for_each(|code| secrets.note_recovery_code(code));
        }
        if block("key") {
            let (typed, bytes) = page.app_secret();
            secrets.note_app_secret(&typed, &bytes);
            shown.push(typed);
        }
        secrets.search_but(&page.path, html.as_bytes(), &shown);
    }

    fn keep_cookies(&mut self, answer: &Answer) {
        for (_, field) in answer.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")) {
            let (pair, attributes) = field.split_once(';').unwrap_or((field, ""));
            let (name, value) = pair.split_once('=').unwrap_or_else(|| panic!("no cookie: {field}"));
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// Follows redirects until a page comes.
    pub fn follow(&mut self, mut page: Page) -> Page {
        for _ in 0..REDIRECTS {
            let Some(path) = page.location() else { return page };
            page = self.get(&path);
        }
        panic!("{} leads on and on", page.path);
    }
}

impl Page {
    /// Where it leads, where it does: from everything that was sent, the next request is a GET.
    pub fn location(&self) -> Option<String> {
        let path = self.answer.field("location")?.to_owned();
        assert_eq!(self.answer.status, 303, "{self:?}");
        assert!(path.starts_with('/') && !path.starts_with("//"), "leads away: {path}");
        Some(path)
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.answer.status
    }

    /// The page's source.
    pub fn html(&self) -> String {
        self.answer.text()
    }

    /// The text of the page as it is read, in one line.
    pub fn text(&self) -> String {
        let html = self.html();
        let main = html.split_once("<main").map_or(html.as_str(), |(_, main)| main);
        let parts = main.split('<').map(|part| part.split_once('>').map_or("", |(_, text)| text));
        let words = parts.collect::<Vec<_>>().join(" ");
        unescape(&words.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// It must be there, and say this.
    #[track_caller]
    pub fn expect(self, text: &str) -> Self {
        assert_eq!(self.status(), 200, "{}: {}", self.path, self.text());
        self.expect_text(text)
    }

    /// It must say this, whatever its status.
    #[track_caller]
    pub fn expect_text(self, text: &str) -> Self {
        assert!(self.text().contains(text), "{} does not say {text:?}: {}", self.path, self.text());
        self
    }

    /// It must be refused with this status and say this.
    #[track_caller]
    pub fn expect_refusal(self, status: u16, text: &str) -> Self {
        assert_eq!(self.status(), status, "{}: {}", self.path, self.text());
        self.expect_text(text)
    }

    /// The value of the only attribute with this beginning, such as `data-options="`.
    #[track_caller]
    pub fn attribute(&self, beginning: &str) -> String {
        let html = self.html();
        let (_, rest) = html.split_once(beginning).unwrap_or_else(|| panic!("no {beginning} in {html}"));
        unescape(rest.split_once('"').unwrap().0)
    }

    /// JSON that a page's script reads from its form.
    #[track_caller]
    pub fn options(&self) -> Value {
        serde_json::from_str(&self.attribute("data-options=\"")).unwrap()
    }

    /// The text of the block that is shown once.
    #[track_caller]
    pub fn secret(&self) -> String {
        let html = self.html();
        let (_, rest) = html.split_once("id=\"secret\"").unwrap_or_else(|| panic!("no secret in {html}"));
        unescape(rest.split_once('>').unwrap().1.split_once('<').unwrap().0.trim())
    }

    /// The secret for an authenticator app: as it is to be typed, and its bytes.
    #[track_caller]
    pub fn app_secret(&self) -> (String, Vec<u8>) {
        let html = self.html();
        let (_, rest) = html.split_once("id=\"key\"").unwrap_or_else(|| panic!("no key in {html}"));
        let typed = rest.split_once('>').unwrap().1.split_once('<').unwrap().0.to_owned();
        let bytes = from_base32(&typed.replace(' ', ""));
        (typed, bytes)
    }

    /// The recovery codes that it shows.
    pub fn recovery_codes(&self) -> Vec<String> {
        let html = self.html();
        let (_, list) = html.split_once("id=\"codes\"").unwrap_or_else(|| panic!("no codes in {html}"));
        let list = list.split_once("</ol>").unwrap().0;
        list.split("<li>").skip(1).map(|item| item.split_once('<').unwrap().0.trim().to_owned()).collect()
    }

    /// The hidden fields of the form whose action is `action`.
    #[track_caller]
    fn hidden_fields(&self, action: &str) -> Vec<(String, String)> {
        let html = self.html();
        let mut forms = html.split("<form").skip(1).map(|form| form.split_once("</form>").unwrap().0);
        let head = format!("action=\"{action}\"");
        let form = forms.find(|form| form.split_once('>').is_some_and(|(tag, _)| is_of(tag, &head)));
        let form = form.unwrap_or_else(|| panic!("no form for {action} at {}: {html}", self.path));
        let inputs = form.split("<input type=\"hidden\"").skip(1).map(|rest| rest.split_once('>').unwrap().0);
        let value = |tag: &str, name: &str| {
            let (_, rest) = tag.split_once(&format!("{name}=\""))?;
            Some(unescape(rest.split_once('"')?.0))
        };
        inputs.map(|tag| (value(tag, "name").unwrap(), value(tag, "value").unwrap_or_default())).collect()
    }
}

/// A form without an action is sent to its own page.
fn is_of(tag: &str, action: &str) -> bool {
    tag.contains(action) || (!tag.contains("action=") && tag.contains("method=\"post\""))
}

fn unescape(text: &str) -> String {
    let mut plain = text.to_owned();
    for (escaped, letter) in
        [("&#60;", "<"), ("&#62;", ">"), ("&#34;", "\""), ("&#39;", "'"), ("&lt;", "<"), ("&gt;", ">")]
    {
        plain = plain.replace(escaped, letter);
    }
    plain.replace("&quot;", "\"").replace("&#38;", "&").replace("&amp;", "&")
}
