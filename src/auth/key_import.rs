//! Bulk import of keys that applications hold already (S104). Only their digests are kept.
//!
//! Two steps, so that nothing is written before everything is known to be right: [`ControlPlane::plan_import`] reads
//! the whole file and names every faulty line; [`ControlPlane::run_import`] writes all of it or nothing.

mod faults;
mod line;
mod told;

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, Read};

use zeroize::{Zeroize, Zeroizing};

use faults::Faults;
pub use faults::{ImportError, LineFault};
pub use line::{KeyLine, parse_key_line};

use super::api_keys::first_key_ends_password;
use super::control_plane::{ControlError, ControlPlane};
use super::customers::first_login;
use super::rights::Action;
use crate::crypto::random;
use crate::model::{CustomerHandle, CustomerId, KeyDigest, KeyId, Revision, ServiceScope, UserId, UserName};
use crate::store::{AuditEntry, DigestOrigin, ImportedKey, ImportedUser, KeyImport, ROWS_PER_BATCH};

/// The longest line that is read, its end included: the longest key and the longest name with room to spare.
const LINE_MAX_BYTES: u64 = 1_024;

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
}

/// The customers of the users that a file names.
#[derive(Debug, Default)]
struct Customers {
    /// All of them.
    ids: HashMap<CustomerHandle, CustomerId>,
    /// Those that the import makes.
    made: HashSet<CustomerId>,
}

impl ImportPlan {
    /// Keys to import.
    pub const fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Users that the file names and that are to be made.
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
        if keys.is_empty() && faults.is_empty() {
            return Err(ImportError::Empty);
        }
        let ends_password_of = self.resolve_users(&mut users).await?;
        self.check_keys(&keys, &users, order.missing_users, &mut faults).await?;
        faults.into_result()?;
        Ok(ImportPlan { keys, users, scope: order.scope, ends_password_of })
    }

    /// Writes a plan: all of it becomes visible at once, or nothing of it.
    pub async fn run_import(
        &self,
        plan: ImportPlan,
        progress: &mut impl FnMut(ImportProgress),
    ) -> Result<Revision, ControlError> {
        self.require(Action::Operate).await?;
        let import = self.store.begin_import(self.clock.now()).await?;
        match self.write_and_tell(&import, &plan, progress).await {
            Ok(told) => Ok(import.commit(&told, &self.key_ring.audit).await?),
            Err(error) => {
                import.abandon().await?;
                Err(error)
            }
        }
    }

    /// Stages everything; answers what is to be written into the audit trail.
    async fn write_and_tell(
        &self,
        import: &KeyImport,
        plan: &ImportPlan,
        progress: &mut impl FnMut(ImportProgress),
    ) -> Result<Vec<AuditEntry>, ControlError> {
        let (users, customers) = self.write_plan(import, plan, progress).await?;
        let now = self.clock.now();
        let told = told::events_of(plan, &users, &customers);
        Ok(told.iter().map(|event| event.entry(&self.actor, now)).collect())
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
        let mut line = Zeroizing::new(Vec::new());
        for number in 1.. {
            line.zeroize();
            if source.by_ref().take(LINE_MAX_BYTES).read_until(b'\n', &mut line)? == 0 {
                break;
            }
            if line.len() as u64 == LINE_MAX_BYTES && line.last() != Some(&b'\n') {
                source.skip_until(b'\n')?;
                faults.add(number, LineFault::TooLong);
                continue;
            }
            if number % 10_000 == 0 {
                progress(ImportProgress::Read(number));
            }
            let KeyLine { digest, last_characters, user } = match parse_key_line(&line, order, &self.key_ring)
            {
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
            let user = *places.entry(user).or_insert_with_key(|name| {
                users.push(PlannedUser { name: name.clone(), id: None });
                users.len() - 1
            });
            keys.push(PlannedKey { digest, last_characters, user, line: number });
        }
        Ok((keys, users))
    }

    /// Finds fault with keys that are known, and with those of users that do not exist.
    async fn check_keys(
        &self,
        keys: &[PlannedKey],
        users: &[PlannedUser],
        missing_users: MissingUsers,
        faults: &mut Faults,
    ) -> Result<(), ImportError> {
        for batch in keys.chunks(ROWS_PER_BATCH) {
            let digests: Vec<_> = batch.iter().map(|key| key.digest).collect();
            let known = self.store.known_digests(&digests).await.map_err(ControlError::from)?;
            let known: HashMap<usize, DigestOrigin> = known.into_iter().collect();
            for (place, key) in batch.iter().enumerate() {
                let missing = users
                    .get(key.user)
                    .filter(|user| user.id.is_none() && missing_users == MissingUsers::Refuse);
                match (known.get(&place), missing) {
                    (Some(DigestOrigin::Exists), _) => faults.add(key.line, LineFault::Exists),
                    (Some(DigestOrigin::Deleted), _) => faults.add(key.line, LineFault::Deleted),
                    (None, Some(user)) => faults.add(key.line, LineFault::UnknownUser(user.name.clone())),
                    (None, None) => {}
                }
            }
        }
        Ok(())
    }

    /// Finds the users that exist, and tells whose password a first key ends.
    async fn resolve_users(&self, users: &mut [PlannedUser]) -> Result<Vec<UserName>, ImportError> {
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
        Ok(ends_password_of)
    }

    /// Stages everything; answers everybody's row in the order of the plan's users, and their customers.
    async fn write_plan(
        &self,
        import: &KeyImport,
        plan: &ImportPlan,
        progress: &mut impl FnMut(ImportProgress),
    ) -> Result<(Vec<UserId>, Customers), ControlError> {
        let customers = self.make_customers(import, &plan.users).await?;
        let ids = self.make_users(import, &plan.users, &customers).await?;
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
        Ok((ids, customers))
    }

    /// Makes the users that are missing; answers everybody's row in the order of `users`.
    ///
    /// A customer that is made gets its administrator `admin`, as every customer does (R29).
    async fn make_users(
        &self,
        import: &KeyImport,
        users: &[PlannedUser],
        Customers { ids: customers, made: made_customers }: &Customers,
    ) -> Result<Vec<UserId>, ControlError> {
        let missing: Vec<&PlannedUser> = users.iter().filter(|user| user.id.is_none()).collect();
        let admin = first_login()?;
        let mut made = Vec::with_capacity(missing.len());
        for batch in missing.chunks(ROWS_PER_BATCH) {
            let mut rows = Vec::with_capacity(batch.len());
            for user in batch {
                let handle = &user.name.customer;
                let customer =
                    customers.get(handle).ok_or_else(|| ControlError::UnknownCustomer(handle.clone()))?;
                let login = user.name.login.clone();
                let administrator = login == admin && made_customers.contains(customer);
                rows.push(ImportedUser { customer: *customer, login, administrator, has_key: true });
            }
            made.extend(import.add_users(&rows).await?);
        }
        let named: HashSet<&CustomerHandle> =
            missing.iter().filter(|user| user.name.login == admin).map(|user| &user.name.customer).collect();
        let unnamed: Vec<ImportedUser> = customers
            .iter()
            .filter(|(handle, id)| made_customers.contains(id) && !named.contains(handle))
            .map(|(_, id)| ImportedUser {
                customer: *id,
                login: admin.clone(),
                administrator: true,
                has_key: false,
            })
            .collect();
        for batch in unnamed.chunks(ROWS_PER_BATCH) {
            import.add_users(batch).await?;
        }
        let mut made = made.into_iter();
        Ok(users.iter().filter_map(|user| user.id.or_else(|| made.next())).collect())
    }

    /// Makes the customers that are missing; answers those of all `users`.
    async fn make_customers(
        &self,
        import: &KeyImport,
        users: &[PlannedUser],
    ) -> Result<Customers, ControlError> {
        let mut handles: Vec<CustomerHandle> = users.iter().map(|user| user.name.customer.clone()).collect();
        handles.sort();
        handles.dedup();
        let mut customers = Customers::default();
        for batch in handles.chunks(ROWS_PER_BATCH) {
            customers.ids.extend(self.store.customers_by_handle(batch).await?);
            let new: Vec<_> =
                batch.iter().filter(|handle| !customers.ids.contains_key(*handle)).cloned().collect();
            let ids = import.add_customers(&new).await?;
            customers.made.extend(&ids);
            customers.ids.extend(new.into_iter().zip(ids));
        }
        Ok(customers)
    }
}

#[cfg(test)]
mod tests {
    use super::super::control_plane::tests::plane;
    use super::super::{ActivityFilter, EventKind, KeyToMake, PasswordEnd};
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
    async fn a_key_that_stands_where_the_name_belongs_is_not_repeated() {
        let (_folder, plane) = plane().await;
        let line = format!("acme/alex {}", key(1));
        let error = plan(&plane, &line, &order()).await.unwrap_err();
        assert!(!error.to_string().contains(&key(1)), "{error}");
        assert!(error.to_string().contains("line 1: the second word is no user name"), "{error}");
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_named_and_not_held() {
        let (_folder, plane) = plane().await;
        let text = format!("{}\n{} acme/alex\n{}", "x".repeat(3_000), key(1), "y".repeat(1_024));
        let Err(ImportError::Lines { faults, total }) = plan(&plane, &text, &order()).await else { panic!() };
        assert_eq!((faults, total), (vec![(1, LineFault::TooLong), (3, LineFault::TooLong)], 2));
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
            format!("{} acme/nobody", key(5)),
        ];
        let ImportError::Lines { faults, total } =
            plan(&plane, &lines.join("\n"), &order()).await.unwrap_err()
        else {
            panic!()
        };
        assert_eq!(total, 11);
        assert_eq!(
            faults.iter().map(|(line, _)| *line).collect::<Vec<_>>(),
            [2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
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
        let late = format!("{} acme/nobody\n{}", key(0), lines.join("\n"));
        let error = plan(&plane, &late, &order()).await.unwrap_err().to_string();
        assert!(error.starts_with("line 1: there is no user"), "the first lines are named: {error}");
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
        let ended = plane.recent_activity_of(&alex, 5).await.unwrap();
        assert_eq!(ended[0].event, "password.ended_by_key");
        let made: UserName = "customer99/user9999".parse().unwrap();
        assert_eq!(plane.list_keys(Some(&made)).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn r29_a_customer_that_an_import_makes_has_its_administrator() {
        let (_folder, plane) = plane().await;
        let order = ImportOrder { missing_users: MissingUsers::Make, ..order() };
        let text =
            format!("{} beta/bo\n{} gamma/admin\n{} acme/bo\n{} beta/cy\n", key(1), key(2), key(3), key(4));
        let planned = plan(&plane, &text, &order).await.unwrap();
        assert_eq!(planned.new_users(), 4);
        plane.run_import(planned, &mut |_| {}).await.unwrap();
        let users: Vec<_> = plane
            .users(None)
            .await
            .unwrap()
            .iter()
            .map(|user| {
                let role = if user.administrator { "administrator" } else { "user" };
                let password = if user.password_off_by_key { "off" } else { "-" };
                format!("{} {role} {password}", user.name)
            })
            .collect();
        assert_eq!(
            users,
            [
                "acme/admin administrator -",
                "acme/alex user -",
                "acme/bo user off",
                "beta/admin administrator -",
                "beta/bo user off",
                "beta/cy user off",
                "gamma/admin administrator off",
            ]
        );
        let filter = ActivityFilter { event: Some(EventKind::KeysImported), ..ActivityFilter::default() };
        let rows = plane.activity(&filter, None, 10).await.unwrap().rows;
        let told: Vec<_> =
            rows.iter().map(|row| (row.sentence.as_str(), &*row.details["new_customer"])).collect();
        let expected = [
            ("imported 1 API key for gamma with 1 new user", "true"),
            ("imported 2 API keys for beta with 2 new users", "true"),
            ("imported 1 API key for acme with 1 new user", "false"),
        ];
        assert_eq!(told, expected, "s88: each customer finds it among its own activity");
    }

    #[tokio::test]
    async fn an_import_that_was_cut_off_can_simply_be_repeated() {
        let (_folder, plane) = plane().await;
        let text = format!("{} beta/bo\n", key(1));
        let order = ImportOrder { missing_users: MissingUsers::Make, ..order() };
        let planned = plan(&plane, &text, &order).await.unwrap();
        let import = plane.store.begin_import(plane.clock.now()).await.unwrap();
        plane.write_plan(&import, &planned, &mut |_| {}).await.unwrap();
        drop(import);
        let again = plan(&plane, &text, &order).await.unwrap();
        plane.run_import(again, &mut |_| {}).await.unwrap();
        assert_eq!(plane.list_keys(None).await.unwrap().len(), 1);
    }
}
