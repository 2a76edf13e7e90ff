//! The certificates of a listener, made ready to be shown, and taken over from the generation before.
//!
//! What has not changed stays the very same configuration of rustls. Where one of several certificates has changed,
//! tickets keep their keys, so that only those who need it shake hands in full. Called by `generation`.

use std::sync::Arc;

use rustls::ServerConfig;

use super::acme::KeptCertificate;
use super::generation::FileContents;
use crate::config::{AcmeChallenge, AcmeSettings, CertificateSource, TlsFiles, TlsSettings, UnknownNames};
use crate::model::Timestamp;
use crate::net::{
    ACME_TLS_ALPN, Certificate, CertificatesByName, Challenges, IssuedByName, Sessions, TlsError,
    server_config,
};
use crate::telemetry::{CertificateEnd, CertificateGauge, Metrics};

/// The certificates that a listener offers.
#[derive(Clone, Debug)]
pub(super) struct ListenerTls {
    pub(super) config: Arc<ServerConfig>,
    unknown_names: UnknownNames,
    source: Source,
    /// Shows when they end, while this lives.
    _gauge: Arc<CertificateGauge>,
}

/// What is offered.
#[derive(Clone, Debug)]
enum Source {
    Files {
        /// Of each pair of files, in their order.
        contents: Vec<FileContents>,
        certificates: Vec<(Arc<Certificate>, TlsFiles)>,
    },
    Issued(Arc<KeptCertificate>),
}

/// For whom certificates are made ready, and what is offered beside them.
pub(super) struct Offer<'a> {
    pub(super) listener: &'a str,
    /// The most wanted protocol first; none where TLS is begun within another protocol.
    pub(super) alpn: &'a [&'a [u8]],
    pub(super) metrics: &'a Metrics,
}

/// Certificates that an authority issues: what is asked for, and what there is.
pub(super) struct Issuing<'a> {
    pub(super) settings: Option<&'a Arc<AcmeSettings>>,
    pub(super) challenges: Arc<Challenges>,
    /// Those of the generation before.
    pub(super) before: Vec<Arc<KeptCertificate>>,
    /// Those that were made for this one.
    pub(super) made: Vec<Arc<KeptCertificate>>,
    pub(super) now: Timestamp,
}

impl Issuing<'_> {
    /// The one for `hosts`, in the place of what a listener has `shown`; `None` where the configuration names no authority.
    fn certificate(
        &mut self,
        hosts: &[String],
        shown: Vec<Arc<Certificate>>,
    ) -> Result<Option<Arc<KeptCertificate>>, TlsError> {
        let Some(settings) = self.settings else { return Ok(None) };
        let is_same = |kept: &&Arc<KeptCertificate>| kept.is_of(settings, hosts);
        if let Some(same) = self.before.iter().find(is_same) {
            return Ok(Some(Arc::clone(same)));
        }
        let made = match self.made.iter().find(is_same) {
            Some(made) => Arc::clone(made),
            None => Arc::new(KeptCertificate::new(settings, hosts, &self.challenges)?),
        };
        // A listener that works goes on, whatever is asked for it now.
        made.show_meanwhile(shown, self.now);
        if !self.made.iter().any(|known| Arc::ptr_eq(known, &made)) {
            self.made.push(Arc::clone(&made));
        }
        Ok(Some(made))
    }
}

impl ListenerTls {
    /// What `settings` say, after `before`; `None` where they ask for an authority and there is none, which the
    /// configuration has told.
    ///
    /// # Errors
    /// A file cannot be used, or two certificates cannot be told apart.
    pub(super) fn new(
        settings: &TlsSettings,
        offer: &Offer<'_>,
        issuing: &mut Issuing<'_>,
        before: Option<&Self>,
    ) -> Result<Option<Self>, TlsError> {
        match &settings.certificates {
            CertificateSource::Only(_) | CertificateSource::Files(_) => {
                Self::of_files(settings.certificates.files(), settings.unknown_names, offer, before).map(Some)
            }
            CertificateSource::Acme(hosts) => {
                let shown = before.map(Self::shown).unwrap_or_default();
                let Some(kept) = issuing.certificate(hosts, shown)? else { return Ok(None) };
                let challenge = issuing.settings.map(|settings| settings.challenge);
                Self::of_issued(&kept, challenge, settings.unknown_names, offer, before).map(Some)
            }
        }
    }

    fn of_files(
        files: &[TlsFiles],
        unknown_names: UnknownNames,
        offer: &Offer<'_>,
        before: Option<&Self>,
    ) -> Result<Self, TlsError> {
        let of_pair = |files: &TlsFiles| FileContents::of([&files.certificate, &files.private_key]);
        let contents: Vec<_> = files.iter().map(of_pair).collect();
        // One protocol of a listener stands for one ALPN.
        let before = before.filter(|before| before.config.alpn_protocols.iter().eq(offer.alpn));
        if let Some(same) = before
            && same.unknown_names == unknown_names
            && same.contents() == contents
        {
            return Ok(same.clone());
        }
        let certificates = files
            .iter()
            .map(|files| Ok((Arc::new(Certificate::load(files)?), files.clone())))
            .collect::<Result<Vec<_>, TlsError>>()?;
        let by_file = certificates.iter().map(|(certificate, files)| (&**certificate, &files.certificate));
        let by_name = Arc::new(CertificatesByName::new(by_file, unknown_names)?);
        let related = before.filter(|before| contents.iter().any(|own| before.contents().contains(own)));
        let sessions = related.map_or(Sessions::New, |before| Sessions::Continue(&before.config));
        let config = server_config(by_name, offer.alpn, sessions)?;
        let end = Arc::<CertificateEnd>::default();
        if let Some(first) = certificates.iter().map(|(certificate, _)| certificate.not_after()).min() {
            end.set(first);
        }
        let gauge = offer.metrics.certificate_gauge(offer.listener, &end);
        Ok(Self { config, unknown_names, source: Source::Files { contents, certificates }, _gauge: gauge })
    }

    fn of_issued(
        kept: &Arc<KeptCertificate>,
        challenge: Option<AcmeChallenge>,
        unknown_names: UnknownNames,
        offer: &Offer<'_>,
        before: Option<&Self>,
    ) -> Result<Self, TlsError> {
        // Authorities speak TLS from the first byte, so that they ask where clients do.
        let is_asked = challenge == Some(AcmeChallenge::TlsAlpn01) && !offer.alpn.is_empty();
        let alpn = if is_asked { [offer.alpn, &[ACME_TLS_ALPN]].concat() } else { offer.alpn.to_vec() };
        if let Some(same) = before
            && let Source::Issued(shown) = &same.source
            && Arc::ptr_eq(shown, kept)
            && same.unknown_names == unknown_names
            && same.config.alpn_protocols.iter().eq(&alpn)
        {
            return Ok(same.clone());
        }
        let by_name = IssuedByName {
            issued: Arc::clone(&kept.issued),
            challenges: is_asked.then(|| Arc::clone(&kept.challenges)),
            unknown_names,
        };
        let config = server_config(Arc::new(by_name), &alpn, Sessions::New)?;
        let gauge = offer.metrics.certificate_gauge(offer.listener, &kept.end);
        Ok(Self { config, unknown_names, source: Source::Issued(Arc::clone(kept)), _gauge: gauge })
    }

    /// What stands in the files of its certificates; nothing where they are issued.
    pub(super) fn contents(&self) -> &[FileContents] {
        match &self.source {
            Source::Files { contents, .. } => contents,
            Source::Issued(_) => &[],
        }
    }

    /// The certificate that an authority issues to it.
    pub(super) const fn kept(&self) -> Option<&Arc<KeptCertificate>> {
        match &self.source {
            Source::Files { .. } => None,
            Source::Issued(kept) => Some(kept),
        }
    }

    /// What clients are shown at present.
    fn shown(&self) -> Vec<Arc<Certificate>> {
        match &self.source {
            Source::Files { certificates, .. } => {
                certificates.iter().map(|(certificate, _)| Arc::clone(certificate)).collect()
            }
            Source::Issued(kept) => kept.issued.present().into_iter().collect(),
        }
    }

    /// What is to be said of certificates that are not good at `now`, one sentence each.
    pub(super) fn warnings(&self, now: Timestamp) -> impl Iterator<Item = String> {
        let (certificates, issued) = match &self.source {
            Source::Files { certificates, .. } => (certificates.as_slice(), None),
            Source::Issued(kept) => (&[][..], kept.issued.present().map(|present| (present, kept.names()))),
        };
        let issued = issued.filter(|(present, _)| present.not_after() < now).map(|(present, names)| {
            format!("the certificate that was issued for {names} has expired, on {}", present.not_after())
        });
        let of_files = certificates.iter().filter_map(move |(certificate, files)| {
            let file = files.certificate.display();
            if certificate.not_after() < now {
                Some(format!("the certificate {file} has expired, on {}", certificate.not_after()))
            } else if certificate.not_before() > now {
                Some(format!("the certificate {file} is not good before {}", certificate.not_before()))
            } else {
                None
            }
        });
        of_files.chain(issued)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::testing::NOW;
    use crate::net::tls_testing::Folder;

    const ALPN: [&[u8]; 1] = [b"h2"];

    fn settings(files: &[&TlsFiles]) -> TlsSettings {
        let certificates = CertificateSource::Files(files.iter().map(|files| (*files).clone()).collect());
        TlsSettings { certificates, unknown_names: UnknownNames::First }
    }

    fn issuing(settings: Option<&Arc<AcmeSettings>>) -> Issuing<'_> {
        Issuing { settings, challenges: Arc::default(), before: Vec::new(), made: Vec::new(), now: NOW }
    }

    fn acme(folder: &Folder) -> Arc<AcmeSettings> {
        Arc::new(AcmeSettings {
            directory: String::from("https://localhost:1/dir"),
            contact: Vec::new(),
            challenge: AcmeChallenge::TlsAlpn01,
            cache: folder.path().join("acme"),
            ca: Some(folder.pair("ca", &["localhost"]).certificate),
            external_account: None,
        })
    }

    fn of_authority(hosts: &[&str]) -> TlsSettings {
        TlsSettings {
            certificates: CertificateSource::Acme(hosts.iter().map(|host| (*host).to_owned()).collect()),
            unknown_names: UnknownNames::First,
        }
    }

    fn made(settings: &TlsSettings, metrics: &Metrics, before: Option<&ListenerTls>) -> ListenerTls {
        let offer = Offer { listener: "api", alpn: &ALPN, metrics };
        ListenerTls::new(settings, &offer, &mut issuing(None), before).unwrap().unwrap()
    }

    #[test]
    fn listeners_with_the_same_names_share_what_is_issued_and_authorities_ask_where_tls_is_from_the_first_byte()
     {
        let (folder, metrics) = (Folder::new(), Metrics::default());
        let acme = acme(&folder);
        let mut issuing = issuing(Some(&acme));
        let mut made = |hosts: &[&str], listener: &str, alpn: &[&[u8]], before: Option<&ListenerTls>| {
            let offer = Offer { listener, alpn, metrics: &metrics };
            ListenerTls::new(&of_authority(hosts), &offer, &mut issuing, before).unwrap().unwrap()
        };
        let api = made(&["a.example"], "api", &ALPN, None);
        let isproxy = made(&["a.example"], "isproxy", &[], None);
        let console = made(&["b.example"], "console", &ALPN, None);
        assert!(Arc::ptr_eq(api.kept().unwrap(), isproxy.kept().unwrap()));
        assert!(!Arc::ptr_eq(api.kept().unwrap(), console.kept().unwrap()));
        assert_eq!(api.config.alpn_protocols, [b"h2".to_vec(), ACME_TLS_ALPN.to_vec()]);
        assert!(isproxy.config.alpn_protocols.is_empty());
        let again = made(&["a.example"], "api", &ALPN, Some(&api));
        assert!(Arc::ptr_eq(&api.config, &again.config));
        api.kept().unwrap().end.set(Timestamp::from_unix_milliseconds(5_000));
        let text = metrics.render();
        for listener in ["api", "isproxy"] {
            let line = format!("certificate_expires_timestamp_seconds{{listener=\"{listener}\"}} 5\n");
            assert!(text.contains(&line), "{text}");
        }
        let line = "certificate_expires_timestamp_seconds{listener=\"console\"} 0\n";
        assert!(text.contains(line), "nothing was issued to it yet: {text}");
    }

    #[test]
    fn a_listener_goes_on_showing_its_certificate_until_another_one_is_issued() {
        let (folder, metrics) = (Folder::new(), Metrics::default());
        let acme = acme(&folder);
        let made = |settings: &TlsSettings,
                    listener: &str,
                    issuing: &mut Issuing<'_>,
                    before: Option<&ListenerTls>| {
            let offer = Offer { listener, alpn: &ALPN, metrics: &metrics };
            ListenerTls::new(settings, &offer, issuing, before).unwrap().unwrap()
        };
        let files = folder.pair_until("a", "a.example", 2030);
        let first = made(&settings(&[&files]), "api", &mut issuing(None), None);
        let shown = |tls: &ListenerTls| tls.shown().first().map(Arc::clone);
        let present = shown(&first).unwrap();
        // From files to an authority, then another name, then another cache.
        let one = made(&of_authority(&["a.example"]), "api", &mut issuing(Some(&acme)), Some(&first));
        let mut later = issuing(Some(&acme));
        later.before = vec![Arc::clone(one.kept().unwrap())];
        let both = of_authority(&["a.example", "b.example"]);
        // One that is new has nothing to show; the certificate is the same.
        let new = made(&both, "new", &mut later, None);
        assert!(shown(&new).is_none());
        let two = made(&both, "api", &mut later, Some(&one));
        let moved =
            Arc::new(AcmeSettings { cache: folder.path().join("other"), ..AcmeSettings::clone(&acme) });
        let mut moved = issuing(Some(&moved));
        moved.before = vec![Arc::clone(two.kept().unwrap())];
        let three = made(&both, "api", &mut moved, Some(&two));
        for tls in [&one, &two, &new, &three] {
            assert!(Arc::ptr_eq(&shown(tls).unwrap(), &present));
        }
        let line = "latchkey_certificate_expires_timestamp_seconds{listener=\"api\"} 1893456000";
        assert!(metrics.render().contains(line), "{}", metrics.render());
        let told = |at: &str| three.warnings(at.parse().unwrap()).collect::<Vec<_>>();
        assert_eq!(told("2029-06-01"), Vec::<String>::new());
        assert_eq!(
            told("2030-01-02"),
            ["the certificate that was issued for a.example, b.example has expired, on 2030-01-01T00:00:00Z"]
        );
        let same = made(&both, "api", &mut later, Some(&two));
        assert!(Arc::ptr_eq(&two.config, &same.config), "what has not changed stays");
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
