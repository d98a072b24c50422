//! How a town comes to be: its people, networks and devices, what was written about them, and its last day.

use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};

use lanyard_proto::rng::Rng;
use lanyard_wire::checkpoint::PairCode;
use lanyard_wire::ids::DeviceId;
use lanyard_wire::keys::PublicKey;
use lanyard_wire::names::{DeviceName, InviteCode, NetworkName};

use super::{ADMIN, Built, DAY_MS, HOUR_MS, Progress, Resident, draw_code, report};
use crate::index::audit::Via;
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
use crate::index::tokens::{NewToken, Scope};
use crate::index::users::{NewUser, User};
use crate::index::{Actor, Index, IndexError, Result};

/// Networks: name, prefix, who may ask, and its share of the devices in percent.
const NETWORKS: [(&str, &str, JoinMode, Approve, usize); 5] = [
    ("home", "10.61.0.0/22", JoinMode::Invite, Approve::Auto, 8),
    ("office", "10.61.8.0/22", JoinMode::Invite, Approve::Manual, 55),
    ("workshop", "10.61.16.0/22", JoinMode::Request, Approve::Manual, 22),
    ("lan-party", "10.61.24.0/22", JoinMode::Invite, Approve::Auto, 15),
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

/// A town while it is built, by a clock of its own.
#[derive(Debug)]
pub(super) struct Builder<'a> {
    index: &'a Index,
    time: &'a AtomicI64,
    now: i64,
    rng: Rng,
    residents: Vec<Resident>,
    /// Who asks to come in on the last day: network and invite.
    late: Vec<(NetworkName, Option<InviteCode>, usize)>,
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

impl<'a> Builder<'a> {
    /// Begins with nothing, a month before `now`, to which `time` must be set.
    pub(super) fn new(index: &'a Index, time: &'a AtomicI64, now: i64) -> Self {
        Self { index, time, now, rng: Rng::from_seed([7; 32]), residents: Vec::new(), late: Vec::new() }
    }

    /// Builds it all.
    pub(super) async fn build(
        mut self,
        key: &PublicKey,
        devices: usize,
        password: String,
        progress: Progress<'_>,
    ) -> Result<Built> {
        self.index.set_public_key(key, &operator()).await?;
        let people = self.people(password).await?;
        self.networks().await?;
        self.devices(devices, &people, progress).await?;
        let admin = self.acting(people.first()).await?;
        self.words(&people, &admin).await?;
        let pairs = self.pairs();
        self.history(&pairs).await?;
        self.last_day(&people, &admin).await?;
        self.time.store(self.now, Ordering::Relaxed);
        Ok(Built { rng: self.rng, residents: self.residents, pairs })
    }

    /// Somebody at the panel.
    async fn acting(&self, user: Option<&User>) -> Result<Actor> {
        let Some(user) = user else { return Ok(operator()) };
        Ok(Actor::user(self.index.grants(user).await?, Via::Panel, None))
    }

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
        for (name, _, join_mode, approve, share) in NETWORKS {
            let network: NetworkName = named(name)?;
            let most = (count * share).div_ceil(100);
            let late = if approve == Approve::Manual { most / 20 } else { 0 };
            let code = if join_mode == JoinMode::Request {
                None
            } else if most > 0 {
                let uses = u32::try_from(most).unwrap_or(u32::MAX);
                let new = NewInvite::for_devices(network.clone(), uses, 30 * DAY_MS);
                Some(self.index.add_invite(&new, &operator()).await?.1)
            } else {
                None
            };
            for number in 0..most - late {
                progress(self.residents.len(), count);
                // A few are turned down or halted, the others are let in.
                let verdicts: &[Verdict] = match self.rng.below(50) {
                    0 => &[Verdict::Deny],
                    1 => &[Verdict::Approve, Verdict::Suspend],
                    _ => &[Verdict::Approve],
                };
                self.device(&network, code, number, people, verdicts).await?;
                self.pass(44 * DAY_MS / i64::try_from(count.max(1)).unwrap_or(1));
            }
            self.late.extend((most - late..most).map(|number| (network.clone(), code, number)));
        }
        Ok(())
    }

    async fn device(
        &mut self,
        network: &NetworkName,
        invite: Option<InviteCode>,
        number: usize,
        people: &[User],
        verdicts: &[Verdict],
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
        for verdict in verdicts {
            self.index.judge_member(network, &id.to_string(), *verdict, &operator()).await?;
        }
        if let Some(owner) = owner.filter(|_| !verdicts.is_empty() && !number.is_multiple_of(3)) {
            let wishes = DeviceWishes { user_id: Some(Some(owner.id.clone())), ..DeviceWishes::default() };
            self.index.set_device(id, &wishes, &operator()).await?;
        }
        let talks = verdicts == [Verdict::Approve];
        // Who waits is there.
        let online = verdicts.is_empty() || (talks && self.rng.below(10) > 2);
        self.residents.push(Resident { id, network: network.clone(), online, talks, ip });
        Ok(())
    }

    /// Tags, ends, groups, and what is written about things.
    async fn words(&mut self, people: &[User], admin: &Actor) -> Result<()> {
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
            self.index.set_metadata(&subject, &wishes, admin).await?;
            self.pass(HOUR_MS / 3);
            let tags: &[&str] = match place % 7 {
                0 => &["server", "backup"],
                1 => &["server"],
                2 => &["kiosk"],
                _ => &[],
            };
            let days = i64::try_from(1 + place % 19).unwrap_or(1);
            let expires_at = (place % 37 == 4).then(|| Some(self.now + days * DAY_MS + HOUR_MS));
            if tags.is_empty() && expires_at.is_none() {
                continue;
            }
            let tags = tags.iter().map(|tag| named(tag)).collect::<Result<Vec<Word>>>()?;
            let wishes = MemberWishes { tags: Some(tags), expires_at, ..MemberWishes::default() };
            self.index.set_member(&resident.network, &resident.id.to_string(), wishes, admin).await?;
        }
        let office: NetworkName = named("office")?;
        let roles = self.index.roles_in(&office).await?;
        for (group, step) in [("design", 2), ("family", 3)] {
            let users: Vec<String> = roles.iter().step_by(step).map(|role| role.user_id.clone()).collect();
            self.index.set_group(&office, &named(group)?, &users, admin).await?;
        }
        for user in people.iter().take(4) {
            let wishes = [set("room", "2.14")?];
            self.index.set_metadata(&Subject::User(user.id.clone()), &wishes, admin).await?;
        }
        for (network, purpose) in [("home", "Family and friends"), ("office", "Desks on the second floor")] {
            let id = self.index.network(&named(network)?).await?.id;
            let wishes = [set("purpose", purpose)?, set("contact", "milena@example.org")?];
            self.index.set_metadata(&Subject::Network(id), &wishes, admin).await?;
        }
        Ok(())
    }

    /// What is new: invites, a token, and devices that wait.
    async fn last_day(&mut self, people: &[User], admin: &Actor) -> Result<()> {
        self.time.store(self.now - 20 * HOUR_MS, Ordering::Relaxed);
        for (name, role, days) in [
            ("office", None, 7),
            ("office", None, 1),
            ("lan-party", None, 1),
            ("workshop", Some(Role::Member), 3),
        ] {
            let gives = Gives { role, ..Gives::membership() };
            let new = NewInvite { gives, ..NewInvite::for_devices(named(name)?, 5, days * DAY_MS) };
            let (invite, _) = self.index.add_invite(&new, admin).await?;
            self.pass(HOUR_MS);
            if name == "office" && days == 1 {
                self.index.revoke_invite(&invite.id, admin).await?;
            }
        }
        if let Some(user) = people.first() {
            let lifetime_ms = Some(90 * DAY_MS);
            for (name, scope) in [("monitoring", Scope::Read), ("backup script", Scope::Write)] {
                let token = NewToken { name: name.to_owned(), scope, network: None, lifetime_ms };
                self.index.add_token(user, &token, admin).await?;
                self.pass(HOUR_MS);
            }
        }
        let helper = self.acting(people.get(1)).await?;
        let office: NetworkName = named("office")?;
        for place in (0..self.residents.len()).step_by(31) {
            let Some(resident) = self.residents.get(place).filter(|one| one.network == office).cloned()
            else {
                continue;
            };
            let tags = Some(vec![named("kiosk")?]);
            let wishes = MemberWishes { tags, ..MemberWishes::default() };
            self.index.set_member(&office, &resident.id.to_string(), wishes, &helper).await?;
            self.pass(HOUR_MS / 2);
        }
        for (network, code, number) in core::mem::take(&mut self.late) {
            self.device(&network, code, number, people, &[]).await?;
            self.pass(HOUR_MS);
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
                let is_near = |one: &Resident, other: &Resident| {
                    one.network == other.network && one.talks && other.talks
                };
                if self.residents.get(a).zip(self.residents.get(b)).is_some_and(|(a, b)| is_near(a, b))
                    && !pairs.iter().any(|(c, d, _)| (*c, *d) == (a, b))
                {
                    pairs.push((a, b, draw_code(&mut self.rng)));
                }
            }
        }
        pairs
    }

    /// The hours of the last two days: most pairs talk, and who is not here now left in one of them.
    async fn history(&mut self, pairs: &[(usize, usize, PairCode)]) -> Result<()> {
        for hour in (1..48).rev() {
            self.time.store(self.now - hour * HOUR_MS, Ordering::Relaxed);
            let mut reports = Vec::new();
            for (pair, (a, b, code)) in pairs.iter().enumerate() {
                if self.rng.below(6) > 0
                    && let (Some(one), Some(other)) = (self.residents.get(*a), self.residents.get(*b))
                {
                    reports.push((one.id, report(&mut self.rng, pair, other.id, *code)));
                }
            }
            self.index.record_links(&reports).await?;
            let leaves = |place: usize| i64::try_from(place % 47).unwrap_or(0) + 1 == hour;
            for is_online in [true, false] {
                let gone: Vec<Presence> = (self.residents.iter().enumerate())
                    .filter(|(place, resident)| !resident.online && leaves(*place))
                    .map(|(_, one)| Presence {
                        device: one.id,
                        online: is_online,
                        ip: is_online.then_some(one.ip),
                    })
                    .collect();
                self.index.record_presence(&gone).await?;
            }
        }
        Ok(())
    }
}

fn set(key: &str, value: &str) -> Result<(Key, Wish)> {
    Ok((named(key)?, Wish::Set(value.to_owned(), Some(Visibility::Members))))
}
