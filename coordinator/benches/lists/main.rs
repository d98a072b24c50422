//! Lists and searches of INDEX with 100,000 devices, on both databases, and what a join costs in a network of 5,000.
//!
//! `LANYARD_BENCH_DEVICES=10000` makes fewer. Devices join as real ones do, 1,000 to a network, each with metadata; then each question is
//! asked by the server's administrator, who sees everything, and by somebody with a role in three networks. Times are of the whole question: SQL,
//! rows, and their reading.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench prints, and fails loudly"
)]

use std::time::{Duration, Instant};

use lanyard_coordinator::index::authority::{Grants, Role};
use lanyard_coordinator::index::devices::Introduction;
use lanyard_coordinator::index::edits::MemberWishes;
use lanyard_coordinator::index::invites::NewInvite;
use lanyard_coordinator::index::join::JoinRequest;
use lanyard_coordinator::index::lists::{Filter, Page};
use lanyard_coordinator::index::metadata::{Subject, Visibility, Wish};
use lanyard_coordinator::index::networks::NewNetwork;
use lanyard_coordinator::index::users::NewUser;
use lanyard_coordinator::index::{Actor, Clock, Index, Location, Schema};
use lanyard_wire::ids::DeviceId;
use lanyard_wire::keys::{PublicKey, SymmetricKey};
use lanyard_wire::names::{InviteCode, NetworkName};

/// Devices of a network, and of the one whose joins are measured.
const NETWORK: usize = 1_000;
const LARGE: usize = 5_000;

/// How often each question is asked.
const ASKED: usize = 100;

const WEEK_MS: i64 = 7 * 24 * 3_600_000;

const SYSTEMS: [&str; 4] = ["linux", "windows", "macos", "freebsd"];
const SITES: [&str; 8] = ["berlin", "oslo", "lisboa", "krakow", "bern", "lyon", "turin", "graz"];

fn operator() -> Actor {
    Actor::operator("bench")
}

fn request(network: &NetworkName, invite: InviteCode, number: usize) -> JoinRequest {
    let key = |mark: u8| {
        let mut bytes = [mark; 32];
        bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
        PublicKey::from_bytes(bytes)
    };
    JoinRequest {
        network: network.clone(),
        invite: Some(invite),
        password: None,
        device: Introduction {
            identity: key(1),
            wireguard: key(2),
            // Names begin anywhere in the alphabet, as those of people do.
            name: format!("{:04x}-box-{number}", number.wrapping_mul(40_503) % 65_536).parse().unwrap(),
            os: SYSTEMS[number % SYSTEMS.len()].to_owned(),
            agent_version: "0.1.0".to_owned(),
            local_prefixes: Vec::new(),
        },
        ip: None,
    }
}

async fn network(index: &Index, name: &str, prefix: &str, uses: usize) -> (NetworkName, InviteCode) {
    let slug: NetworkName = name.parse().unwrap();
    let new = NewNetwork {
        prefix4: Some(prefix.parse().unwrap()),
        ..NewNetwork::by_invite(slug.clone(), Vec::new())
    };
    index.add_network(&new, &operator()).await.unwrap();
    let invite = NewInvite::for_devices(slug.clone(), u32::try_from(uses).unwrap(), WEEK_MS);
    (slug, index.add_invite(&invite, &operator()).await.unwrap().1)
}

async fn fill(index: &Index, devices: usize) {
    for place in 0..devices.div_ceil(NETWORK) {
        let prefix = format!("10.{}.{}.0/20", place / 16, place % 16 * 16);
        let (slug, code) = network(index, &format!("net-{place}"), &prefix, NETWORK).await;
        for number in place * NETWORK..devices.min((place + 1) * NETWORK) {
            let request = request(&slug, code, number);
            let id = DeviceId::of(&request.device.identity);
            index.join(&request).await.unwrap();
            let wish = Wish::Set(SITES[number % SITES.len()].to_owned(), Some(Visibility::Members));
            let subject = Subject::Device { id, owner: None };
            index.set_metadata(&subject, &[("site".parse().unwrap(), wish)], &operator()).await.unwrap();
            if number % 500 == 0 {
                let tags = Some(vec!["nas".parse().unwrap()]);
                let wishes = MemberWishes { tags, ..MemberWishes::default() };
                index.set_member(&slug, &id.to_string(), wishes, &operator()).await.unwrap();
            }
        }
    }
}

/// Processor time of this process so far.
fn processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

async fn joins(index: &Index) {
    let (slug, code) = network(index, "large", "10.200.0.0/16", LARGE + 200).await;
    for number in 0..LARGE {
        index.join(&request(&slug, code, 10_000_000 + number)).await.unwrap();
    }
    let (begun, before) = (Instant::now(), processor());
    for number in LARGE..LARGE + 200 {
        index.join(&request(&slug, code, 10_000_000 + number)).await.unwrap();
    }
    let (took, used) = (begun.elapsed() / 200, (processor() - before) / 200);
    println!("  a join to a network of {LARGE}: {took:.1?}, of which {used:.1?} processor time of ours");
}

async fn questions(index: &Index, who: &str, grants: &Grants) {
    let middle = Page { after: ("8000".to_owned(), String::new()), limit: 100 };
    let first = Page::first(100);
    let asked: &[(&str, &str, &Page)] = &[
        ("first page", "", &first),
        ("page in the middle", "", &middle),
        ("a word that many have", "box", &first),
        ("a word that one has", "box-77777", &first),
        ("a word that nobody has", "nothing-like-it", &first),
        ("a system as a word", "windows", &first),
        ("the names at the end", "ff", &first),
        ("two letters of nobody", "xq", &first),
        ("an address as a word", "10.1.2.3", &first),
        ("os:windows site:berlin", "os:windows site:berlin", &first),
        ("tag:nas site:berlin", "tag:nas site:berlin", &first),
        ("site:nowhere", "site:nowhere", &first),
        ("os:windows site:oslo", "os:windows site:oslo", &first),
        ("-os:linux -site:oslo", "-os:linux -site:oslo", &first),
        ("version:9", "version:9", &first),
        ("owner:anna", "owner:anna", &first),
        ("net:net-7 -os:linux", "net:net-7 -os:linux", &first),
        ("is:offline", "is:offline", &first),
        ("ip:10.1.2.3", "ip:10.1.2.3", &first),
        ("ip:10.1.2", "ip:10.1.2", &first),
    ];
    for (what, query, page) in asked {
        let filter = Filter { query: query.parse().unwrap(), ..Filter::default() };
        let mut times = Vec::with_capacity(ASKED);
        let mut rows = 0;
        for _ in 0..ASKED {
            let begun = Instant::now();
            rows = index.devices_page(grants, &filter, page).await.unwrap().rows.len();
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        let (p50, p99) = (times[ASKED / 2], times[ASKED * 99 / 100]);
        println!("  {who:<8} {what:<24} {rows:>4} rows  p50 {p50:>9.2?}  p99 {p99:>9.2?}");
    }
}

async fn on(name: &str, location: &Location, devices: usize) {
    let fleet = SymmetricKey::from_bytes([7; 32]);
    let index = Index::open(location, Schema::Create, &fleet, Clock::system()).await.unwrap();
    let begun = Instant::now();
    fill(&index, devices).await;
    println!("{name}: {devices} devices joined in {:.0?}", begun.elapsed());
    let anna = index.add_user(&NewUser::person("anna".parse().unwrap()), &operator()).await.unwrap();
    for network in ["net-0", "net-1", "net-2"] {
        index
            .set_role(&network.parse().unwrap(), "anna", Some(Role::Member), None, &operator())
            .await
            .unwrap();
    }
    questions(&index, "root", &Grants::operator()).await;
    questions(&index, "member", &index.grants(&anna).await.unwrap()).await;
    joins(&index).await;
    index.close().await;
}

fn main() {
    let devices = std::env::var("LANYARD_BENCH_DEVICES").ok().and_then(|text| text.parse().ok());
    let devices = devices.unwrap_or(100_000);
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let sqlite = Location::parse("", dir.path()).unwrap();
        on("SQLite", &sqlite, devices).await;
        let postgres = lanyard_postgres::server().database().unwrap();
        on("Postgres", &Location::parse(&postgres, dir.path()).unwrap(), devices).await;
    });
}
