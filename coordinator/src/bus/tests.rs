//! The bus in both forms: every scenario runs through a channel and through a sealed stream.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lanyard_wire::checkpoint::{Join, JoinOutcome, JoinRefusal, LinkPath, LinkReport, PairCode, PairVerdict};
use lanyard_wire::ids::{DeviceId, RequestId};
use lanyard_wire::keys::{PublicKey, SymmetricKey};
use lanyard_wire::names::{DeviceName, InviteCode, NetworkName};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::remote::Door;
use super::*;
use crate::config::Service;
use crate::health::{Health, State};
use crate::index::invites::NewInvite;
use crate::index::links::KEPT_MS;
use crate::index::memberships::Verdict;
use crate::index::networks::NewNetwork;
use crate::index::{Actor, Clock, Index, Location, Schema};

/// How long anything may take before a test names what was missing.
const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Local,
    Remote,
}

const FORMS: [Form; 2] = [Form::Local, Form::Remote];

/// An INDEX with the network "home", and one link to it.
struct Office {
    index: Arc<Index>,
    clients: mpsc::Sender<Client>,
    link: Link,
    dir: tempfile::TempDir,
}

impl Office {
    async fn open(form: Form) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let index = Arc::new(open_index(dir.path(), Schema::Create).await);
        index.add_network(&NewNetwork::by_invite(home(), Vec::new()), &admin()).await.unwrap();
        let (clients, waiting) = mpsc::channel(4);
        tokio::spawn(publisher::run(Arc::clone(&index), waiting, Health::of(&[Service::Index]), KEPT_MS));
        let link = match form {
            Form::Local => local::connect(&clients).await.unwrap(),
            Form::Remote => {
                let door = Door::bind("127.0.0.1:0", &fleet(7)).await.unwrap();
                let address = door.address().unwrap().to_string();
                tokio::spawn(door.open(clients.clone()));
                remote::connect(address, &fleet(7))
            }
        };
        Self { index, clients, link, dir }
    }

    async fn next(&mut self, what: &str) -> FromIndex {
        timeout(DEADLINE, self.link.rx.recv()).await.unwrap_or_else(|_| panic!("no {what}")).unwrap()
    }

    async fn say(&self, message: ToIndex) {
        self.link.tx.send(message).await.unwrap();
    }

    /// Subscribes and returns the snapshot.
    async fn subscribe(&mut self, interest: Interest) -> Vec<Change> {
        assert_eq!(self.next("link").await, FromIndex::Up);
        self.say(ToIndex::Subscribe { interest }).await;
        if interest == Interest::Departures {
            return Vec::new();
        }
        assert_eq!(self.next("snapshot").await, FromIndex::SnapshotBegins);
        let mut changes = Vec::new();
        loop {
            let message = self.next("rest of the snapshot").await;
            let FromIndex::Changed { change } = message else {
                assert_eq!(message, FromIndex::SnapshotEnds);
                return changes;
            };
            changes.push(change);
        }
    }

    async fn invite(&self) -> InviteCode {
        let new = NewInvite::for_devices(home(), 9, 3_600_000);
        self.index.add_invite(&new, &admin()).await.unwrap().1
    }
}

async fn open_index(dir: &Path, schema: Schema) -> Index {
    let database = Location::Sqlite(dir.join("lanyard.db"));
    Index::open(&database, schema, &fleet(7), Clock::system()).await.unwrap()
}

fn fleet(seed: u8) -> SymmetricKey {
    SymmetricKey::from_bytes([seed; 32])
}

fn admin() -> Actor {
    Actor::operator("milena")
}

fn home() -> NetworkName {
    NetworkName::parse("home").unwrap()
}

fn identity(seed: u8) -> PublicKey {
    PublicKey::from_bytes([seed; 32])
}

fn wish(ask: u64, seed: u8, invite: Option<InviteCode>) -> ToIndex {
    let join = Join {
        request: RequestId::new(1),
        network: home(),
        invite,
        password: None,
        name: DeviceName::parse(&format!("device-{seed}")).unwrap(),
        wireguard: PublicKey::from_bytes([seed + 100; 32]),
        os: "linux\u{1b}[31m".to_owned(),
        version: "0.1.0".to_owned(),
        prefixes: vec![("192.168.1.0".parse().unwrap(), 24)],
    };
    ToIndex::Join { ask, identity: identity(seed), ip: "203.0.113.9".parse().unwrap(), join }
}

fn members(changes: &[Change]) -> usize {
    changes.iter().filter(|change| matches!(change, Change::Member(_))).count()
}

#[tokio::test]
async fn a_device_that_is_told_it_is_in_is_in_the_roster_already() {
    for form in FORMS {
        let mut office = Office::open(form).await;
        office.subscribe(Interest::Roster).await;
        let code = office.invite().await;

        office.say(wish(5, 1, Some(code))).await;

        let change = office.next("roster change").await;
        let FromIndex::Changed { change: Change::Member(member) } = change else {
            panic!("{form:?}: {change:?}")
        };
        assert_eq!(member.identity, identity(1));
        let network = member.network;
        let decided = FromIndex::JoinDecided { ask: 5, outcome: JoinOutcome::Joined { network } };
        assert_eq!(office.next("answer").await, decided, "{form:?}");
        let device = office.index.device("device-1").await.unwrap();
        assert_eq!(device.os, "linux[31m", "control characters are left out");
    }
}

#[tokio::test]
async fn a_stranger_is_refused_with_the_reason() {
    for form in FORMS {
        let mut office = Office::open(form).await;
        office.subscribe(Interest::Roster).await;

        office.say(wish(6, 1, None)).await;

        let outcome = JoinOutcome::Refused(JoinRefusal::InvalidInvite);
        assert_eq!(office.next("answer").await, FromIndex::JoinDecided { ask: 6, outcome }, "{form:?}");
    }
}

#[tokio::test]
async fn a_change_from_another_process_arrives() {
    for form in FORMS {
        let mut office = Office::open(form).await;
        office.subscribe(Interest::Roster).await;
        let code = office.invite().await;
        office.say(wish(1, 1, Some(code))).await;
        office.next("roster change").await;
        office.next("answer").await;

        let command_line = open_index(office.dir.path(), Schema::Require).await;
        let member = command_line.judge_member(&home(), "device-1", Verdict::Remove, &admin()).await.unwrap();

        let expected = Change::MemberGone {
            network: member.network_id,
            revision: member.revision,
            device: member.device,
        };
        assert_eq!(office.next("removal").await, FromIndex::Changed { change: expected }, "{form:?}");
    }
}

#[tokio::test]
async fn a_late_subscriber_gets_everything_in_its_snapshot() {
    for form in FORMS {
        let mut office = Office::open(form).await;
        office.subscribe(Interest::Roster).await;
        let code = office.invite().await;
        for seed in 1..=3 {
            office.say(wish(u64::from(seed), seed, Some(code))).await;
            office.next("roster change").await;
            office.next("answer").await;
        }

        office.link = local::connect(&office.clients).await.unwrap();
        let snapshot = office.subscribe(Interest::Roster).await;

        assert_eq!(members(&snapshot), 3, "{form:?}");
        assert_eq!(snapshot.iter().filter(|change| matches!(change, Change::Network(_))).count(), 1);
    }
}

#[tokio::test]
async fn a_relay_hears_of_departures_only() {
    for form in FORMS {
        let mut office = Office::open(form).await;
        office.subscribe(Interest::Departures).await;
        let code = office.invite().await;
        // An answer shows that the subscription before it was taken in.
        office.say(wish(1, 1, Some(code))).await;
        let FromIndex::JoinDecided { outcome: JoinOutcome::Joined { network }, .. } =
            office.next("answer").await
        else {
            panic!("{form:?}: not joined")
        };

        office.say(ToIndex::Leave { ask: 2, device: DeviceId::of(&identity(1)), network }).await;

        let gone = office.next("departure").await;
        assert!(
            matches!(gone, FromIndex::Changed { change: Change::MemberGone { .. } }),
            "{form:?}: {gone:?}"
        );
        assert_eq!(office.next("answer").await, FromIndex::LeaveDone { ask: 2 });
    }
}

#[tokio::test]
async fn presence_is_written() {
    for form in FORMS {
        let mut office = Office::open(form).await;
        office.subscribe(Interest::Roster).await;
        let code = office.invite().await;
        office.say(wish(1, 1, Some(code))).await;
        office.next("roster change").await;
        office.next("answer").await;

        let device = DeviceId::of(&identity(1));
        let ip = Some("198.51.100.7".parse().unwrap());
        office.say(ToIndex::Presence { transitions: vec![Transition { device, online: false, ip }] }).await;
        // The next answer comes after the presence before it.
        office.say(wish(2, 1, None)).await;
        office.next("answer").await;

        let row = office.index.device("device-1").await.unwrap();
        assert_eq!((row.online, row.last_ip.as_deref()), (false, Some("198.51.100.7")), "{form:?}");
    }
}

#[tokio::test]
async fn verdicts_of_pairs_and_reports_of_links_are_written() {
    for form in FORMS {
        let mut office = Office::open(form).await;
        office.subscribe(Interest::Roster).await;
        for seed in [1, 2] {
            let code = office.invite().await;
            office.say(wish(u64::from(seed), seed, Some(code))).await;
            office.next("roster change").await;
            office.next("answer").await;
        }
        let [device, peer] = [1, 2].map(|seed| DeviceId::of(&identity(seed)));
        let verdict = PairVerdict { peer, code: PairCode::Direct, method: None, took_ms: 80 };
        let to_stranger = PairVerdict { peer: DeviceId::of(&identity(7)), ..verdict };
        let reports = [verdict, to_stranger].map(|verdict| Reported { device, verdict }).to_vec();
        office.say(ToIndex::Verdicts { reports }).await;
        let path = LinkPath::Relay;
        let link = LinkReport { peer, path, rtt_us: None, pings: 0, lost: 0, tx_bytes: 92, rx_bytes: 148 };
        office.say(ToIndex::Links { reports: vec![Carried { device, link }] }).await;
        // The next answer comes after them.
        office.say(wish(3, 1, None)).await;
        office.next("answer").await;

        let written = office.index.verdicts(None).await.unwrap();
        assert_eq!(written.len(), 1, "{form:?}");
        assert_eq!((written[0].reporter, written[0].peer, written[0].took_ms), (device, peer, 80));
        let links = office.index.links(None).await.unwrap();
        assert_eq!(links.len(), 1, "{form:?}");
        assert_eq!((links[0].device, links[0].peer, links[0].rx_bytes), (device, peer, 148));
    }
}

#[tokio::test]
async fn a_client_with_another_fleet_key_gets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let index = Arc::new(open_index(dir.path(), Schema::Create).await);
    let (clients, waiting) = mpsc::channel(4);
    tokio::spawn(publisher::run(index, waiting, Health::of(&[Service::Index]), KEPT_MS));
    let door = Door::bind("127.0.0.1:0", &fleet(7)).await.unwrap();
    let address = door.address().unwrap().to_string();
    tokio::spawn(door.open(clients));
    let mut stranger = remote::connect(address.clone(), &fleet(8));
    let mut friend = remote::connect(address, &fleet(7));

    assert_eq!(
        timeout(DEADLINE, friend.rx.recv()).await.expect("no link for the friend"),
        Some(FromIndex::Up)
    );
    assert!(stranger.rx.try_recv().is_err());
}

#[tokio::test]
async fn a_link_comes_back_when_the_index_does() {
    let reserved = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = reserved.local_addr().unwrap().to_string();
    drop(reserved);
    let mut link = remote::connect(address.clone(), &fleet(7));
    let dir = tempfile::tempdir().unwrap();
    let index = Arc::new(open_index(dir.path(), Schema::Create).await);

    for round in 0..2 {
        let (clients, waiting) = mpsc::channel(4);
        let publisher =
            tokio::spawn(publisher::run(Arc::clone(&index), waiting, Health::of(&[Service::Index]), KEPT_MS));
        let door = Door::bind(&address, &fleet(7)).await.unwrap();
        let opened = tokio::spawn(door.open(clients));
        assert_eq!(timeout(DEADLINE, link.rx.recv()).await.expect("no link"), Some(FromIndex::Up), "{round}");
        opened.abort();
        publisher.abort();
        assert_eq!(
            timeout(DEADLINE, link.rx.recv()).await.expect("no news of the loss"),
            Some(FromIndex::Down)
        );
    }
}

#[tokio::test]
async fn health_tells_when_the_database_does_not_answer() {
    let dir = tempfile::tempdir().unwrap();
    let index = Arc::new(open_index(dir.path(), Schema::Create).await);
    let (_clients, waiting) = mpsc::channel(4);
    let health = Health::of(&[Service::Index]);
    tokio::spawn(publisher::run(Arc::clone(&index), waiting, health.clone(), KEPT_MS));
    let until = async |wanted: fn(&State) -> bool, what: &str| {
        timeout(DEADLINE, async {
            while !health.report().values().all(wanted) {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("health never said {what}"));
    };
    until(|state| *state == State::Ok, "ok").await;

    index.close().await;

    until(|state| matches!(state, State::Failed { .. }), "failed").await;
}
