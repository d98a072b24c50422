//! What is wrong with the way between two places: it is cut, or longer than others.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Net, Place};
use crate::link::Link;

/// The ways that are not as they are built.
#[derive(Clone, Debug, Default)]
pub(super) struct Ways {
    cuts: BTreeSet<(Place, Place)>,
    /// One way, in that direction.
    longer: BTreeMap<(Place, Place), Duration>,
}

impl Ways {
    pub(super) fn is_cut(&self, from: Place, to: Place) -> bool {
        self.cuts.contains(&(from, to))
    }

    pub(super) fn stretch(&self, from: Place, to: Place, link: Link) -> Link {
        let longer = self.longer.get(&(from, to)).copied().unwrap_or_default();
        Link { delay: link.delay + longer, ..link }
    }
}

impl Net {
    /// Cuts or heals the way from one place to another, in that direction.
    pub fn cut(&mut self, from: Place, to: Place, is_cut: bool) {
        if is_cut {
            self.ways.cuts.insert((from, to));
        } else {
            self.ways.cuts.remove(&(from, to));
        }
    }

    /// Makes the way between two places so much longer than its links are, in each direction.
    pub fn set_further(&mut self, a: Place, b: Place, longer: Duration) {
        self.ways.longer.insert((a, b), longer);
        self.ways.longer.insert((b, a), longer);
    }
}
