//! Lists a page at a time, each with what its reader may see of it and no more.
//!
//! A page goes on after the last row of the one before ("keyset" paging): it costs the same wherever it begins, and rows that
//! come and go meanwhile neither repeat nor hide others. One statement for each kind of thing decides who sees what: of a
//! page, of one thing (a filter by its id), and of everything at one moment ([`Seen`]).

mod events;
mod machines;
pub mod pairs;
mod people;
mod webhooks;

use lanyard_wire::ids::{DeviceId, NetworkId};

use self::pairs::Link;
use super::Index;
use super::authority::Grants;
use super::db::{Statement, Target, sql};
use super::devices::Device;
use super::error::Result;
use super::memberships::{Member, MemberState};
use super::networks::Network;
use super::query::Query;
use super::users::User;

/// Most rows of a page.
pub const PAGE_MAX: u32 = 500;

/// Which page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The sorting key and the id of the last row before it; empty for the first page.
    pub after: (String, String),
    /// Most rows, 1 to [`PAGE_MAX`].
    pub limit: u32,
}

impl Page {
    /// The first page.
    #[must_use]
    pub const fn first(limit: u32) -> Self {
        Self { after: (String::new(), String::new()), limit }
    }

    /// Everything, for a reader who has to have it at one moment.
    const fn whole() -> Self {
        Self::first(u32::MAX)
    }

    /// One row more than is shown tells whether there is another page.
    fn rows(&self) -> i64 {
        i64::from(self.limit).saturating_add(1)
    }

    /// Ends the statement of a list with its order and with this page's rows.
    fn end(&self, statement: Statement, text: &'static str) -> Statement {
        statement.then_with(text, |_| self.rows().into())
    }

    /// Cuts the row off that only tells that there are more; the place of the last row that is shown, if there are.
    fn cut<T>(&self, mut rows: Vec<T>, place: impl FnOnce(&T) -> (String, String)) -> Listed<T> {
        let most = self.limit as usize;
        let has_more = rows.len() > most;
        rows.truncate(most);
        let next = if has_more { rows.last().map(place) } else { None };
        Listed { rows, next }
    }
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// Its rows.
    pub rows: Vec<T>,
    /// What the next page comes after; `None` on the last.
    pub next: Option<(String, String)>,
}

/// Which rows of a list; each condition that a list has no column for is passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The one of this id.
    pub id: Option<String>,
    /// In this network.
    pub network: Option<NetworkId>,
    /// Of this user, by row id.
    pub user: Option<String>,
    /// Of this device.
    pub device: Option<DeviceId>,
    /// And of this one, for pairs.
    pub peer: Option<DeviceId>,
    /// Online, or not.
    pub online: Option<bool>,
    /// Members in this state; without it those that are in, or wait.
    pub state: Option<MemberState>,
    /// Members that left or were turned down as well.
    pub with_gone: bool,
    /// About things of this kind, or the one of this id among them.
    pub entity: Option<(String, Option<String>)>,
    /// What a query finds.
    pub query: Query,
}

impl Filter {
    /// The one thing of that id.
    #[must_use]
    pub fn id(id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), ..Self::default() }
    }

    /// What is in that network.
    #[must_use]
    pub fn network(network: NetworkId) -> Self {
        Self { network: Some(network), ..Self::default() }
    }

    fn network_text(&self) -> Option<String> {
        self.network.map(|network| network.to_string())
    }
}

/// Who reads, in the form in which statements ask for it.
struct Reader {
    is_server_admin: bool,
    user: String,
    only: Option<String>,
    now: i64,
    by_token: bool,
}

impl Reader {
    fn of(grants: &Grants, now: i64) -> Self {
        Self {
            is_server_admin: grants.is_server_admin,
            user: grants.user.clone(),
            only: grants.only.map(|network| network.to_string()),
            now,
            by_token: grants.by_token,
        }
    }
}

/// Everything somebody may see, at one moment.
#[derive(Debug)]
pub struct Seen {
    /// Number of the newest outbox row that it includes.
    pub cursor: i64,
    /// Users, by name.
    pub users: Vec<User>,
    /// Networks, by name.
    pub networks: Vec<Network>,
    /// Devices, by name.
    pub devices: Vec<Device>,
    /// Members that are in or wait, by name.
    pub members: Vec<Member>,
    /// Pairs of devices.
    pub links: Vec<Link>,
}

impl Index {
    /// Everything a user may see, at one moment.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn seen(&self, grants: &Grants) -> Result<Seen> {
        let reader = Reader::of(grants, self.clock.now_ms());
        let mut transaction = self.db.begin_read().await?;
        let (all, page) = (Filter::default(), Page::whole());
        let cursor = sql!("SELECT COALESCE(MAX(id), 0) FROM outbox").fetch_one(&mut transaction).await?;
        Ok(Seen {
            cursor,
            users: people::users(Target::from(&mut transaction), &reader, &all, &page).await?,
            networks: people::networks(Target::from(&mut transaction), &reader, &all, &page).await?,
            devices: machines::devices(Target::from(&mut transaction), &reader, &all, &page).await?,
            members: machines::members(Target::from(&mut transaction), &reader, &all, &page).await?,
            links: pairs::links(Target::from(&mut transaction), &reader, &all, &page).await?,
        })
    }

    fn reader(&self, grants: &Grants) -> Reader {
        Reader::of(grants, self.clock.now_ms())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_knows_whether_another_comes() {
        let page = Page::first(2);
        assert_eq!(page.rows(), 3);
        let place = |row: &u32| (String::new(), row.to_string());
        assert_eq!(page.cut(vec![1, 2], place), Listed { rows: vec![1, 2], next: None });
        let next = Some((String::new(), "2".to_owned()));
        assert_eq!(page.cut(vec![1, 2, 3], place), Listed { rows: vec![1, 2], next });
    }
}
