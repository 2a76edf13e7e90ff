//! Bulk import of keys that applications hold already (S104). Only their digests are kept.
//!
//! Two steps, so that nothing is written before everything is known to be right: [`ControlPlane::plan_import`] reads
//! the whole file and names every faulty line; [`ControlPlane::run_import`] writes all of it or nothing.

mod line;

use std::collections::HashMap;
use std::io::{self, BufRead};

use zeroize::Zeroize;

pub use self::line::LineFault;
use self::line::{Faults, faulty_lines};
use super::api_keys::first_key_ends_password;
use super::control_plane::{ControlError, ControlPlane};
use crate::crypto::random;
use crate::model::{CustomerHandle, CustomerId, KeyDigest, KeyId, Revision, ServiceScope, UserId, UserName};
use crate::store::{DigestOrigin, ImportedKey, ImportedUser, KeyImport, ROWS_PER_BATCH};

/// What is wanted of an import.
#[derive(Clone, Debug)]
pub struct ImportOrder {
    /// Whose keys the lines without a name are.
    pub user: Option<UserName>,
    /// What to do about users that do not exist.
    pub missing_users: MissingUsers,
    /// How short a key may be.
    pub strength: KeyStrength,
    /// What the keys open.
    pub scope: ServiceScope,
}

/// What to do about users that do not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingUsers {
    /// Make them, and their customers with MFA optional.
    Make,
    /// Name their lines.
    Refuse,
}

/// How short a key may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStrength {
    /// At least 32 characters.
    Usual,
    /// At least 16 characters.
    Weak,
}

/// An import cannot be done; nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Lines are faulty.
    #[error("{}", faulty_lines(.faults, *.total))]
    Lines {
        /// The first of them.
        faults: Vec<(u64, LineFault)>,
        /// How many there are.
        total: usize,
    },
    /// The file has no key.
    #[error("there is no key in it")]
    Empty,
    /// The file cannot be read.
    #[error("the keys cannot be read: {0}")]
    Read(#[from] io::Error),
    /// Anything else.
    #[error(transparent)]
    Control(#[from] ControlError),
}

/// How far an import has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportProgress {
    /// Lines read and checked.
    Read(u64),
    /// Keys written, of so many.
    Written(u64, u64),
}

/// A file that was read and found right.
#[derive(Debug)]
pub struct ImportPlan {
    keys: Vec<PlannedKey>,
    users: Vec<PlannedUser>,
    scope: ServiceScope,
    ends_password_of: Vec<UserName>,
}

#[derive(Debug)]
struct PlannedKey {
    digest: KeyDigest,
    last_characters: String,
    /// Its place in `ImportPlan::users`.
    user: usize,
    line: u64,
}

#[derive(Debug)]
struct PlannedUser {
    name: UserName,
    id: Option<UserId>,
    /// A line that names it.
    line: u64,
}

impl ImportPlan {
    /// Keys to import.
    pub const fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Users to make.
    pub fn new_users(&self) -> usize {
        self.users.iter().filter(|user| user.id.is_none()).count()
    }

    /// Whose access to the API by password ends, because it is their first key.
    pub fn ends_password_of(&self) -> &[UserName] {
        &self.ends_password_of
    }
}

impl ControlPlane {
    /// Reads a whole file of keys and checks every line; writes nothing.
    pub async fn plan_import(
        &self,
        mut source: impl BufRead,
        order: &ImportOrder,
        progress: &mut impl FnMut(ImportProgress),
    ) -> Result<ImportPlan, ImportError> {
        let mut faults = Faults::default();
        let (keys, mut users) = self.read_lines(&mut source, order, &mut faults, progress)?;
        if keys.is_empty() && faults.total == 0 {
            return Err(ImportError::Empty);
        }
        self.check_digests(&keys, &mut faults).await?;
        let ends_password_of = self.resolve_users(&mut users, order, &mut faults).await?;
        faults.into_result()?;
        Ok(ImportPlan { keys, users, scope: order.scope, ends_password_of })
    }

    /// Writes a plan: all of it becomes visible at once, or nothing of it.
    pub async fn run_import(
        &self,
        plan: ImportPlan,
        progress: &mut impl FnMut(ImportProgress),
    ) -> Result<Revision, ControlError> {
        let import = self.store.begin_import(self.clock.now()).await?;
        match self.write_plan(&import, plan, progress).await {
            Ok(()) => Ok(import.commit().await?),
            Err(error) => {
                import.abandon().await?;
                Err(error)
            }
        }
    }

    fn read_lines(
        &self,
        source: &mut impl BufRead,
        order: &ImportOrder,
        faults: &mut Faults,
        progress: &mut impl FnMut(ImportProgress),
    ) -> Result<(Vec<PlannedKey>, Vec<PlannedUser>), ImportError> {
        let mut keys: Vec<PlannedKey> = Vec::new();
        let mut seen: HashMap<KeyDigest, u64> = HashMap::new();
        let mut users: Vec<PlannedUser> = Vec::new();
        let mut places: HashMap<UserName, usize> = HashMap::new();
        let mut line = Vec::new();
        for number in 1.. {
            line.zeroize();
            if source.read_until(b'\n', &mut line)? == 0 {
                break;
            }
            if number % 10_000 == 0 {
                progress(ImportProgress::Read(number));
            }
            let (digest, last_characters, name) = match self.parse_line(&line, order) {
                Ok(None) => continue,
                Ok(Some(parsed)) => parsed,
                Err(fault) => {
                    faults.add(number, fault);
                    continue;
                }
            };
            if let Some(earlier) = seen.insert(digest, number) {
                faults.add(number, LineFault::Repeated(earlier));
                continue;
            }
            let user = *places.entry(name).or_insert_with_key(|name| {
                users.push(PlannedUser { name: name.clone(), id: None, line: number });
                users.len() - 1
            });
            keys.push(PlannedKey { digest, last_characters, user, line: number });
        }
        Ok((keys, users))
    }

    async fn check_digests(&self, keys: &[PlannedKey], faults: &mut Faults) -> Result<(), ImportError> {
        for batch in keys.chunks(ROWS_PER_BATCH) {
            let digests: Vec<_> = batch.iter().map(|key| key.digest).collect();
            let known = self.store.known_digests(&digests).await.map_err(ControlError::from)?;
            for (place, origin) in known {
                let Some(key) = batch.get(place) else { continue };
                faults.add(
                    key.line,
                    match origin {
                        DigestOrigin::Exists => LineFault::Exists,
                        DigestOrigin::Deleted => LineFault::Deleted,
                    },
                );
            }
        }
        Ok(())
    }

    /// Finds the users that exist, and tells whose password a first key ends.
    async fn resolve_users(
        &self,
        users: &mut [PlannedUser],
        order: &ImportOrder,
        faults: &mut Faults,
    ) -> Result<Vec<UserName>, ImportError> {
        let mut ends_password_of = Vec::new();
        for batch in users.chunks_mut(ROWS_PER_BATCH) {
            let names: Vec<_> = batch.iter().map(|user| user.name.clone()).collect();
            for (place, record) in self.store.users_by_name(&names).await.map_err(ControlError::from)? {
                if let Some(user) = batch.get_mut(place) {
                    user.id = Some(record.id);
                    if first_key_ends_password(&record) {
                        ends_password_of.push(record.name);
                    }
                }
            }
        }
        if order.missing_users == MissingUsers::Refuse {
            for user in users.iter().filter(|user| user.id.is_none()) {
                faults.add(user.line, LineFault::UnknownUser(user.name.clone()));
            }
        }
        Ok(ends_password_of)
    }

    async fn write_plan(
        &self,
        import: &KeyImport,
        plan: ImportPlan,
        progress: &mut impl FnMut(ImportProgress),
    ) -> Result<(), ControlError> {
        let ids = self.make_users(import, &plan.users).await?;
        let total = u64::try_from(plan.keys.len()).unwrap_or(u64::MAX);
        let mut written = 0;
        for batch in plan.keys.chunks(ROWS_PER_BATCH) {
            let mut rows = Vec::with_capacity(batch.len());
            for key in batch {
                if let Some(user) = ids.get(key.user) {
                    rows.push(ImportedKey {
                        id: KeyId::from_random(random::bits()?),
                        user: *user,
                        digest: key.digest,
                        last_characters: key.last_characters.clone(),
                    });
                }
            }
            import.add_keys(&rows, plan.scope).await?;
            written += u64::try_from(batch.len()).unwrap_or(0);
            progress(ImportProgress::Written(written, total));
        }
        Ok(())
    }

    /// Makes the users that are missing, and their customers; answers everybody's row in the order of `users`.
    async fn make_users(
        &self,
        import: &KeyImport,
        users: &[PlannedUser],
    ) -> Result<Vec<UserId>, ControlError> {
        let missing: Vec<&PlannedUser> = users.iter().filter(|user| user.id.is_none()).collect();
        let customers = self.make_customers(import, &missing).await?;
        let mut made = Vec::with_capacity(missing.len());
        for batch in missing.chunks(ROWS_PER_BATCH) {
            let mut rows = Vec::with_capacity(batch.len());
            for user in batch {
                let handle = &user.name.customer;
                let customer =
                    customers.get(handle).ok_or_else(|| ControlError::UnknownCustomer(handle.clone()))?;
                rows.push(ImportedUser { customer: *customer, login: user.name.login.clone() });
            }
            made.extend(import.add_users(&rows).await?);
        }
        let mut made = made.into_iter();
        Ok(users.iter().filter_map(|user| user.id.or_else(|| made.next())).collect())
    }

    async fn make_customers(
        &self,
        import: &KeyImport,
        missing: &[&PlannedUser],
    ) -> Result<HashMap<CustomerHandle, CustomerId>, ControlError> {
        let mut handles: Vec<CustomerHandle> =
            missing.iter().map(|user| user.name.customer.clone()).collect();
        handles.sort();
        handles.dedup();
        let mut customers = HashMap::with_capacity(handles.len());
        for batch in handles.chunks(ROWS_PER_BATCH) {
            customers.extend(self.store.customers_by_handle(batch).await?);
            let new: Vec<_> =
                batch.iter().filter(|handle| !customers.contains_key(*handle)).cloned().collect();
            let ids = import.add_customers(&new).await?;
            customers.extend(new.into_iter().zip(ids));
        }
        Ok(customers)
    }
}

#[cfg(test)]
mod tests {
    use super::super::control_plane::tests::plane;
    use super::super::{KeyToMake, PasswordEnd};
    use super::*;

    fn order() -> ImportOrder {
        ImportOrder {
            user: Some("acme/alex".parse().unwrap()),
            missing_users: MissingUsers::Refuse,
            strength: KeyStrength::Usual,
            scope: "api".parse().unwrap(),
        }
    }

    fn key(number: usize) -> String {
        format!("{number:06}abcdefghijklmnopqrstuvwxyzABCDEF0123456=")
    }

    async fn plan(plane: &ControlPlane, text: &str, order: &ImportOrder) -> Result<ImportPlan, ImportError> {
        plane.plan_import(text.as_bytes(), order, &mut |_| {}).await
    }

    #[tokio::test]
    async fn s104_every_faulty_line_is_named_and_nothing_is_imported() {
        let (_folder, plane) = plane().await;
        let wanted = KeyToMake::new("acme/alex".parse().unwrap(), "CI", "api".parse().unwrap());
        let made = plane
            .create_keys(&wanted, std::num::NonZeroU32::new(2).unwrap(), PasswordEnd::Accepted)
            .await
            .unwrap();
        plane.delete_key(made.keys[0].id).await.unwrap();
        let lines = [
            key(1),
            "short".into(),
            "a".repeat(40),
            format!("lk1_{}", "A".repeat(40)),
            key(1),
            format!("{} acme/nobody", key(2)),
            format!("{} not-a-name", key(3)),
            format!("{} acme/alex more", key(4)),
            made.keys[0].text.expose().to_owned(),
            made.keys[1].text.expose().to_owned(),
            "ümlaut".repeat(8),
        ];
        let ImportError::Lines { faults, total } =
            plan(&plane, &lines.join("\n"), &order()).await.unwrap_err()
        else {
            panic!()
        };
        assert_eq!(total, 10);
        assert_eq!(
            faults.iter().map(|(line, _)| *line).collect::<Vec<_>>(),
            [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
        );
        assert_eq!(faults[0].1, LineFault::Length(5, 32));
        assert_eq!(faults[1].1, LineFault::TooRegular(1));
        assert_eq!(faults[2].1, LineFault::ForeignKey);
        assert_eq!(faults[3].1, LineFault::Repeated(1));
        assert!(matches!(&faults[4].1, LineFault::UnknownUser(name) if name.to_string() == "acme/nobody"));
        assert_eq!(faults[6].1, LineFault::Words);
        assert_eq!(faults[7].1, LineFault::Deleted);
        assert_eq!(faults[8].1, LineFault::Exists);
        assert_eq!(faults[9].1, LineFault::Characters);
        assert_eq!(plane.list_keys(None).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn many_faults_are_counted_and_weak_keys_must_be_asked_for() {
        let (_folder, plane) = plane().await;
        let lines: Vec<String> = (0..30).map(|number| format!("{number:06}abcdefghijkl")).collect();
        let error = plan(&plane, &lines.join("\n"), &order()).await.unwrap_err();
        assert!(error.to_string().contains("and 10 more faulty lines"), "{error}");
        let weak = ImportOrder { strength: KeyStrength::Weak, ..order() };
        assert_eq!(plan(&plane, &lines.join("\n"), &weak).await.unwrap().keys(), 30);
    }

    #[tokio::test]
    async fn r8_an_import_names_whose_password_it_ends_and_ends_it() {
        let (_folder, plane) = plane().await;
        let order = ImportOrder { missing_users: MissingUsers::Make, ..order() };
        let lines: Vec<String> = (0..10_000)
            .map(|number| match number % 10 {
                0 => key(number),
                _ => format!("{} customer{}/user{number}", key(number), number / 100),
            })
            .collect();
        let planned = plan(&plane, &lines.join("\r\n"), &order).await.unwrap();
        assert_eq!((planned.keys(), planned.new_users()), (10_000, 9_000));
        assert_eq!(planned.ends_password_of().len(), 1);
        let mut written = 0;
        plane
            .run_import(planned, &mut |progress| {
                if let ImportProgress::Written(done, _) = progress {
                    written = done;
                }
            })
            .await
            .unwrap();
        assert_eq!(written, 10_000);
        let alex: UserName = "acme/alex".parse().unwrap();
        assert!(plane.user(&alex).await.unwrap().password_off_by_key);
        assert_eq!(plane.list_keys(Some(&alex)).await.unwrap().len(), 1_000);
        let made: UserName = "customer99/user9999".parse().unwrap();
        assert_eq!(plane.list_keys(Some(&made)).await.unwrap().len(), 1);
    }
}
