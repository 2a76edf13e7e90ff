//! The account at an authority: kept, made where there is none, and told where the authority may write to.

use std::sync::Arc;

use instant_acme::{Account, AccountBuilder, AccountCredentials, ExternalAccountKey, NewAccount};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::directory::Directory;
use super::order::{OrderError, Orderer};
use super::unwritten::Unwritten;

/// An account as it is kept.
#[derive(Deserialize, Serialize)]
struct KeptAccount {
    /// Where the authority was told last that it may write to.
    contact: Vec<String>,
    account: AccountCredentials,
}

impl KeptAccount {
    fn json(&self) -> Result<Zeroizing<Vec<u8>>, OrderError> {
        Ok(Zeroizing::new(serde_json::to_vec(self)?))
    }
}

impl Orderer {
    /// The account that was kept; a new one where there is none.
    pub(super) async fn account(&self, unwritten: &mut Unwritten) -> Result<Account, OrderError> {
        match self.kept_account(unwritten).await? {
            Some(account) => Ok(account),
            None => self.new_account(unwritten).await,
        }
    }

    /// The account that was kept, which knows the present contact; `None`: there is none.
    pub(super) async fn kept_account(
        &self,
        unwritten: &mut Unwritten,
    ) -> Result<Option<Account>, OrderError> {
        let cache = self.cache.clone();
        let json = if let Some(json) = unwritten.contents(&cache.account_file()) {
            json
        } else if let Some(json) = spawn_blocking(move || cache.load_account()).await?? {
            json
        } else {
            return Ok(None);
        };
        let kept: KeptAccount = serde_json::from_slice(&json)?;
        let account = self.builder().await?.from_credentials(kept.account).await?;
        if kept.contact != self.settings.contact {
            self.tell_contact(&account, &json, unwritten).await?;
        }
        Ok(Some(account))
    }

    async fn new_account(&self, unwritten: &mut Unwritten) -> Result<Account, OrderError> {
        let contact = self.contact();
        let wanted =
            NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let external = self.settings.external_account.as_ref();
        let external = external
            .map(|account| ExternalAccountKey::new(account.key_id.clone(), account.hmac_key.expose()));
        let directory = self.settings.directory.clone();
        let (account, credentials) =
            self.builder().await?.create(&wanted, directory, external.as_ref()).await?;
        let kept = KeptAccount { contact: self.settings.contact.clone(), account: credentials };
        unwritten.write(self.cache.account_file(), kept.json()?).await;
        tracing::info!(
            directory = self.settings.directory,
            "an account at the certificate authority was made"
        );
        Ok(account)
    }

    /// Tells the authority where it may write to from now on, and notes in what was kept, `json`, that it was told. An
    /// authority that will not hear of it issues certificates all the same.
    async fn tell_contact(
        &self,
        account: &Account,
        json: &[u8],
        unwritten: &mut Unwritten,
    ) -> Result<(), OrderError> {
        if let Err(error) = account.update_contacts(&self.contact()).await {
            let error = OrderError::from(error).told();
            tracing::warn!(?error, "the certificate authority does not take the new `contact`");
            return Ok(());
        }
        let before: KeptAccount = serde_json::from_slice(json)?;
        let kept = KeptAccount { contact: self.settings.contact.clone(), ..before };
        unwritten.write(self.cache.account_file(), kept.json()?).await;
        tracing::info!("the certificate authority was told the new `contact`");
        Ok(())
    }

    fn contact(&self) -> Vec<&str> {
        self.settings.contact.iter().map(String::as_str).collect()
    }

    /// Asks by a client that trusts what the files hold now.
    async fn builder(&self) -> Result<AccountBuilder, OrderError> {
        let settings = Arc::clone(&self.settings);
        let directory = spawn_blocking(move || Directory::new(&settings)).await??;
        Ok(Account::builder_with_http(Box::new(directory)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::cache::keep;
    use super::super::testing::{FakeAuthority, orderer};
    use super::*;

    #[tokio::test]
    async fn an_account_that_was_kept_and_is_broken_is_told_and_left_as_it_is() {
        let authority = FakeAuthority::start().await;
        let ours = orderer(&authority.settings());
        keep(&ours.cache.account_file(), b"{}").unwrap();
        let told = ours.account(&mut Unwritten::default()).await.err().unwrap().to_string();
        assert!(told.starts_with("the account is not well-formed: "), "{told}");
        assert_eq!(ours.cache.load_account().unwrap().unwrap().as_slice(), b"{}");
    }

    #[tokio::test]
    async fn an_account_is_made_once_and_told_of_another_contact_once() {
        let authority = FakeAuthority::start().await;
        let mut settings = authority.settings();
        let mut unwritten = Unwritten::default();
        let ours = orderer(&settings);
        assert!(ours.kept_account(&mut unwritten).await.unwrap().is_none());
        ours.account(&mut unwritten).await.unwrap();
        settings.contact = vec![String::from("mailto:new@example.com")];
        for _ in 0..2 {
            orderer(&settings).account(&mut unwritten).await.unwrap();
        }
        let made = authority.asked("/account");
        assert_eq!(made.len(), 1);
        assert_eq!(authority.asked("/account/1"), [serde_json::json!({ "contact": settings.contact })]);
    }

    #[tokio::test]
    async fn an_account_that_could_not_be_written_is_used_again_while_the_process_lives() {
        let authority = FakeAuthority::start().await;
        let ours = orderer(&authority.settings());
        let mut unwritten = Unwritten::default();
        ours.account(&mut unwritten).await.unwrap();
        let (file, json) = (ours.cache.account_file(), ours.cache.load_account().unwrap().unwrap());
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        unwritten.write(file, json).await;
        ours.account(&mut unwritten).await.unwrap();
        assert_eq!(authority.asked("/account").len(), 1);
    }

    #[tokio::test]
    async fn whom_to_trust_is_read_anew_each_time() {
        let authority = FakeAuthority::start().await;
        let settings = authority.settings();
        let ca = settings.ca.clone().unwrap();
        let right = std::fs::read(&ca).unwrap();
        let stranger = rcgen::generate_simple_self_signed(vec![String::from("localhost")]).unwrap();
        std::fs::write(&ca, stranger.cert.pem()).unwrap();
        let ours = orderer(&settings);
        let mut unwritten = Unwritten::default();
        let told = ours.account(&mut unwritten).await.err().unwrap().to_string();
        assert!(told.starts_with("the authority cannot be reached: "), "{told}");
        std::fs::write(&ca, right).unwrap();
        ours.account(&mut unwritten).await.unwrap();
    }
}
