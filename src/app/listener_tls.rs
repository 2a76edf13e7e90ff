//! The certificates of a listener, made ready to be shown, and taken over from the generation before.
//!
//! What has not changed stays the very same configuration of rustls. Where one of several certificates has changed,
//! tickets keep their keys, so that only those who need it shake hands in full. Called by `generation`.

use std::sync::Arc;

use rustls::ServerConfig;

use super::generation::FileContents;
use crate::config::{TlsFiles, TlsSettings, UnknownNames};
use crate::model::Timestamp;
use crate::net::{Certificate, CertificatesByName, Sessions, TlsError, server_config};
use crate::telemetry::{CertificateEnd, Metrics};

/// The certificates that a listener offers.
#[derive(Clone, Debug)]
pub(super) struct ListenerTls {
    pub(super) config: Arc<ServerConfig>,
    unknown_names: UnknownNames,
    /// Of each pair of files, in their order.
    contents: Vec<FileContents>,
    /// From files.
    certificates: Vec<(Arc<Certificate>, TlsFiles)>,
    /// Shown in the metrics while this lives.
    _end: Arc<CertificateEnd>,
}

/// For whom certificates are made ready, and what is offered beside them.
pub(super) struct Offer<'a> {
    pub(super) listener: &'a str,
    pub(super) alpn: &'a [&'a [u8]],
    pub(super) metrics: &'a Metrics,
}

impl ListenerTls {
    /// What `settings` say, after `before`.
    ///
    /// # Errors
    /// A file cannot be used, or two certificates cannot be told apart.
    pub(super) fn new(
        settings: &TlsSettings,
        offer: &Offer<'_>,
        before: Option<&Self>,
    ) -> Result<Self, TlsError> {
        Self::of_files(settings.certificates.files(), settings.unknown_names, offer, before)
    }

    fn of_files(
        files: &[TlsFiles],
        unknown_names: UnknownNames,
        offer: &Offer<'_>,
        before: Option<&Self>,
    ) -> Result<Self, TlsError> {
        let contents: Vec<_> =
            files.iter().map(|files| FileContents::of([&files.certificate, &files.private_key])).collect();
        // One protocol of a listener stands for one ALPN.
        let before = before.filter(|before| before.config.alpn_protocols.iter().eq(offer.alpn));
        if let Some(same) = before
            && same.unknown_names == unknown_names
            && same.contents == contents
        {
            return Ok(same.clone());
        }
        let certificates = files
            .iter()
            .map(|files| Ok((Arc::new(Certificate::load(files)?), files.clone())))
            .collect::<Result<Vec<_>, TlsError>>()?;
        let by_file = certificates.iter().map(|(certificate, files)| (&**certificate, &files.certificate));
        let by_name = Arc::new(CertificatesByName::new(by_file, unknown_names)?);
        let related = before.filter(|before| contents.iter().any(|own| before.contents.contains(own)));
        let sessions = related.map_or(Sessions::New, |before| Sessions::Continue(&before.config));
        let config = server_config(by_name, offer.alpn, sessions)?;
        let end = offer.metrics.certificate_end(offer.listener);
        let ends = certificates.iter().map(|(certificate, _)| certificate.not_after());
        if let Some(first) = ends.min() {
            end.set(first);
        }
        Ok(Self { config, unknown_names, contents, certificates, _end: end })
    }

    /// What stands in the files of its certificates.
    pub(super) fn contents(&self) -> &[FileContents] {
        &self.contents
    }

    /// What is to be said of files that are not good at `now`, one sentence a certificate.
    pub(super) fn warnings(&self, now: Timestamp) -> impl Iterator<Item = String> {
        self.certificates.iter().filter_map(move |(certificate, files)| {
            let file = files.certificate.display();
            if certificate.not_after() < now {
                Some(format!("the certificate {file} has expired, on {}", certificate.not_after()))
            } else if certificate.not_before() > now {
                Some(format!("the certificate {file} is not good before {}", certificate.not_before()))
            } else {
                None
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CertificateSource;
    use crate::net::tls_testing::Folder;

    const ALPN: [&[u8]; 1] = [b"h2"];

    fn settings(files: &[&TlsFiles]) -> TlsSettings {
        let certificates = CertificateSource::Files(files.iter().map(|files| (*files).clone()).collect());
        TlsSettings { certificates, unknown_names: UnknownNames::First }
    }

    fn made(settings: &TlsSettings, metrics: &Metrics, before: Option<&ListenerTls>) -> ListenerTls {
        ListenerTls::new(settings, &Offer { listener: "api", alpn: &ALPN, metrics }, before).unwrap()
    }

    #[test]
    fn what_has_not_changed_is_taken_over_and_tickets_outlive_the_change_of_one_of_several() {
        let (folder, metrics) = (Folder::new(), Metrics::default());
        let (a, b) = (folder.pair("a", &["a.example"]), folder.pair("b", &["b.example"]));
        let both = settings(&[&a, &b]);
        let before = made(&both, &metrics, None);
        let same = made(&both, &metrics, Some(&before));
        assert!(Arc::ptr_eq(&before.config, &same.config));
        folder.pair("b", &["b.example"]);
        let renewed = made(&both, &metrics, Some(&same));
        assert!(!Arc::ptr_eq(&before.config, &renewed.config));
        assert!(Arc::ptr_eq(&before.config.ticketer, &renewed.config.ticketer));
        assert_ne!(renewed.contents(), before.contents());
        folder.pair("a", &["a.example"]);
        folder.pair("b", &["b.example"]);
        let other = made(&both, &metrics, Some(&renewed));
        assert!(!Arc::ptr_eq(&renewed.config.ticketer, &other.config.ticketer), "none is left of before");
        let refusing = TlsSettings { unknown_names: UnknownNames::Refuse, ..both };
        let refusing = made(&refusing, &metrics, Some(&other));
        assert!(!Arc::ptr_eq(&other.config, &refusing.config));
    }

    #[test]
    fn the_first_end_of_all_is_shown_for_as_long_as_the_listener_shows_them() {
        let (folder, metrics) = (Folder::new(), Metrics::default());
        let long = folder.pair("long", &["a.example"]);
        let short = folder.pair_until("short", "b.example", 2030);
        let tls = made(&settings(&[&long, &short]), &metrics, None);
        let line = "latchkey_certificate_expires_timestamp_seconds{listener=\"api\"} 1893456000";
        assert!(metrics.render().contains(line), "{}", metrics.render());
        drop(tls);
        assert!(!metrics.render().contains("{listener=\"api\"}"));
    }

    #[test]
    fn certificates_that_are_not_good_now_are_told_by_their_files() {
        let (folder, metrics) = (Folder::new(), Metrics::default());
        let old = folder.pair_until("old", "a.example", 2030);
        let tls = made(&settings(&[&old]), &metrics, None);
        let told = |at: &str| tls.warnings(at.parse().unwrap()).collect::<Vec<_>>();
        assert_eq!(told("2029-06-01"), Vec::<String>::new());
        let file = old.certificate.display();
        assert_eq!(
            told("2030-01-02"),
            [format!("the certificate {file} has expired, on 2030-01-01T00:00:00Z")]
        );
        assert_eq!(
            told("2009-12-31"),
            [format!("the certificate {file} is not good before 2010-01-01T00:00:00Z")]
        );
    }
}
