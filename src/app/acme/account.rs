//! The account at an authority: kept, and made where there is none.

use instant_acme::{Account, AccountCredentials, ExternalAccountKey, NewAccount};
use zeroize::Zeroizing;

use super::order::{OrderError, Orderer};

impl Orderer {
    /// The account that was kept; a new one where there is none.
    pub(super) async fn account(&self) -> Result<Account, OrderError> {
        let builder = || Account::builder_with_http(Box::new(self.directory.clone()));
        if let Some(json) = self.cache.load_account()? {
            let credentials: AccountCredentials = serde_json::from_slice(&json)?;
            return Ok(builder().from_credentials(credentials).await?);
        }
        let contact: Vec<&str> = self.settings.contact.iter().map(String::as_str).collect();
        let wanted =
            NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let external = self.settings.external_account.as_ref();
        let external = external
            .map(|account| ExternalAccountKey::new(account.key_id.clone(), account.hmac_key.expose()));
        let directory = self.settings.directory.clone();
        let (account, credentials) = builder().create(&wanted, directory, external.as_ref()).await?;
        self.cache.keep_account(&Zeroizing::new(serde_json::to_vec(&credentials)?))?;
        tracing::info!(
            directory = self.settings.directory,
            "an account at the certificate authority was made"
        );
        Ok(account)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::cache::Cache;
    use super::super::directory::Directory;
    use super::*;
    use crate::config::{AcmeChallenge, AcmeSettings};

    fn orderer(folder: &std::path::Path) -> Orderer {
        let made = rcgen::generate_simple_self_signed(vec![String::from("localhost")]).unwrap();
        let ca = folder.join("ca.crt");
        std::fs::write(&ca, made.cert.pem()).unwrap();
        let settings = AcmeSettings {
            directory: String::from("https://localhost:1/dir"),
            contact: Vec::new(),
            challenge: AcmeChallenge::TlsAlpn01,
            cache: folder.join("acme"),
            ca: Some(ca),
            external_account: None,
        };
        Orderer {
            directory: Directory::new(&settings).unwrap(),
            cache: Cache::new(&settings),
            settings: Arc::new(settings),
            challenges: Arc::default(),
        }
    }

    #[tokio::test]
    async fn an_account_that_was_kept_and_is_broken_is_told_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let orderer = orderer(folder.path());
        orderer.cache.keep_account(b"{}").unwrap();
        let told = orderer.account().await.err().unwrap().to_string();
        assert!(told.starts_with("the account is not well-formed: "), "{told}");
        assert_eq!(orderer.cache.load_account().unwrap().unwrap().as_slice(), b"{}");
    }
}
