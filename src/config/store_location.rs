//! Where the store is: a file, or a database that several gateways share.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::model::Secret;

/// Which store to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreLocation {
    /// The embedded store, one file.
    Sqlite(PathBuf),
    /// A `PostgreSQL` database, which any number of gateways share.
    Postgres(PostgresUrl),
}

/// Where a `PostgreSQL` database is, and as whom it is entered. Shown without its password.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl(Secret<String>);

impl StoreLocation {
    /// How locations are written, for whoever has written one that is none.
    pub const ALLOWED: &str = "write `sqlite:data/latchkey.db`, `sqlite:/var/lib/latchkey/latchkey.db` or \
                               `postgres://latchkey@db.example.com/latchkey`";

    /// Reads what `store.url` says; a relative path starts at `folder`.
    ///
    /// # Errors
    /// What is wrong with it, without the value, which may hold a password.
    pub fn parse(url: &str, folder: &Path) -> Result<Self, &'static str> {
        match url.strip_prefix("sqlite:") {
            Some(file) if !file.is_empty() && !file.starts_with("//") && !file.starts_with(':') => {
                Ok(Self::Sqlite(folder.join(file)))
            }
            Some(_) => Err("must name a file: `sqlite:PATH`"),
            None if url.starts_with("postgres:") || url.starts_with("postgresql:") => {
                url.parse().map(Self::Postgres)
            }
            None => Err("must be `sqlite:PATH` or `postgres://…`"),
        }
    }
}

impl PostgresUrl {
    /// The whole URL; never to be shown.
    pub fn expose(&self) -> &str {
        self.0.expose()
    }
}

impl FromStr for PostgresUrl {
    type Err = &'static str;

    /// Reads `postgres://USER[:PASSWORD]@HOST[:PORT]/DATABASE[?PARAMETERS]`. A host that is not this machine is spoken to
    /// over TLS with its certificate checked, unless `sslmode` says otherwise.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut url = url::Url::parse(text).map_err(|_| "is not a URL")?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err("does not begin with `postgres://`");
        }
        if url.path().len() < 2 {
            return Err("names no database");
        }
        let parameter = |wanted: &str| {
            url.query_pairs().find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
        };
        let host = parameter("host").or_else(|| url.host_str().map(str::to_owned)).unwrap_or_default();
        if host.is_empty() {
            return Err("names no host");
        }
        // A path, as it stands or percent-encoded, is a socket on this machine.
        let is_local = host.starts_with('/')
            || host.to_ascii_lowercase().starts_with("%2f")
            || host == "localhost"
            || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let mode = parameter("sslmode").or_else(|| parameter("ssl-mode"));
        if mode.is_none() && !is_local {
            url.query_pairs_mut().append_pair("sslmode", "verify-full");
        }
        Ok(Self(Secret::new(url.into())))
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = url::Url::parse(self.expose()).ok().and_then(|mut url| {
            url.set_password(None).ok()?;
            url.set_query(None);
            Some(url)
        });
        match shown {
            Some(url) => write!(f, "{url}"),
            None => f.write_str("the PostgreSQL database"),
        }
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgresUrl({self})")
    }
}

impl fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}
