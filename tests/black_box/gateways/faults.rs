//! Random changes while everything between gateways and database fails: ways are cut, the database stops, transactions are
//! held, gateways are killed.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::{
    Answer, Cable, Installation, Key, PostgresServer, Request, TestGateway, by_length, wait_for,
};
use crate::loops::{Random, report, seed};

/// From an acknowledged deletion to the refusal at every gateway that is connected.
const BAR: Duration = Duration::from_millis(250);
/// A gateway counts as connected when nothing was in its way for so long.
const CONNECTED_AFTER: Duration = Duration::from_secs(4);
const GATEWAYS: usize = 3;

/// What is known of a key's fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Made, or enabled, and acknowledged.
    In,
    /// Deleted, or disabled, and acknowledged.
    Out,
    /// The last change was not acknowledged: one or the other.
    Unknown,
}

struct World {
    server: PostgresServer,
    database: String,
    gateways: Vec<TestGateway>,
    cables: Vec<Cable>,
    /// Since when nothing is in a gateway's way.
    connected_since: Vec<Option<Instant>>,
    mend_at: Vec<Option<Instant>>,
    keys: BTreeMap<String, (Key, Fate)>,
    /// A key of scope `manage`.
    manager: Key,
    random: Random,
    faults: BTreeMap<&'static str, usize>,
    _folder: TempDir,
}

impl World {
    fn new() -> Self {
        let server = PostgresServer::start();
        let database = server.new_database();
        let folder = TempDir::new().unwrap();
        let master_key = folder.path().join("master.key");
        let address = database.split('@').nth(1).unwrap().split('/').next().unwrap().parse().unwrap();
        let cables: Vec<Cable> = (0..GATEWAYS).map(|_| Cable::to(address)).collect();
        let gateways: Vec<TestGateway> = cables
            .iter()
            .map(|cable| {
                let url = database.replace(&address.to_string(), &cable.address().to_string());
                let shared = |config: &mut serde_json::Value| {
                    config["store"]["url"] = url.into();
                    config["master_key_file"] = master_key.to_str().unwrap().into();
                };
                Installation::configured(shared).serve()
            })
            .collect();
        gateways[0].create_customer("acme");
        gateways[0].create_user("acme/alex");
        let scope = ["--scope", "manage", "--allow", "127.0.0.1"];
        let manager = gateways[0].create_key_with("acme/admin", &scope);
        Self {
            manager,
            server,
            database,
            gateways,
            cables,
            connected_since: vec![Some(Instant::now()); GATEWAYS],
            mend_at: vec![None; GATEWAYS],
            keys: BTreeMap::new(),
            random: Random(seed()),
            faults: BTreeMap::new(),
            _folder: folder,
        }
    }

    fn pick(&mut self) -> usize {
        usize::try_from(self.random.below(GATEWAYS as u64)).unwrap()
    }

    /// A key whose fate is known to be `In`, if there is one.
    fn pick_key(&mut self) -> Option<Key> {
        let known: Vec<&Key> =
            self.keys.values().filter(|(_, fate)| *fate == Fate::In).map(|(key, _)| key).collect();
        if known.is_empty() {
            return None;
        }
        let number = self.random.below(known.len() as u64);
        Some(known[usize::try_from(number).unwrap()].clone())
    }

    fn fail_somehow(&mut self) {
        let gateway = self.pick();
        // In turn, so that few changes see every kind as well.
        let kind = match self.faults.values().sum::<usize>() % 5 {
            0 | 3 => {
                self.cables[gateway].cut();
                let time = Duration::from_millis(100 + self.random.below(4_000));
                self.mend_at[gateway] = Some(Instant::now() + time);
                self.connected_since[gateway] = None;
                "ways cut"
            }
            1 => {
                let hold = "BEGIN; SELECT pg_advisory_xact_lock(7311001); SELECT pg_sleep(0.7); ROLLBACK";
                let mut holder = Command::new("psql");
                holder
                    .args(["-XqAt", "-c", hold, &self.database])
                    .stdout(Stdio::null())
                    .stderr(Stdio::null());
                thread::spawn(move || holder.status());
                "transactions held"
            }
            2 => {
                let victim = self.gateways.remove(gateway);
                self.cables[gateway].mend();
                self.mend_at[gateway] = None;
                let installation = victim.kill();
                self.gateways.insert(gateway, installation.serve());
                self.connected_since[gateway] = Some(Instant::now());
                "gateways killed"
            }
            _ => {
                self.server.stop();
                self.server.start_again();
                self.connected_since = vec![Some(Instant::now()); GATEWAYS];
                "restarts of the database"
            }
        };
        *self.faults.entry(kind).or_default() += 1;
    }

    fn mend_what_is_due(&mut self) {
        for gateway in 0..GATEWAYS {
            if self.mend_at[gateway].is_some_and(|due| due <= Instant::now()) {
                self.cables[gateway].mend();
                self.mend_at[gateway] = None;
                self.connected_since[gateway] = Some(Instant::now());
            }
        }
    }

    /// A gateway whose way to the database is not cut.
    fn pick_connected(&mut self) -> usize {
        loop {
            self.mend_what_is_due();
            let gateway = self.pick();
            if self.mend_at[gateway].is_none() {
                return gateway;
            }
            thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Asks the management API of a gateway.
    fn call(&self, gateway: usize, method: &str, target: &str, body: &str) -> Answer {
        let gateway = &self.gateways[gateway];
        let host = format!("localhost:{}", gateway.address("console").port());
        let request = Request::of(&host, method, target).authorization(&self.manager.authorization());
        let request = if body.is_empty() {
            request
        } else {
            request.field("Content-Type", "application/json").body(body.as_bytes())
        };
        gateway.connect("console").exchange(&request)
    }

    fn change_something(&mut self, slowest: &mut Duration) {
        let by = self.pick_connected();
        let (wish, known) = (self.random.below(10), self.pick_key());
        let Some(key) = known.filter(|_| wish < 5) else {
            let order = r#"{"description":"f","scope":["api"],"acceptPasswordEnd":true}"#;
            let made = self.call(by, "POST", "/api/v1/users/alex/api-keys", order);
            // What was not acknowledged was not shown either: nobody can use it.
            if made.status == 201 {
                let made = made.json();
                let text = |member: &str| made[member].as_str().unwrap().to_owned();
                let key = Key { text: text("key"), id: text("id") };
                self.keys.insert(key.id.clone(), (key, Fate::In));
            }
            return;
        };
        let (verb, method, end) =
            if wish < 4 { ("delete", "DELETE", "") } else { ("disable", "POST", "/disable") };
        let told = self.call(by, method, &format!("/api/v1/api-keys/{}{end}", key.id), "");
        let acknowledged = Instant::now();
        let fate = if told.status == 204 { Fate::Out } else { Fate::Unknown };
        self.keys.get_mut(&key.id).unwrap().1 = fate;
        if fate == Fate::Unknown {
            return;
        }
        for (gateway, since) in self.gateways.iter().zip(&self.connected_since) {
            if since.is_none_or(|since| acknowledged.duration_since(since) < CONNECTED_AFTER) {
                continue;
            }
            while gateway.api_get("/", &key.authorization()).status == 200 {
                let late = acknowledged.elapsed();
                assert!(late < BAR, "{verb} of {} is acknowledged and the key let in {late:?} later", key.id);
            }
            *slowest = (*slowest).max(acknowledged.elapsed());
        }
    }

    fn heal(&mut self) {
        for cable in &self.cables {
            cable.mend();
        }
        for gateway in &self.gateways {
            wait_for("readiness", || gateway.ask_ops("/readyz").text().starts_with("ready").then_some(()));
        }
    }

    /// Which keys let in, by the database.
    fn truth(&self) -> BTreeMap<String, bool> {
        let listed = self.gateways[0].cli(&["key", "list", "--json"]).json();
        let keys = listed.as_array().unwrap().iter();
        keys.map(|key| (key["id"].as_str().unwrap().to_owned(), key["state"] == "active")).collect()
    }
}

#[test]
fn s81_after_random_faults_every_gateway_decides_as_the_database_says_and_nothing_acknowledged_is_lost() {
    let mut world = World::new();
    let (changes, one_fault_in) = (by_length(60, 10_000), by_length(6, 30));
    let mut slowest = Duration::ZERO;
    for change in 1..=changes {
        world.mend_what_is_due();
        // So often, so that each kind comes; where and for how long is drawn.
        if change % one_fault_in == 0 {
            world.fail_somehow();
        }
        world.change_something(&mut slowest);
    }
    world.heal();
    let truth = world.truth();
    let mut unknown = 0;
    for (id, (key, fate)) in &world.keys {
        let lets_in = truth.get(id).copied().unwrap_or(false);
        match fate {
            Fate::In => assert!(lets_in, "{id} was acknowledged and is lost"),
            Fate::Out => assert!(!lets_in, "{id} was taken away and is back"),
            Fate::Unknown => unknown += 1,
        }
        let expected = if lets_in { 200 } else { 401 };
        for gateway in &world.gateways {
            wait_for("a gateway to decide as the database says", || {
                (gateway.api_get("/", &key.authorization()).status == expected).then_some(())
            });
        }
    }
    let text = format!(
        "{changes} changes, {} keys, {unknown} changes not acknowledged, faults {:?}\n  a refusal at a connected gateway {slowest:?} \
         after the acknowledgement at most",
        world.keys.len(),
        world.faults
    );
    report("gateways_under_faults", &text);
    assert!(world.keys.len() > changes / 4, "few changes were acknowledged");
    assert_eq!(world.faults.len(), 4, "{:?}", world.faults);
}
