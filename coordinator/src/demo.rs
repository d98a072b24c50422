//! A made-up town on a real server: what the panel is shown and tried with (`lanyard-server demo`).
//!
//! Nothing here is special to the server: networks, people and devices are made by the same functions that serve people, by a
//! clock that runs through a month. Then [`Town::step`] lets devices come, go, and reach each other by other paths. The same seed
//! makes the same town.

mod builder;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use lanyard_proto::rng::Rng;
use lanyard_wire::checkpoint::{LinkPath, LinkReport, PairCode, PairVerdict};
use lanyard_wire::ids::DeviceId;
use lanyard_wire::keys::{PublicKey, SymmetricKey};
use lanyard_wire::names::NetworkName;

use self::builder::Builder;
use crate::index::devices::Presence;
use crate::index::secrets::Secret;
use crate::index::{Clock, Index, Location, Result, Schema};

/// Who signs in to the demo.
pub const ADMIN: &str = "milena";

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// What stands in the way of a direct path, and how often of a hundred.
const CODES: [(PairCode, u64); 7] = [
    (PairCode::Direct, 88),
    (PairCode::BothMappingsVary, 92),
    (PairCode::UdpBlockedThere, 95),
    (PairCode::MappingVariesHere, 97),
    (PairCode::UdpBlockedHere, 98),
    (PairCode::NoRelay, 99),
    (PairCode::ProbesLost, 100),
];

/// A device of the town.
#[derive(Debug, Clone)]
struct Resident {
    id: DeviceId,
    network: NetworkName,
    online: bool,
    /// Whether it was let in, so that it talks to others.
    talks: bool,
    ip: IpAddr,
}

/// The town, as it is now.
#[derive(Debug)]
pub struct Town {
    index: Index,
    rng: Rng,
    residents: Vec<Resident>,
    /// Places in `residents` of both ends, and what stands in their way.
    pairs: Vec<(usize, usize, PairCode)>,
}

/// What a town begins with.
#[derive(Debug)]
struct Built {
    rng: Rng,
    residents: Vec<Resident>,
    pairs: Vec<(usize, usize, PairCode)>,
}

/// How far the building of a town is.
pub type Progress<'a> = &'a mut dyn FnMut(usize, usize);

impl Town {
    /// Builds a town of so many devices in a new database, and gives its administrator that password.
    ///
    /// # Errors
    /// When there is something in the database, or it fails.
    pub async fn build(
        location: &Location,
        fleet: &SymmetricKey,
        key: &PublicKey,
        devices: usize,
        password: String,
        progress: Progress<'_>,
    ) -> Result<Self> {
        let now = Clock::system().now_ms();
        let time = Arc::new(AtomicI64::new(now - 30 * DAY_MS));
        let index = Index::open(location, Schema::Create, fleet, Clock::fixed(Arc::clone(&time))).await?;
        let builder = Builder::new(&index, &time, now);
        let Built { rng, residents, pairs } = builder.build(key, devices, password, progress).await?;
        index.close().await;
        let index = Index::open(location, Schema::Require, fleet, Clock::system()).await?;
        let mut town = Self { index, rng, residents, pairs };
        town.wake().await?;
        Ok(town)
    }

    /// A moment of its life: some devices come or go, some pairs change their path, data flows.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn step(&mut self) -> Result<()> {
        let mut moved = Vec::new();
        for _ in 0..self.rng.below(3) {
            let place = self.place();
            let Some(resident) = self.residents.get_mut(place) else { continue };
            resident.online = !resident.online || self.rng.below(4) > 0;
            moved.push(Presence {
                device: resident.id,
                online: resident.online,
                ip: Some(resident.ip).filter(|_| resident.online),
            });
        }
        self.index.record_presence(&moved).await?;
        if self.rng.below(6) == 0
            && let Some(chosen) = usize::try_from(self.rng.below(self.pairs.len().max(1) as u64)).ok()
        {
            let code = draw_code(&mut self.rng);
            if let Some(pair) = self.pairs.get_mut(chosen) {
                pair.2 = code;
            }
            self.tell(chosen).await?;
        }
        let mut reports = Vec::new();
        for _ in 0..6 {
            let chosen = usize::try_from(self.rng.below(self.pairs.len().max(1) as u64)).unwrap_or(0);
            let Some((a, b, code)) = self.pairs.get(chosen).copied() else { continue };
            let (Some(one), Some(other)) = (self.residents.get(a), self.residents.get(b)) else { continue };
            if one.online && other.online {
                reports.push((one.id, report(&mut self.rng, chosen, other.id, code)));
            }
        }
        self.index.record_links(&reports).await.map(drop)
    }

    fn place(&mut self) -> usize {
        usize::try_from(self.rng.below(self.residents.len().max(1) as u64)).unwrap_or(0)
    }

    /// Most of its devices are there, and have told how they reach each other.
    async fn wake(&mut self) -> Result<()> {
        let here: Vec<Presence> = self
            .residents
            .iter()
            .filter(|resident| resident.online)
            .map(|resident| Presence { device: resident.id, online: true, ip: Some(resident.ip) })
            .collect();
        self.index.record_presence(&here).await?;
        for pair in 0..self.pairs.len() {
            self.tell(pair).await?;
        }
        Ok(())
    }

    async fn tell(&mut self, pair: usize) -> Result<()> {
        let Some((a, b, code)) = self.pairs.get(pair).copied() else { return Ok(()) };
        let (Some(one), Some(other)) = (self.residents.get(a), self.residents.get(b)) else { return Ok(()) };
        let verdict =
            PairVerdict { peer: other.id, code, method: None, took_ms: 80 + self.rng.u32() % 1_500 };
        let link = report(&mut self.rng, pair, other.id, code);
        self.index.record_verdicts(&[(one.id, verdict)]).await?;
        self.index.record_links(&[(one.id, link)]).await.map(drop)
    }
}

fn draw_code(rng: &mut Rng) -> PairCode {
    let drawn = rng.below(100);
    CODES.iter().find(|(_, below)| drawn < *below).map_or(PairCode::Direct, |(code, _)| *code)
}

/// How data goes between the ends of a pair: each has its own distance, and few of them move much.
fn report(rng: &mut Rng, pair: usize, peer: DeviceId, code: PairCode) -> LinkReport {
    let path = match (code, pair % 12) {
        (PairCode::NoRelay, _) => LinkPath::None,
        (PairCode::Direct, 0) => LinkPath::Lan,
        (PairCode::Direct, _) => LinkPath::Direct,
        (_, 0) => LinkPath::Member,
        _ => LinkPath::Relay,
    };
    let far = match path {
        LinkPath::Lan => 400,
        LinkPath::Direct => 4_000 + u32::try_from(pair * 7_919 % 30_000).unwrap_or(0),
        LinkPath::None | LinkPath::Tcp | LinkPath::Member | LinkPath::Relay => {
            28_000 + u32::try_from(pair * 7_919 % 60_000).unwrap_or(0)
        }
    };
    let most = [9_000, 90_000, 900_000, 9_000_000, 90_000_000][pair % 5];
    let sent = if path == LinkPath::None { 0 } else { 200 + rng.below(most) };
    LinkReport {
        peer,
        path,
        rtt_us: (path != LinkPath::None).then(|| far + rng.u32() % (1 + far / 4)),
        pings: if path == LinkPath::None { 0 } else { 32 },
        lost: u8::try_from(rng.below(20).saturating_sub(17)).unwrap_or(0) * u8::from(path != LinkPath::None),
        tx_bytes: sent,
        rx_bytes: sent * (1 + pair as u64 % 9),
    }
}

/// A password nobody knows yet.
///
/// # Errors
/// When the operating system gives no random numbers.
pub fn draw_password() -> Result<String> {
    Ok(Secret::draw()?.reveal().chars().take(24).collect())
}
