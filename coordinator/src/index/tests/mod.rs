//! INDEX on a real SQLite file and on a real Postgres server: what a network, an invite and a member live through.

mod accounts;
mod changes;
mod database;
mod factors;
mod identities;
mod joining;
mod links;
mod lists;
mod membership;
mod metadata;
mod pairs;
mod searching;
mod theft;
mod tokens;
mod verdicts;
mod webhooks;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ipnetwork::Ipv4Network;
use lanyard_wire::checkpoint::{JoinOutcome, JoinRefusal};
use lanyard_wire::codec::Wire;
use lanyard_wire::ids::DeviceId;
use lanyard_wire::keys::{PublicKey, SymmetricKey};
use lanyard_wire::names::{DeviceName, InviteCode, NetworkName};

use super::addresses::overlap;
use super::devices::{Introduction, Presence};
use super::invites::NewInvite;
use super::join::JoinRequest;
use super::memberships::{ADDRESS_REST_MS, MemberState, Verdict};
use super::networks::{JoinMode, NetworkWishes, NewNetwork};
use super::outbox::Change;
use super::settings::{LINK_LIFETIME_MS, LinkOutcome};
use super::users::NewUser;
use super::*;

const HOUR_MS: i64 = 3_600_000;

struct Desk {
    index: Arc<Index>,
    time: Arc<AtomicI64>,
    dir: tempfile::TempDir,
    database: Location,
}

/// Runs a test on either database.
async fn on_both(test: impl AsyncFn(Desk)) {
    for database in ["", &lanyard_postgres::server().database().unwrap()] {
        println!("on {}", if database.is_empty() { "SQLite" } else { "Postgres" });
        test(Desk::open(database).await).await;
    }
}

impl Desk {
    /// A coordinator with the network "home".
    async fn open(database: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let time = Arc::new(AtomicI64::new(1_750_000_000_000));
        let database = Location::parse(database, dir.path()).unwrap();
        let index = open_at(&database, Schema::Create, &time).await;
        let home = NewNetwork::by_invite(NetworkName::parse("home").unwrap(), Vec::new());
        index.add_network(&home, &admin()).await.unwrap();
        Self { index: Arc::new(index), time, dir, database }
    }

    async fn invite(&self, uses: u32) -> InviteCode {
        self.invite_with(uses, true).await
    }

    async fn invite_with(&self, uses: u32, auto_approve: bool) -> InviteCode {
        let new = NewInvite { auto_approve, ..NewInvite::for_devices(home(), uses, HOUR_MS) };
        self.index.add_invite(&new, &admin()).await.unwrap().1
    }

    async fn join(&self, seed: u32, invite: Option<InviteCode>) -> JoinOutcome {
        self.index.join(&request(seed, invite)).await.unwrap()
    }

    async fn join_all(&self, count: u32) {
        let code = self.invite(count).await;
        for seed in 1..=count {
            assert!(is_joined(self.join(seed, Some(code)).await));
        }
    }

    async fn states(&self) -> Vec<(String, MemberState)> {
        let members = self.index.members_of(&home(), true).await.unwrap();
        members.into_iter().map(|member| (member.name.to_string(), member.state)).collect()
    }

    fn pass(&self, milliseconds: i64) {
        self.time.fetch_add(milliseconds, Ordering::Relaxed);
    }
}

async fn open_at(database: &Location, schema: Schema, time: &Arc<AtomicI64>) -> Index {
    let fleet = SymmetricKey::from_bytes([7; 32]);
    Index::open(database, schema, &fleet, Clock::fixed(Arc::clone(time))).await.unwrap()
}

fn admin() -> Actor {
    Actor::operator("milena")
}

fn home() -> NetworkName {
    NetworkName::parse("home").unwrap()
}

fn identity(seed: u32) -> PublicKey {
    let mut bytes = [1; 32];
    bytes[..4].copy_from_slice(&seed.to_be_bytes());
    PublicKey::from_bytes(bytes)
}

fn request(seed: u32, invite: Option<InviteCode>) -> JoinRequest {
    let mut wireguard = [2; 32];
    wireguard[..4].copy_from_slice(&seed.to_be_bytes());
    JoinRequest {
        network: home(),
        invite,
        password: None,
        device: Introduction {
            identity: identity(seed),
            wireguard: PublicKey::from_bytes(wireguard),
            name: DeviceName::parse(&format!("device-{seed}")).unwrap(),
            os: "linux".to_owned(),
            agent_version: "0.1.0".to_owned(),
            local_prefixes: Vec::new(),
        },
        ip: Some("203.0.113.9".parse().unwrap()),
    }
}

fn is_joined(outcome: JoinOutcome) -> bool {
    matches!(outcome, JoinOutcome::Joined { .. })
}
