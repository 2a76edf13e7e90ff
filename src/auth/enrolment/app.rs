//! Setting an authenticator app up: a seed that is shown until a code has proved it (R37–R40).

use super::super::console_access::{ConsoleAccess, method_label};
use super::super::control_plane::ControlError;
use super::super::sign_in::ConsoleSession;
use super::{AddedMethod, EnrolmentFault, SET_UP_APP, method_name, require_room};
use crate::crypto::{RecoveryCodes, TotpError, TotpSecret, qr_svg};
use crate::model::{MethodKind, Secret};
use crate::store::NewMethod;

/// The issuer that apps show.
const ISSUER: &str = "Latchkey";

/// What the page of a set-up shows.
#[derive(Debug)]
pub struct AppSetUp {
    /// The QR code, as SVG.
    pub qr_code: Secret<String>,
    /// The seed for typing in, in groups of four.
    pub seed: Secret<String>,
    /// The same as an address, for an app on this device.
    pub otpauth_url: Secret<String>,
}

impl ConsoleAccess {
    /// Begins to set an app up, or goes on with it: the seed stays the same for ten minutes.
    pub async fn begin_app(&self, session: &ConsoleSession) -> Result<AppSetUp, EnrolmentFault> {
        let plane = self.plane_in(session);
        let (mut change, user) = self.begin_own_mfa(&plane, session).await?;
        self.codes_for_method(&mut change, session, &user).await?;
        require_room(&change.mfa_methods_of(user.id).await?)?;
        let state = self.ceremony_in(&mut change, session, &user, SET_UP_APP).await?;
        let seed = if let Some(state) = state {
            // Nobody should wait for the writer's lock while the picture is drawn.
            drop(change);
            parse_seed(&state)?
        } else {
            let seed = TotpSecret::draw().map_err(ControlError::from)?;
            self.remember(&mut change, session, &user, (SET_UP_APP, seed.as_bytes())).await?;
            change.commit_noted().await?;
            seed
        };
        let unusable = |error: TotpError| ControlError::SetUp(error.to_string());
        let otpauth_url = seed.otpauth_url(&user.name.to_string(), ISSUER).map_err(unusable)?;
        let qr_code = qr_svg(&otpauth_url).map_err(unusable)?;
        Ok(AppSetUp { qr_code, seed: seed.to_base32_groups(), otpauth_url })
    }

    /// Adds the app once `code` is the one that it shows now. The code's step counts as used (S95).
    pub async fn finish_app(
        &self,
        session: &ConsoleSession,
        name: &str,
        code: &Secret<String>,
    ) -> Result<AddedMethod, EnrolmentFault> {
        let name = method_name(name, "Authenticator app")?;
        let plane = self.plane_in(session);
        let (mut change, user) = self.begin_own_mfa(&plane, session).await?;
        let codes = self.codes_for_method(&mut change, session, &user).await?;
        let saved = codes.as_ref().map(RecoveryCodes::to_bytes);
        let state = self.ceremony_in(&mut change, session, &user, SET_UP_APP).await?;
        let state = state.ok_or(EnrolmentFault::Expired)?;
        let seed = parse_seed(&state)?;
        let step = seed.matching_step(code.expose(), change.now(), None).ok_or(EnrolmentFault::WrongCode)?;
        // Nobody should wait for the writer's lock while codes are hashed; what was read is read again behind it.
        drop(change);
        let hashes = match codes {
            Some(codes) => Some(self.hash_codes(&user, codes).await?),
            None => None,
        };
        let (mut change, user) = self.begin_own_mfa(&plane, session).await?;
        let codes_now = self.codes_for_method(&mut change, session, &user).await?;
        let state_now = self.ceremony_in(&mut change, session, &user, SET_UP_APP).await?;
        if state_now != Some(state) || codes_now.as_ref().map(RecoveryCodes::to_bytes) != saved {
            return Err(EnrolmentFault::Expired);
        }
        require_room(&change.mfa_methods_of(user.id).await?)?;
        let secret = self.seal(seed.as_bytes(), &method_label(&user, MethodKind::App))?;
        let new = NewMethod {
            user: user.id,
            kind: MethodKind::App,
            name: &name,
            secret: &secret,
            credential_id: None,
            last_step: Some(step),
            created_at: change.now(),
        };
        self.add_method(change, session, new, hashes).await
    }
}

fn parse_seed(state: &Secret<Vec<u8>>) -> Result<TotpSecret, EnrolmentFault> {
    TotpSecret::from_bytes(state.expose()).map_err(|_| EnrolmentFault::Expired)
}
