//! Which of several certificates a client is shown: the one for the name that it asks for (RFC 6066 §3).
//!
//! rustls asks here in every handshake, also in one that resumes a session; a session is resumed under the name that it
//! was made under and no other (its ticket holds the name), so that tickets lead from no certificate to another.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{Certificate, TlsError};
use crate::config::UnknownNames;

/// Certificates by the names in them.
#[derive(Debug)]
pub struct CertificatesByName {
    /// For who asks for no name, or for one that is not here.
    first: Option<Arc<CertifiedKey>>,
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what stands behind `*.`.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
}

impl CertificatesByName {
    /// Certificates, each with the file that it comes from; the first is for `unknown_names`, unless they are refused.
    ///
    /// # Errors
    /// Two hold the same name, or one besides the first holds none and so would never be shown.
    pub fn new<'c>(
        certificates: impl IntoIterator<Item = (&'c Certificate, &'c PathBuf)>,
        unknown_names: UnknownNames,
    ) -> Result<Self, TlsError> {
        let (mut first, mut owners) = (None, HashMap::new());
        let (mut exact, mut wildcard) = (HashMap::new(), HashMap::new());
        for (position, (certificate, file)) in certificates.into_iter().enumerate() {
            if certificate.names().is_empty() && first.is_some() {
                return Err(TlsError::Nameless(file.clone()));
            }
            first.get_or_insert_with(|| Arc::clone(certificate.key()));
            for name in certificate.names() {
                // A certificate may tell a name twice.
                if let Some((owner, other)) = owners.insert(name, (position, file))
                    && owner != position
                {
                    let (name, other) = (name.clone(), other.clone());
                    return Err(TlsError::SameName { name, other, certificate: file.clone() });
                }
                let key = Arc::clone(certificate.key());
                match name.strip_prefix("*.") {
                    Some(parent) => wildcard.insert(parent.to_owned(), key),
                    None => exact.insert(name.clone(), key),
                };
            }
        }
        let first = first.filter(|_| unknown_names == UnknownNames::First);
        Ok(Self { first, exact, wildcard })
    }

    fn choose(&self, name: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        let named = name.and_then(|name| {
            let wildcard = || self.wildcard.get(name.split_once('.')?.1);
            self.exact.get(name).or_else(wildcard)
        });
        named.or(self.first.as_ref())
    }
}

impl ResolvesServerCert for CertificatesByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        self.choose(name.as_deref()).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Folder;
    use super::*;

    struct Shelf {
        folder: Folder,
        certificates: Vec<(Certificate, PathBuf)>,
    }

    impl Shelf {
        fn new(names: &[&[&str]]) -> Self {
            let folder = Folder::new();
            let loaded = names.iter().enumerate().map(|(number, names)| {
                let files = folder.pair(&number.to_string(), names);
                (Certificate::load(&files).unwrap(), files.certificate)
            });
            Self { certificates: loaded.collect(), folder }
        }

        fn by_name(&self, unknown_names: UnknownNames) -> Result<CertificatesByName, TlsError> {
            let certificates = self.certificates.iter().map(|(certificate, file)| (certificate, file));
            CertificatesByName::new(certificates, unknown_names)
        }

        /// Which one is shown to who asks for `name`.
        fn shown(&self, by_name: &CertificatesByName, name: Option<&str>) -> Option<usize> {
            let chosen = by_name.choose(name)?;
            self.certificates.iter().position(|(own, _)| Arc::ptr_eq(own.key(), chosen))
        }

        fn fault(&self) -> String {
            let fault = self.by_name(UnknownNames::First).unwrap_err();
            let folder = format!("{}/", self.folder.path().display());
            assert!(fault.file().is_some_and(|file| file.ends_with("1.crt")), "{fault}");
            fault.to_string().replace(&folder, "")
        }
    }

    #[test]
    fn an_exact_name_goes_before_a_wildcard_and_the_first_is_for_all_others() {
        let shelf = Shelf::new(&[&["first.example"], &["*.example"], &["api.example", "*.api.example"]]);
        let by_name = shelf.by_name(UnknownNames::First).unwrap();
        for (name, expected) in [
            (Some("first.example"), 0),
            (Some("api.example"), 2),
            (Some("other.example"), 1),
            (Some("v2.api.example"), 2),
            (Some("a.b.example"), 0),
            (Some("example"), 0),
            (Some("other.test"), 0),
            (None, 0),
        ] {
            assert_eq!(shelf.shown(&by_name, name), Some(expected), "{name:?}");
        }
    }

    #[test]
    fn names_that_nobody_knows_can_be_refused() {
        let shelf = Shelf::new(&[&["first.example"], &["*.test"]]);
        let by_name = shelf.by_name(UnknownNames::Refuse).unwrap();
        for (name, expected) in [
            (Some("first.example"), Some(0)),
            (Some("a.test"), Some(1)),
            (Some("other.example"), None),
            (None, None),
        ] {
            assert_eq!(shelf.shown(&by_name, name), expected, "{name:?}");
        }
    }

    #[test]
    fn a_name_stands_in_one_certificate_alone() {
        let shelf = Shelf::new(&[&["a.example", "b.example"], &["c.example", "B.example"]]);
        assert_eq!(shelf.fault(), "the name b.example of the certificate 1.crt stands in 0.crt, too");
        assert!(
            Shelf::new(&[&["a.example", "a.example"], &["*.example"]]).by_name(UnknownNames::First).is_ok()
        );
    }

    #[test]
    fn a_certificate_without_a_name_is_the_first_or_never_shown() {
        let shelf = Shelf::new(&[&["192.0.2.1"], &["192.0.2.2"]]);
        assert_eq!(
            shelf.fault(),
            "the certificate 1.crt holds no host name, so that no client would be shown it; put it first, or leave it out"
        );
        assert!(Shelf::new(&[&["192.0.2.1"], &["a.example"]]).by_name(UnknownNames::First).is_ok());
    }
}
