//! A made-up town on a real server: what the panel is shown and tried with (`lanyard-server demo`).
//!
//! Nothing here is special to the server: networks, people and devices are made by the same functions that serve people, by a
//! clock that runs through a month. Then [`Town::step`] lets devices come, go, and reach each other by other paths. The same seed
//! makes the same town.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use lanyard_proto::rng::Rng;
use lanyard_wire::checkpoint::{LinkPath, LinkReport, PairCode, PairVerdict};
use lanyard_wire::ids::DeviceId;
use lanyard_wire::keys::{PublicKey, SymmetricKey};
use lanyard_wire::names::{DeviceName, InviteCode, NetworkName};

use crate::index::authority::Role;
use crate::index::credentials::Password;
use crate::index::devices::{Introduction, Presence};
use crate::index::edits::{DeviceWishes, MemberWishes};
use crate::index::groups::Word;
use crate::index::invites::{Gives, NewInvite};
use crate::index::join::JoinRequest;
use crate::index::memberships::Verdict;
use crate::index::metadata::{Key, Subject, Visibility, Wish};
use crate::index::networks::{Approve, JoinMode, NewNetwork};
use crate::index::secrets::Secret;
use crate::index::users::{NewUser, User};
use crate::index::{Actor, Clock, Index, IndexError, Location, Result, Schema};

/// Who signs in to the demo.
pub const ADMIN: &str = "milena";

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Networks: name, prefix, who may ask, and its share of the devices in percent.
const NETWORKS: [(&str, &str, JoinMode, Approve, usize); 5] = [
    ("home", "10.61.0.0/22", JoinMode::Invite, Approve::Auto, 8),
    ("office", "10.61.8.0/22", JoinMode::Invite, Approve::Manual, 55),
    ("workshop", "10.61.16.0/22", JoinMode::Request, Approve::Manual, 20),
    ("lan-party", "10.61.24.0/22", JoinMode::Invite, Approve::Auto, 12),
    ("archive", "10.61.32.0/22", JoinMode::Locked, Approve::Auto, 0),
];

const PEOPLE: [(&str, &str); 12] = [
    (ADMIN, "Milena Novák"),
    ("ivo", "Ivo Brandt"),
    ("anna", "Anna Sørensen"),
    ("tariq", "Tariq Haddad"),
    ("yuki", "Yuki Tanaka"),
    ("lucia", "Lucía Fernández"),
    ("oskar", "Oskar Lindqvist"),
    ("chipo", "Chipo Moyo"),
    ("jonas", "Jonas Weber"),
    ("priya", "Priya Raman"),
    ("marek", "Marek Zieliński"),
    ("eva", "Eva-Maria Oberhuber-Schwarzenbacher"),
];

const MACHINES: [(&str, &str); 10] = [
    ("nas", "linux"),
    ("laptop", "windows"),
    ("desk", "windows"),
    ("macbook", "macos"),
    ("build", "linux"),
    ("printer", "linux"),
    ("camera", "linux"),
    ("tower", "linux"),
    ("studio", "macos"),
    ("till", "windows"),
];

const SITES: [&str; 5] = ["berlin", "oslo", "lisboa", "kraków", "home office"];

/// What stands in the way of a direct path, and how often of a hundred.
const CODES: [(PairCode, u64); 6] = [
    (PairCode::Direct, 88),
    (PairCode::BothMappingsVary, 92),
    (PairCode::UdpBlockedThere, 95),
    (PairCode::MappingVariesHere, 97),
    (PairCode::UdpBlockedHere, 99),
    (PairCode::ProbesLost, 100),
];

/// A device of the town.
#[derive(Debug, Clone)]
struct Resident {
    id: DeviceId,
    network: NetworkName,
    online: bool,
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
        index.set_public_key(key, &operator()).await?;
        let mut builder =
            Builder { index: &index, time: &time, rng: Rng::from_seed([7; 32]), residents: Vec::new() };
        let people = builder.people(password).await?;
        builder.networks().await?;
        builder.devices(devices, &people, progress).await?;
        builder.words(&people).await?;
        builder.invites().await?;
        let pairs = builder.pairs();
        builder.history(&pairs, now).await?;
        let (rng, residents) = (builder.rng, builder.residents);
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
                reports.push((one.id, report(&mut self.rng, other.id, code)));
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
            .map(|resident| Presence {
                device: resident.id,
                online: resident.online,
                ip: Some(resident.ip).filter(|_| resident.online),
            })
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
        let link = report(&mut self.rng, other.id, code);
        self.index.record_verdicts(&[(one.id, verdict)]).await?;
        self.index.record_links(&[(one.id, link)]).await.map(drop)
    }
}

/// A town while it is built, by a clock of its own.
struct Builder<'a> {
    index: &'a Index,
    time: &'a AtomicI64,
    rng: Rng,
    residents: Vec<Resident>,
}

fn operator() -> Actor {
    Actor::operator("demo")
}

/// Names of the demo are right; if one is not, that is said.
fn named<T: core::str::FromStr>(text: &str) -> Result<T>
where
    T::Err: core::fmt::Display,
{
    text.parse()
        .map_err(|why: T::Err| IndexError::Invalid { what: "a name of the demo", why: why.to_string() })
}

impl Builder<'_> {
    fn pass(&mut self, most_ms: i64) {
        let ms = self.rng.below(u64::try_from(most_ms).unwrap_or(1).max(1));
        self.time.fetch_add(i64::try_from(ms).unwrap_or(0), Ordering::Relaxed);
    }

    fn choose<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let place = self.rng.below(from.len().max(1) as u64);
        from.get(usize::try_from(place).unwrap_or(0)).copied()
    }

    async fn people(&mut self, password: String) -> Result<Vec<User>> {
        let mut people = Vec::new();
        for (name, display_name) in PEOPLE {
            let new = NewUser {
                display_name: display_name.to_owned(),
                email: Some(format!("{name}@example.org")),
                is_server_admin: name == ADMIN,
                ..NewUser::person(named(name)?)
            };
            people.push(self.index.add_user(&new, &operator()).await?);
            self.pass(HOUR_MS);
        }
        if let Some(admin) = people.first() {
            let password = Password::chosen(password, &admin.name)?;
            let stored = self.index.password_hashing().hash(&password)?;
            self.index.set_password(admin, &stored, None, &operator()).await?;
        }
        Ok(people)
    }

    async fn networks(&mut self) -> Result<()> {
        for (name, prefix, join_mode, approve, _) in NETWORKS {
            let new = NewNetwork {
                prefix4: Some(named(prefix)?),
                join_mode,
                approve,
                ..NewNetwork::by_invite(named(name)?, Vec::new())
            };
            self.index.add_network(&new, &operator()).await?;
            self.index.set_role(&new.slug, ADMIN, Some(Role::Owner), None, &operator()).await?;
            for (place, (person, _)) in PEOPLE.iter().enumerate().skip(1) {
                let role = match place {
                    1 => Role::Admin,
                    11 => Role::Guest,
                    _ => Role::Member,
                };
                if self.rng.below(3) > 0 {
                    self.index.set_role(&new.slug, person, Some(role), None, &operator()).await?;
                }
            }
            self.pass(DAY_MS / 4);
        }
        Ok(())
    }

    async fn devices(&mut self, count: usize, people: &[User], progress: Progress<'_>) -> Result<()> {
        for (name, _, join_mode, _, share) in NETWORKS {
            let network: NetworkName = named(name)?;
            let most = (count * share).div_ceil(100);
            let code = if join_mode == JoinMode::Request {
                None
            } else if most > 0 {
                let uses = u32::try_from(most).unwrap_or(u32::MAX);
                let new = NewInvite::for_devices(network.clone(), uses, 30 * DAY_MS);
                Some(self.index.add_invite(&new, &operator()).await?.1)
            } else {
                None
            };
            for number in 0..most {
                progress(self.residents.len(), count);
                self.device(&network, code, number, people).await?;
            }
        }
        Ok(())
    }

    async fn device(
        &mut self,
        network: &NetworkName,
        invite: Option<InviteCode>,
        number: usize,
        people: &[User],
    ) -> Result<()> {
        let owner = self.choose(&people.iter().collect::<Vec<_>>());
        let (kind, os) = self.choose(&MACHINES).unwrap_or(("nas", "linux"));
        let name: DeviceName = named(&match owner {
            Some(owner) if !number.is_multiple_of(3) => format!("{}-{kind}", owner.name),
            Some(_) | None => format!("{kind}-{number}"),
        })?;
        let version = self.choose(&["0.1.0", "0.1.0", "0.1.0", "0.0.9"]).unwrap_or("0.1.0");
        let device = Introduction {
            identity: PublicKey::from_bytes(self.rng.bytes()),
            wireguard: PublicKey::from_bytes(self.rng.bytes()),
            name,
            os: os.to_owned(),
            agent_version: version.to_owned(),
            local_prefixes: Vec::new(),
        };
        let id = DeviceId::of(&device.identity);
        let [a, b] = self.rng.bytes::<2>();
        // RFC 5737: addresses that are nobody's.
        let ip = IpAddr::from(if a.is_multiple_of(2) { [203, 0, 113, b] } else { [198, 51, 100, b] });
        let request = JoinRequest { network: network.clone(), invite, password: None, device, ip: Some(ip) };
        self.index.join(&request).await?;
        // A few wait, one in fifty is turned down, the others are let in.
        let verdicts: &[Verdict] = match self.rng.below(50) {
            0 => &[Verdict::Deny],
            1 | 2 => &[],
            3 => &[Verdict::Approve, Verdict::Suspend],
            _ => &[Verdict::Approve],
        };
        for verdict in verdicts {
            self.index.judge_member(network, &id.to_string(), *verdict, &operator()).await?;
        }
        if let Some(owner) = owner.filter(|_| !number.is_multiple_of(3)) {
            let wishes = DeviceWishes { user_id: Some(Some(owner.id.clone())), ..DeviceWishes::default() };
            self.index.set_device(id, &wishes, &operator()).await?;
        }
        self.pass(3 * HOUR_MS);
        let online = self.rng.below(10) > 2;
        self.residents.push(Resident { id, network: network.clone(), online, ip });
        Ok(())
    }

    /// Tags, ends, groups, and what is written about things.
    async fn words(&mut self, people: &[User]) -> Result<()> {
        for place in 0..self.residents.len() {
            let Some(resident) = self.residents.get(place).cloned() else { continue };
            let device = self.index.device(&resident.id.to_string()).await?;
            let site = self.choose(&SITES).unwrap_or("berlin");
            let mut wishes = vec![set("site", site)?];
            if place.is_multiple_of(4) {
                wishes.push(set("rack", &format!("{}", 1 + place % 9))?);
            }
            if place.is_multiple_of(9) {
                wishes.push(set("contact", "ext. 4242")?);
            }
            let subject = Subject::Device { id: device.id, owner: device.user_id };
            self.index.set_metadata(&subject, &wishes, &operator()).await?;
            let tags: &[&str] = match place % 7 {
                0 => &["server", "backup"],
                1 => &["server"],
                2 => &["kiosk"],
                _ => &[],
            };
            let expires_at = (place.is_multiple_of(23)).then(|| Some(Clock::system().now_ms() + 5 * DAY_MS));
            let tags = tags.iter().map(|tag| named(tag)).collect::<Result<Vec<Word>>>()?;
            let wishes = MemberWishes { tags: Some(tags), expires_at, ..MemberWishes::default() };
            self.index.set_member(&resident.network, &resident.id.to_string(), wishes, &operator()).await?;
        }
        let office: NetworkName = named("office")?;
        let roles = self.index.roles_in(&office).await?;
        for (group, step) in [("design", 2), ("family", 3)] {
            let users: Vec<String> = roles.iter().step_by(step).map(|role| role.user_id.clone()).collect();
            self.index.set_group(&office, &named(group)?, &users, &operator()).await?;
        }
        for user in people.iter().take(4) {
            let wishes = [set("room", "2.14")?];
            self.index.set_metadata(&Subject::User(user.id.clone()), &wishes, &operator()).await?;
        }
        Ok(())
    }

    async fn invites(&self) -> Result<()> {
        for (name, role, life) in
            [("office", None, 7), ("lan-party", None, 1), ("workshop", Some(Role::Member), 3)]
        {
            let gives = Gives { role, ..Gives::membership() };
            // The clock of the builder is behind: what lasts until after today is open still.
            let behind = Clock::system().now_ms() - self.index.now_ms();
            let new = NewInvite { gives, ..NewInvite::for_devices(named(name)?, 5, behind + life * DAY_MS) };
            self.index.add_invite(&new, &operator()).await?;
        }
        Ok(())
    }

    /// Who speaks with whom: each with a few of its network.
    fn pairs(&mut self) -> Vec<(usize, usize, PairCode)> {
        let mut pairs = Vec::new();
        for a in 0..self.residents.len() {
            for _ in 0..2 {
                let far = 1 + usize::try_from(self.rng.below(12)).unwrap_or(0);
                let b = a + far;
                let is_near = |one: &Resident, other: &Resident| one.network == other.network;
                if self.residents.get(a).zip(self.residents.get(b)).is_some_and(|(a, b)| is_near(a, b))
                    && !pairs.iter().any(|(c, d, _)| (*c, *d) == (a, b))
                {
                    pairs.push((a, b, draw_code(&mut self.rng)));
                }
            }
        }
        pairs
    }

    /// The hours of the last two days.
    async fn history(&mut self, pairs: &[(usize, usize, PairCode)], now: i64) -> Result<()> {
        for hour in (1..48).rev() {
            self.time.store(now - hour * HOUR_MS, Ordering::Relaxed);
            let mut reports = Vec::new();
            for (a, b, code) in pairs {
                if self.rng.below(3) == 0
                    && let (Some(one), Some(other)) = (self.residents.get(*a), self.residents.get(*b))
                {
                    reports.push((one.id, report(&mut self.rng, other.id, *code)));
                }
            }
            self.index.record_links(&reports).await?;
        }
        self.time.store(now, Ordering::Relaxed);
        Ok(())
    }
}

fn set(key: &str, value: &str) -> Result<(Key, Wish)> {
    Ok((named(key)?, Wish::Set(value.to_owned(), Some(Visibility::Members))))
}

fn draw_code(rng: &mut Rng) -> PairCode {
    let drawn = rng.below(100);
    CODES.iter().find(|(_, below)| drawn < *below).map_or(PairCode::Direct, |(code, _)| *code)
}

/// How data goes on a path of that kind.
fn report(rng: &mut Rng, peer: DeviceId, code: PairCode) -> LinkReport {
    let path = match (code, rng.below(12)) {
        (PairCode::Direct, 0) => LinkPath::Lan,
        (PairCode::Direct, _) => LinkPath::Direct,
        (_, 0) => LinkPath::Member,
        _ => LinkPath::Relay,
    };
    let far = if path.is_direct() { 4_000 } else { 28_000 };
    LinkReport {
        peer,
        path,
        rtt_us: Some(far + rng.u32() % 24_000),
        pings: 32,
        lost: u8::try_from(rng.below(20).saturating_sub(17)).unwrap_or(0),
        tx_bytes: rng.below(40_000_000),
        rx_bytes: rng.below(900_000_000),
    }
}

/// A password nobody knows yet.
///
/// # Errors
/// When the operating system gives no random numbers.
pub fn draw_password() -> Result<String> {
    Ok(Secret::draw()?.reveal().chars().take(24).collect())
}
