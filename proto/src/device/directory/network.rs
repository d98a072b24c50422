//! One network of the directory: its card, its members, and how far behind they are.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use lanyard_wire::checkpoint::{Availability, Change, Member, NetworkCard, Roster, RosterChanged};
use lanyard_wire::ids::{DeviceId, NetworkId, Revision};
use lanyard_wire::names::DeviceName;

use super::super::cache::NetworkCache;
use super::super::event::MemberChange;

/// Members of one network that are kept at the most; more are not added.
///
/// Four times the largest network that the coordinator is built for, so that nobody fills a device's memory.
const MEMBERS_MAX: usize = 20_000;

/// One network with its members.
#[derive(Debug)]
pub(in crate::device) struct NetworkView {
    /// Name, prefixes and this device's place in it.
    pub(in crate::device) card: NetworkCard,
    /// The revision that `members` are at.
    pub(in crate::device) revision: Revision,
    /// Switched on on this device?
    pub(in crate::device) enabled: bool,
    /// Everybody else.
    pub(in crate::device) members: BTreeMap<DeviceId, Member>,
    /// The newest revision that the coordinator spoke of.
    heard: Revision,
    /// All members were known at some time.
    loaded: bool,
    /// An answer of several pages that is under way.
    paging: Option<Paging>,
}

/// The question for a network's changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::device) struct RosterAsk {
    /// The network.
    pub(in crate::device) network: NetworkId,
    /// The revision we hold.
    pub(in crate::device) since: Revision,
    /// The last device of the page before.
    pub(in crate::device) after: Option<DeviceId>,
}

/// What happened inside a network.
#[derive(Debug)]
pub(super) enum Step {
    /// Something did.
    Changed,
    /// This device is out.
    Removed,
    /// A member came, went, woke or slept.
    Member { device: DeviceId, name: DeviceName, change: MemberChange },
}

/// Pages taken so far.
#[derive(Debug)]
struct Paging {
    /// Everything there is, so that whoever is on no page is gone?
    full: bool,
    /// The lowest revision of a page: changes after it may be missing on the earlier pages.
    reached: Revision,
    /// The highest one.
    seen: Revision,
    /// Who was on a page.
    present: BTreeSet<DeviceId>,
    /// Ask here for the next page.
    after: DeviceId,
}

impl NetworkView {
    /// A network of which nothing but the card is known.
    pub(super) const fn new(card: NetworkCard) -> Self {
        Self {
            card,
            revision: Revision::ZERO,
            enabled: true,
            members: BTreeMap::new(),
            heard: Revision::ZERO,
            loaded: false,
            paging: None,
        }
    }

    /// A network as it was written to disk.
    pub(super) fn from_cache(me: DeviceId, cached: NetworkCache) -> Self {
        let members = cached.members.into_iter().map(|cached| {
            let member = Member { availability: Availability::Offline, ..cached.member };
            (member.device(), member)
        });
        Self {
            revision: cached.revision,
            enabled: cached.enabled,
            members: members.filter(|(device, _)| *device != me).collect(),
            heard: cached.revision,
            loaded: true,
            ..Self::new(cached.card)
        }
    }

    /// All members are known, if perhaps not their newest changes.
    pub(super) const fn is_loaded(&self) -> bool {
        self.loaded
    }

    /// Notes a revision; says whether there is something to ask.
    pub(super) fn heard_of(&mut self, revision: Revision) -> bool {
        self.heard = revision;
        self.revision != revision
    }

    /// Makes the next question one for everything.
    pub(super) fn forget_revision(&mut self) {
        self.revision = Revision::ZERO;
        self.paging = None;
    }

    /// The next question.
    pub(super) fn ask(&self) -> RosterAsk {
        let id = self.card.id;
        // A revision ahead of the coordinator's is one of a past life of its database: everything, please.
        let since = if self.heard < self.revision { Revision::ZERO } else { self.revision };
        let after = self.paging.as_ref().map(|paging| paging.after);
        RosterAsk { network: id, since, after }
    }

    /// Takes a page; gives the next question, if there is one.
    pub(super) fn apply_page(
        &mut self,
        me: DeviceId,
        asked: &RosterAsk,
        page: Roster,
        steps: &mut Vec<Step>,
    ) -> Option<RosterAsk> {
        if self.card != page.network {
            self.card = page.network;
            steps.push(Step::Changed);
        }
        let mut paging = match (self.paging.take(), asked.after) {
            (Some(paging), Some(after)) if paging.after == after && paging.full == page.full => paging,
            (_, None) => Paging {
                full: page.full,
                reached: page.to,
                seen: page.to,
                present: BTreeSet::new(),
                after: me,
            },
            // The rest of an answer whose beginning we do not have: from the start, please.
            (_, Some(_)) => return Some(self.ask()),
        };
        // A delta that begins after our revision would leave a hole.
        if !page.full && page.from > self.revision {
            self.heard = page.to;
            return (asked.since != Revision::ZERO).then_some(RosterAsk {
                network: self.card.id,
                since: Revision::ZERO,
                after: None,
            });
        }
        paging.reached = paging.reached.min(page.to);
        paging.seen = paging.seen.max(page.to);
        for change in page.changes {
            if paging.full
                && let Change::Present(member) = &change
            {
                paging.present.insert(member.device());
            }
            self.apply_change(me, change, steps);
        }
        let Some(after) = page.next else { return self.finish_paging(&paging, steps) };
        paging.after = after;
        self.paging = Some(paging);
        Some(RosterAsk { network: self.card.id, since: asked.since, after: Some(after) })
    }

    /// Takes a pushed change; `false` if something before it is missing.
    pub(super) fn apply_push(&mut self, me: DeviceId, push: RosterChanged, steps: &mut Vec<Step>) -> bool {
        if push.to <= self.revision && self.heard >= self.revision {
            return true;
        }
        self.heard = self.heard.max(push.to);
        // While pages are under way a change may be older than what the pages already said.
        if push.changes.is_empty() || push.from > self.revision || self.paging.is_some() {
            return self.remove_if_told(me, &push.changes, steps);
        }
        let about_me = push.changes.iter().any(|change| match change {
            Change::Present(member) => member.device() == me,
            Change::Gone(_) => false,
        });
        for change in push.changes {
            self.apply_change(me, change, steps);
        }
        if about_me {
            // Our own place changed, and only the card tells it: the revision stays until that is here.
            return false;
        }
        self.revision = push.to;
        true
    }

    /// Takes who came and went, and who relays.
    pub(super) fn set_availability(&mut self, changes: &[(DeviceId, Availability)], steps: &mut Vec<Step>) {
        for (device, availability) in changes {
            let Some(member) = self.members.get_mut(device) else { continue };
            let before = core::mem::replace(&mut member.availability, *availability);
            if before.is_online() != availability.is_online() {
                let change = presence(*availability);
                steps.push(Step::Member { device: *device, name: member.name.clone(), change });
            } else if before != *availability {
                steps.push(Step::Changed);
            }
        }
    }

    /// A removal of this device counts even if other changes are missing.
    fn remove_if_told(&self, me: DeviceId, changes: &[Change], steps: &mut Vec<Step>) -> bool {
        let removed = changes.iter().any(|change| matches!(change, Change::Gone(device) if *device == me));
        if removed {
            steps.push(Step::Removed);
        }
        removed
    }

    fn apply_change(&mut self, me: DeviceId, change: Change, steps: &mut Vec<Step>) {
        match change {
            Change::Gone(device) if device == me => steps.push(Step::Removed),
            Change::Gone(device) => self.drop_member(device, steps),
            Change::Present(member) => {
                let device = member.device();
                if device != me {
                    self.put_member(device, member, steps);
                }
            }
        }
    }

    fn put_member(&mut self, device: DeviceId, member: Member, steps: &mut Vec<Step>) {
        let known = self.members.get(&device);
        if known.is_none() && self.members.len() >= MEMBERS_MAX {
            return;
        }
        if known == Some(&member) {
            return;
        }
        let is_online = member.availability.is_online();
        let change = match known.map(|known| known.availability.is_online()) {
            None => Some(MemberChange::Joined),
            Some(was_online) if was_online != is_online => Some(presence(member.availability)),
            Some(_) => None,
        };
        match change {
            Some(change) => steps.push(Step::Member { device, name: member.name.clone(), change }),
            None => steps.push(Step::Changed),
        }
        self.members.insert(device, member);
    }

    fn drop_member(&mut self, device: DeviceId, steps: &mut Vec<Step>) {
        if let Some(member) = self.members.remove(&device) {
            steps.push(Step::Member { device, name: member.name, change: MemberChange::Left });
        }
    }

    /// The last page was taken: whoever was on none is gone, and the revision counts.
    fn finish_paging(&mut self, paging: &Paging, steps: &mut Vec<Step>) -> Option<RosterAsk> {
        if paging.full {
            let gone: Vec<DeviceId> =
                self.members.keys().filter(|device| !paging.present.contains(device)).copied().collect();
            for device in gone {
                self.drop_member(device, steps);
            }
        }
        // Asked again only if this answer moved us: a coordinator that speaks of a revision and never shows it
        // is not asked for ever.
        let moved = self.revision != paging.reached || !self.loaded;
        let behind = paging.seen > paging.reached || self.heard > paging.seen;
        self.revision = paging.reached;
        self.loaded = true;
        if behind && moved {
            self.heard = self.heard.max(paging.seen);
            return Some(self.ask());
        }
        self.heard = self.revision;
        None
    }
}

const fn presence(availability: Availability) -> MemberChange {
    if availability.is_online() { MemberChange::Online } else { MemberChange::Offline }
}
