//! The console's style sheet, script and icon: in the binary, under names that hold a hash of what they contain.
//!
//! A name never changes its content, so browsers may keep what they fetched. Called by `frame` for the names and by
//! whoever answers requests for the content.

use std::sync::LazyLock;

/// A file that the console serves beside its pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asset {
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// The content.
    pub bytes: &'static [u8],
}

const STYLESHEET: Asset =
    Asset { content_type: "text/css; charset=utf-8", bytes: include_bytes!("../../assets/console.css") };
const SCRIPT: Asset = Asset {
    content_type: "text/javascript; charset=utf-8",
    bytes: include_bytes!("../../assets/console.js"),
};
const ICON: Asset = Asset { content_type: "image/svg+xml", bytes: include_bytes!("../../assets/icon.svg") };

static STYLESHEET_PATH: LazyLock<String> = LazyLock::new(|| path_of("console", "css", STYLESHEET.bytes));
static SCRIPT_PATH: LazyLock<String> = LazyLock::new(|| path_of("console", "js", SCRIPT.bytes));
static ICON_PATH: LazyLock<String> = LazyLock::new(|| path_of("icon", "svg", ICON.bytes));

/// The path of the style sheet.
pub fn stylesheet_path() -> &'static str {
    &STYLESHEET_PATH
}

/// The path of the script.
pub fn script_path() -> &'static str {
    &SCRIPT_PATH
}

/// The path of the icon.
pub fn icon_path() -> &'static str {
    &ICON_PATH
}

/// The file under `path`, which begins with `/assets/`; `None` for every other path, that of an older hash too.
pub fn lookup(path: &str) -> Option<Asset> {
    let known = [(stylesheet_path(), STYLESHEET), (script_path(), SCRIPT), (icon_path(), ICON)];
    known.into_iter().find(|(name, _)| *name == path).map(|(_, asset)| asset)
}

fn path_of(name: &str, ending: &str, content: &[u8]) -> String {
    let hash = blake3::hash(content).to_hex();
    format!("/assets/{name}-{}.{ending}", hash.get(..12).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_found_under_its_hashed_name_only() {
        assert_eq!(lookup(stylesheet_path()), Some(STYLESHEET));
        assert_eq!(lookup(script_path()), Some(SCRIPT));
        assert_eq!(lookup(icon_path()), Some(ICON));
        let hash = stylesheet_path().strip_prefix("/assets/console-").unwrap().strip_suffix(".css").unwrap();
        assert!(hash.len() == 12 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
        for unknown in ["/assets/console.css", "/assets/", "", "/assets/../Cargo.toml"] {
            assert_eq!(lookup(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn the_script_stays_small() {
        assert!(SCRIPT.bytes.len() < 8 * 1024, "{} bytes", SCRIPT.bytes.len());
    }

    #[test]
    fn s86_no_asset_names_another_origin() {
        for asset in [STYLESHEET, SCRIPT] {
            let text = std::str::from_utf8(asset.bytes).unwrap();
            assert!(!text.contains("url(") && !text.contains("@import") && !text.contains("import("));
        }
    }
}
