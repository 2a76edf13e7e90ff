//! `${NAME}`, `${NAME:-default}` and `${file:PATH}` in the values of a tree; `$${` stands for `${`.
//!
//! Works on scalars after parsing, so nothing inserted can add a key or a line. Inserted text is not looked through
//! again. Keys are left alone. Called by [`super::parse`], between reading and checking.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::faults::{Fault, FaultList, KeyPath, shown};
use super::tree::{Node, Origin, Scalar, Value};

/// The largest file that `${file:…}` inserts, in bytes.
const INSERTED_FILE_MAX_BYTES: u64 = 64 * 1024;

/// All that is inserted into one configuration together, in bytes.
const INSERTED_MAX_BYTES: usize = 4 * 1024 * 1024;

/// Replaces what stands in `root`, adding to `faults` what is missing, and to `files` what was read or could not be.
pub(super) fn interpolate(
    root: &mut Node,
    folder: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
    files: &mut BTreeSet<PathBuf>,
    faults: &mut FaultList,
) {
    let mut sources = Sources { folder, environment, files, remaining_bytes: INSERTED_MAX_BYTES };
    walk(root, &KeyPath::default(), &mut sources, faults);
}

fn walk(node: &mut Node, path: &KeyPath, sources: &mut Sources<'_>, faults: &mut FaultList) {
    match &mut node.value {
        Value::Scalar(scalar) if scalar.text.contains("${") => match sources.replace(&scalar.text) {
            Ok(text) => *scalar = Scalar { text, origin: Origin::Interpolated },
            Err(refusal) => {
                let fault = Fault::new(node.place, path, refusal.message);
                faults.push(match refusal.help {
                    Some(help) => fault.help(help),
                    None => fault,
                });
                node.value = Value::Refused;
            }
        },
        Value::List(items) => {
            for (position, item) in items.iter_mut().enumerate() {
                walk(item, &path.index(position), sources, faults);
            }
        }
        Value::Mapping(entries) => {
            for entry in entries {
                walk(&mut entry.node, &path.key(&entry.key), sources, faults);
            }
        }
        Value::Scalar(_) | Value::Refused => {}
    }
}

/// Why a value could not be completed.
struct Refusal {
    message: String,
    help: Option<String>,
}

impl Refusal {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

/// Where inserted text comes from.
struct Sources<'a> {
    folder: &'a Path,
    environment: &'a dyn Fn(&str) -> Option<String>,
    files: &'a mut BTreeSet<PathBuf>,
    remaining_bytes: usize,
}

impl Sources<'_> {
    fn replace(&mut self, text: &str) -> Result<Zeroizing<String>, Refusal> {
        // Room for the usual key at once: a growing string would leave pieces of a secret behind in memory.
        let mut whole = Zeroizing::new(String::with_capacity(text.len() + 256));
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            if let Some(before) = before.strip_suffix('$') {
                whole.extend([before, "${"]);
                rest = after;
                continue;
            }
            let (reference, behind) = after
                .split_once('}')
                .ok_or_else(|| Refusal::new("`${` without `}`").help("`$${` stands for `${` itself"))?;
            let inserted = self.value_of(reference)?;
            self.remaining_bytes = self
                .remaining_bytes
                .checked_sub(inserted.len())
                .ok_or_else(|| Refusal::new(format!("more than {INSERTED_MAX_BYTES} bytes are inserted")))?;
            whole.extend([before, inserted.as_str()]);
            rest = behind;
        }
        whole.push_str(rest);
        Ok(whole)
    }

    fn value_of(&mut self, reference: &str) -> Result<Zeroizing<String>, Refusal> {
        if let Some(path) = reference.strip_prefix("file:") {
            return self.read_file(path);
        }
        let (name, default) = match reference.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (reference, None),
        };
        if !is_variable_name(name) {
            return Err(Refusal::new("not a reference that is known inside `${…}`").help(
                "allowed: `${NAME}`, `${NAME:-default}`, `${file:PATH}`; `$${` stands for `${` itself",
            ));
        }
        let value = (self.environment)(name).map(Zeroizing::new);
        match (value, default) {
            (Some(value), None) => Ok(value),
            (Some(value), Some(_)) if !value.is_empty() => Ok(value),
            (_, Some(default)) => Ok(Zeroizing::new(default.to_owned())),
            (None, None) => {
                let name = shown(name).unwrap_or("NAME");
                Err(Refusal::new(format!("the environment has no variable `{name}`"))
                    .help(format!("set it, or give a default: `${{{name}:-default}}`")))
            }
        }
    }

    fn read_file(&mut self, path: &str) -> Result<Zeroizing<String>, Refusal> {
        let path = path.trim();
        if path.is_empty() {
            return Err(Refusal::new("`${file:…}` names no file"));
        }
        let file = self.folder.join(path);
        self.files.insert(file.clone());
        let text = read_text(&file, INSERTED_FILE_MAX_BYTES)
            .map_err(|error| Refusal::new(format!("{}: {}", reason(&error), path.escape_debug())))?;
        let trimmed = text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text));
        Ok(match trimmed {
            Some(trimmed) => Zeroizing::new(trimmed.to_owned()),
            None => text,
        })
    }
}

fn is_variable_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

/// Reads a regular file of at most `max_bytes`; a pipe or device could block or never end.
pub(super) fn read_text(path: &Path, max_bytes: u64) -> io::Result<Zeroizing<String>> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
    }
    let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, "too large");
    if metadata.len() > max_bytes {
        return Err(too_large());
    }
    let size = usize::try_from(metadata.len()).unwrap_or_default();
    let mut text = Zeroizing::new(String::with_capacity(size + 1));
    // It may have grown since, and some files of the system tell no size.
    let read = File::open(path)?.take(max_bytes + 1).read_to_string(&mut text)?;
    if read as u64 > max_bytes { Err(too_large()) } else { Ok(text) }
}

/// Why a file could not be used, in words without its path or content.
pub(super) fn reason(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "file not found",
        io::ErrorKind::PermissionDenied => "file may not be read",
        io::ErrorKind::InvalidInput | io::ErrorKind::IsADirectory => "not a file",
        io::ErrorKind::FileTooLarge => "file is too large",
        io::ErrorKind::InvalidData => "file is not UTF-8 text",
        _ => "file cannot be read",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        match name {
            "NAME" => Some(String::from("alex")),
            "EMPTY" => Some(String::new()),
            "TRICK" => Some(String::from("x\nadmin: true ${NAME}")),
            "LARGE" => Some("x".repeat(INSERTED_MAX_BYTES / 2 + 1)),
            _ => None,
        }
    }

    fn replaced(text: &str, folder: &Path) -> Result<String, String> {
        let mut files = BTreeSet::new();
        let mut sources = Sources {
            folder,
            environment: &environment,
            files: &mut files,
            remaining_bytes: INSERTED_MAX_BYTES,
        };
        sources.replace(text).map(|text| text.as_str().to_owned()).map_err(|refusal| refusal.message)
    }

    #[test]
    fn references_are_replaced_and_nothing_else_is() {
        for (text, expected) in [
            ("${NAME}", "alex"),
            ("a ${NAME} b ${NAME}", "a alex b alex"),
            ("${NOBODY:-guest}", "guest"),
            ("${NOBODY:-}", ""),
            ("${EMPTY:-guest}", "guest"),
            ("${EMPTY}", ""),
            ("${NAME:-guest}", "alex"),
            ("$${NAME}", "${NAME}"),
            ("$$${NAME}", "$${NAME}"),
            ("$NAME $ {NAME} $", "$NAME $ {NAME} $"),
            ("${TRICK}", "x\nadmin: true ${NAME}"),
        ] {
            assert_eq!(replaced(text, Path::new("/")).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_replaced_is_refused() {
        for (text, expected) in [
            ("${NOBODY}", "the environment has no variable `NOBODY`"),
            ("${NAME", "`${` without `}`"),
            ("${}", "not a reference that is known inside `${…}`"),
            ("${9X}", "not a reference that is known inside `${…}`"),
            ("${NAME-x}", "not a reference that is known inside `${…}`"),
            ("${file:}", "`${file:…}` names no file"),
            ("${file:nowhere}", "file not found: nowhere"),
            ("${file:/}", "not a file: /"),
            ("${file:/dev/zero}", "not a file: /dev/zero"),
            ("${LARGE}${LARGE}", "more than 4194304 bytes are inserted"),
        ] {
            assert_eq!(replaced(text, Path::new("/")).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn a_file_is_read_from_the_folder_without_its_last_line_end() {
        let folder = tempfile::tempdir().unwrap();
        for (content, expected) in
            [("k1\n", "k1"), ("k1\r\n", "k1"), ("k1", "k1"), ("k1\n\n", "k1\n"), ("", "")]
        {
            std::fs::write(folder.path().join("key"), content).unwrap();
            assert_eq!(replaced("<${file:key}>", folder.path()).unwrap(), format!("<{expected}>"));
        }
        std::fs::write(folder.path().join("key"), [0xff, 0xfe]).unwrap();
        assert_eq!(replaced("${file:key}", folder.path()).unwrap_err(), "file is not UTF-8 text: key");
        std::fs::write(folder.path().join("key"), vec![b'x'; 64 * 1024 + 1]).unwrap();
        assert_eq!(replaced("${file:key}", folder.path()).unwrap_err(), "file is too large: key");
    }
}
