//! The live page's style sheet and script, in the binary. Called by `answer`.

use http::HeaderValue;

/// A file beside the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ops) struct Asset {
    /// The value of `Content-Type`.
    pub(in crate::ops) content_type: HeaderValue,
    /// The content.
    pub(in crate::ops) text: &'static str,
}

const STYLESHEET: &str = include_str!("../../../assets/live.css");
const SCRIPT: &str = include_str!("../../../assets/live.js");

/// The file at `path`; `None`: there is none.
pub(in crate::ops) fn lookup(path: &str) -> Option<Asset> {
    let (content_type, text) = match path {
        "/live/page.css" => ("text/css; charset=utf-8", STYLESHEET),
        "/live/page.js" => ("text/javascript; charset=utf-8", SCRIPT),
        _ => return None,
    };
    Some(Asset { content_type: HeaderValue::from_static(content_type), text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_two_files_which_are_small_and_name_no_other_origin() {
        for path in ["/live/page.css", "/live/page.js"] {
            let text = lookup(path).unwrap().text;
            assert!(text.len() < 8 * 1_024, "{path} has {} bytes", text.len());
            assert!(!text.contains("url(") && !text.contains("@import") && !text.contains("//evil"));
            assert!(!text.contains("http:") && !text.contains("https:"), "{path}");
        }
        for other in ["/live/", "/live/page", "/live/events", "/page.css", "/live/../page.css"] {
            assert_eq!(lookup(other), None, "{other}");
        }
    }
}
