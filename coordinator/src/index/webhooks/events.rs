//! What happened, and what of it a webhook is told.
//!
//! An outbox row says that something happened; here is looked up what that means to people: who a device is, in which
//! networks it is. A webhook of a network is told of that network and no other, as it is then: nothing is said of a device that
//! was taken out of it meanwhile.

use lanyard_wire::ids::{DeviceId, DeviceNumber, NetworkId};
use lanyard_wire::names::{DeviceName, NetworkName};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::index::Index;
use crate::index::db::{FromRow, Row, sql};
use crate::index::devices::number_from;
use crate::index::error::{IndexError, Result};
use crate::index::links::LinkPath;
use crate::index::memberships::MemberState;
use crate::index::outbox::Change;
use crate::index::text::{self, text_enum};

text_enum! {
    /// What a webhook can hear of.
    HookEvent {
        /// A device came online.
        DeviceOnline = "device.online",
        /// A device went offline.
        DeviceOffline = "device.offline",
        /// A device is in a network now.
        MemberJoined = "member.joined",
        /// A device is in a network no more.
        MemberLeft = "member.left",
        /// A device waits to be let into a network.
        MemberApprovalNeeded = "member.approval_needed",
        /// Data goes another way between two devices.
        LinkPathChanged = "link.path_changed",
        /// Somebody tries whether messages arrive.
        Test = "webhook.test",
    }
}

impl HookEvent {
    /// Those that a webhook is made for.
    pub const ALL: [Self; 6] = [
        Self::DeviceOnline,
        Self::DeviceOffline,
        Self::MemberJoined,
        Self::MemberLeft,
        Self::MemberApprovalNeeded,
        Self::LinkPathChanged,
    ];
}

/// A row of the outbox, with when it was written.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) id: i64,
    /// `None` for a row that this program cannot read.
    pub(super) change: Option<Change>,
    pub(super) at: i64,
}

impl FromRow for Told {
    fn from_row(row: &Row) -> Result<Self> {
        let payload: String = row.get("payload")?;
        Ok(Self {
            id: row.get("id")?,
            change: serde_json::from_str(&payload).ok(),
            at: row.get("created_at")?,
        })
    }
}

/// Something that happened.
#[derive(Debug)]
pub(super) struct Happening {
    /// Number of its outbox row.
    pub(super) row: i64,
    /// When, in epoch milliseconds.
    pub(super) at: i64,
    pub(super) event: HookEvent,
    /// What a webhook of the server is told.
    whole: Value,
    /// What a webhook of a network is told, for each that it concerns.
    parts: Vec<(NetworkId, Value)>,
}

impl Happening {
    /// The message for a webhook of that network, or of the server; `None` if it does not concern it.
    pub(super) fn message(&self, network: Option<NetworkId>) -> Option<Result<String>> {
        let data = match network {
            None => &self.whole,
            Some(network) => self.parts.iter().find(|(part, _)| *part == network).map(|(_, data)| data)?,
        };
        Some(message(self.event, self.at, data))
    }
}

/// A message as it is sent.
#[derive(Serialize)]
struct Message<'a> {
    #[serde(rename = "type")]
    event: HookEvent,
    timestamp: String,
    data: &'a Value,
}

/// The text of a message: what happened, when, and to whom.
pub(super) fn message(event: HookEvent, at: i64, data: &Value) -> Result<String> {
    serde_json::to_string(&Message { event, timestamp: instant(at), data }).map_err(|error| {
        IndexError::Unreadable { column: "webhook_deliveries.payload", why: error.to_string() }
    })
}

/// An instant as Standard Webhooks writes it: RFC 3339, in UTC.
fn instant(at: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(at.div_euclid(1_000));
    let time = time.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        at.rem_euclid(1_000)
    )
}

/// A network, to people.
fn network(id: NetworkId, name: &NetworkName) -> Value {
    json!({ "id": id.to_string(), "name": name.to_string() })
}

/// A device, to people.
fn device(id: DeviceId, number: DeviceNumber, name: &DeviceName) -> Value {
    json!({ "id": id.to_string(), "number": number.to_string(), "name": name.to_string() })
}

/// A device with one of the networks it is in, if it is in any.
struct Place {
    number: DeviceNumber,
    name: DeviceName,
    network: Option<(NetworkId, NetworkName, DeviceName)>,
}

impl FromRow for Place {
    fn from_row(row: &Row) -> Result<Self> {
        let id: Option<NetworkId> = text::optional_column(row, "network_id")?;
        let slug: Option<NetworkName> = text::optional_column(row, "slug")?;
        let nickname: Option<DeviceName> = text::optional_column(row, "nickname")?;
        Ok(Self {
            number: number_from(row.get("number")?)?,
            name: text::column(row, "name")?,
            network: id.zip(slug).zip(nickname).map(|((id, slug), nickname)| (id, slug, nickname)),
        })
    }
}

/// A network that two devices share, with both their names and numbers.
struct Shared {
    network: NetworkId,
    slug: NetworkName,
    device: (DeviceNumber, DeviceName),
    peer: (DeviceNumber, DeviceName),
}

impl FromRow for Shared {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            network: text::column(row, "network_id")?,
            slug: text::column(row, "slug")?,
            device: (number_from(row.get("number")?)?, text::column(row, "nickname")?),
            peer: (number_from(row.get("peer_number")?)?, text::column(row, "peer_nickname")?),
        })
    }
}

/// An audit row of a member, before and after.
struct Turn {
    before: Option<Seen>,
    after: Option<Seen>,
}

/// A member as the audit trail has it, as far as it counts here.
#[derive(Deserialize)]
struct Seen {
    id: String,
    #[serde(with = "text")]
    network_id: NetworkId,
    #[serde(with = "text")]
    network: NetworkName,
    #[serde(with = "text")]
    device: DeviceId,
    #[serde(with = "text")]
    number: DeviceNumber,
    #[serde(with = "text")]
    name: DeviceName,
    state: MemberState,
    ip4: Option<String>,
    ip6: Option<String>,
    joined_via: String,
    left_by: Option<String>,
}

impl FromRow for Turn {
    fn from_row(row: &Row) -> Result<Self> {
        let read = |text: Option<String>| text.and_then(|text| serde_json::from_str(&text).ok());
        Ok(Self { before: read(row.get("before")?), after: read(row.get("after")?) })
    }
}

/// What a turn from one state to another is to those who watch.
const fn meaning(before: Option<MemberState>, after: MemberState) -> Option<HookEvent> {
    use MemberState::{Active, Denied, Left, Pending, Suspended};
    match (before, after) {
        (None | Some(Pending | Left | Denied), Active) => Some(HookEvent::MemberJoined),
        (None | Some(Left | Denied), Pending) => Some(HookEvent::MemberApprovalNeeded),
        (Some(Active | Suspended), Left | Denied) => Some(HookEvent::MemberLeft),
        (Some(Active | Suspended), Active | Suspended | Pending)
        | (None | Some(Pending | Left | Denied), Left | Denied | Suspended)
        | (Some(Pending), Pending) => None,
    }
}

impl Index {
    /// What a row of the outbox means to webhooks, if it means anything.
    pub(super) async fn happening(&self, told: &Told) -> Result<Option<Happening>> {
        let (row, at) = (told.id, told.at);
        let made = |(event, whole, parts)| Happening { row, at, event, whole, parts };
        let found = match &told.change {
            Some(Change::Presence { device, online: Some(online) }) => {
                self.presence_news(*device, *online).await?
            }
            Some(Change::Path { device, peer, from, to }) => {
                self.path_news(*device, *peer, (*from, *to)).await?
            }
            Some(Change::Event { id }) => self.member_news(id).await?,
            Some(
                Change::Network(_)
                | Change::NetworkGone { .. }
                | Change::Member(_)
                | Change::MemberGone { .. }
                | Change::Invite { .. }
                | Change::User { .. }
                | Change::Role { .. }
                | Change::Device { .. }
                | Change::Presence { online: None, .. }
                | Change::Link { .. }
                | Change::TryAgain { .. }
                | Change::About { .. }
                | Change::Setting { .. },
            )
            | None => None,
        };
        Ok(found.map(made))
    }

    async fn presence_news(&self, id: DeviceId, online: bool) -> Result<Option<News>> {
        let places: Vec<Place> = sql!(
            "SELECT d.number, d.name, n.id AS network_id, n.slug, m.nickname FROM devices d \
             LEFT JOIN memberships m ON m.device_id = d.id AND m.state = 'active' \
             LEFT JOIN networks n ON n.id = m.network_id AND n.deleted_at IS NULL WHERE d.id = $1 ORDER BY n.slug"
        )
        .bind(id.to_string())
        .fetch_all(&self.db)
        .await?;
        let Some(first) = places.first() else { return Ok(None) };
        let event = if online { HookEvent::DeviceOnline } else { HookEvent::DeviceOffline };
        let networks = places.iter().filter_map(|place| place.network.as_ref());
        let all: Vec<Value> = networks.clone().map(|(id, slug, _)| network(*id, slug)).collect();
        let whole = json!({ "device": device(id, first.number, &first.name), "networks": all });
        let parts = networks.map(|(part, slug, nickname)| {
            let who = device(id, first.number, nickname);
            (*part, json!({ "device": who, "networks": [network(*part, slug)] }))
        });
        Ok(Some((event, whole, parts.collect())))
    }

    async fn path_news(
        &self,
        one: DeviceId,
        other: DeviceId,
        (from, to): (LinkPath, LinkPath),
    ) -> Result<Option<News>> {
        let shared: Vec<Shared> = sql!(
            "SELECT n.id AS network_id, n.slug, d.number, x.nickname, p.number AS peer_number, \
                 y.nickname AS peer_nickname FROM memberships x JOIN memberships y ON y.network_id = x.network_id \
             JOIN networks n ON n.id = x.network_id AND n.deleted_at IS NULL \
             JOIN devices d ON d.id = x.device_id JOIN devices p ON p.id = y.device_id \
             WHERE x.device_id = $1 AND y.device_id = $2 AND x.state = 'active' AND y.state = 'active' ORDER BY n.slug"
        )
        .bind(one.to_string())
        .bind(other.to_string())
        .fetch_all(&self.db)
        .await?;
        let told = |place: &Shared, networks: Vec<Value>| {
            json!({
                "device": device(one, place.device.0, &place.device.1),
                "peer": device(other, place.peer.0, &place.peer.1),
                "networks": networks, "from": from, "to": to,
            })
        };
        let Some(first) = shared.first() else { return Ok(None) };
        let whole = told(first, shared.iter().map(|place| network(place.network, &place.slug)).collect());
        let part = |place: &Shared| (place.network, told(place, vec![network(place.network, &place.slug)]));
        Ok(Some((HookEvent::LinkPathChanged, whole, shared.iter().map(part).collect())))
    }

    /// What an audit row says of a member that came, went, or waits.
    async fn member_news(&self, audit: &str) -> Result<Option<News>> {
        let turn: Option<Turn> =
            sql!("SELECT before, after FROM audit_events WHERE id = $1 AND entity_type = 'member'")
                .bind(audit)
                .fetch_optional(&self.db)
                .await?;
        let Some(Turn { before, after: Some(after) }) = turn else { return Ok(None) };
        let Some(event) = meaning(before.map(|before| before.state), after.state) else { return Ok(None) };
        let mut data = json!({
            "network": network(after.network_id, &after.network),
            "device": device(after.device, after.number, &after.name),
            "member_id": after.id,
            "joined_via": after.joined_via,
        });
        if event == HookEvent::MemberJoined {
            data["ip4"] = json!(after.ip4);
            data["ip6"] = json!(after.ip6);
        }
        if event == HookEvent::MemberLeft {
            data["left_by"] = json!(after.left_by);
        }
        Ok(Some((event, data.clone(), vec![(after.network_id, data)])))
    }
}

/// An event, what a webhook of the server is told of it, and what those of networks are.
type News = (HookEvent, Value, Vec<(NetworkId, Value)>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_written_as_standards_want_it() {
        assert_eq!(instant(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(instant(1_709_210_096_789), "2024-02-29T12:34:56.789Z");
    }

    #[test]
    fn a_message_says_what_happened_when_and_to_whom() {
        let text = message(HookEvent::DeviceOnline, 1_000, &json!({ "a": 1 })).unwrap();
        let wanted = r#"{"type":"device.online","timestamp":"1970-01-01T00:00:01.000Z","data":{"a":1}}"#;
        assert_eq!(text, wanted);
    }

    #[test]
    fn what_changes_about_a_member_is_told_when_it_comes_goes_or_waits() {
        use MemberState::{Active, Denied, Left, Pending, Suspended};
        for (before, after, event) in [
            (None, Active, Some(HookEvent::MemberJoined)),
            (Some(Pending), Active, Some(HookEvent::MemberJoined)),
            (Some(Left), Active, Some(HookEvent::MemberJoined)),
            (Some(Suspended), Active, None),
            (Some(Active), Active, None),
            (None, Pending, Some(HookEvent::MemberApprovalNeeded)),
            (Some(Denied), Pending, Some(HookEvent::MemberApprovalNeeded)),
            (Some(Pending), Pending, None),
            (Some(Active), Suspended, None),
            (Some(Active), Left, Some(HookEvent::MemberLeft)),
            (Some(Suspended), Denied, Some(HookEvent::MemberLeft)),
            (Some(Pending), Denied, None),
            (Some(Left), Denied, None),
        ] {
            assert_eq!(meaning(before, after), event, "{before:?} {after}");
        }
    }
}
