//! What a query means in SQL: for each kind of thing and each term one constant condition.
//!
//! A condition stands behind the statement of a list (`lists`), which binds who reads as `$3` (a server administrator), `$4`
//! (row id of the user), `$5` (the only network they may look at) and `$6` (the time). In it `{exact}` becomes a parameter with
//! the value, `{like}` with a pattern for what has it in it, `{loose}` with one for the index of parts of words, `{number}` with one
//! for a device's number, and `{glob}` with a pattern for a whole value in which `*` stands for anything. Nothing that somebody
//! typed becomes part of a text.
//!
//! With 100,000 devices every way through has to be short (`make bench`, part lists). A set of ids ends with a `LIMIT` that limits
//! nothing: Postgres works it out once then, where it would else look into it for each device. A word that few have is looked up in
//! the index of parts of words ([`Query::sized`]); one that many have is met soon by going through the devices in their order.

use super::values::{FEW, Shape, digits, glob, holds, is_indexed, loose};
use super::{Field, Query, State, Subject};
use crate::index::db::{Db, Statement, Value, sql};
use crate::index::error::{IndexError, Result};
use crate::index::metadata::Kind;

/// A role of the reader in the network of `m`.
macro_rules! has_role {
    ($network:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM network_roles r WHERE r.network_id = ",
            $network,
            " AND r.user_id = $4 AND (r.expires_at IS NULL OR r.expires_at > $6))"
        )
    };
}

/// Networks that the reader may look at, by a role of theirs.
macro_rules! networks {
    ($role:literal) => {
        concat!(
            "SELECT n.id FROM networks n WHERE ($5 IS NULL OR n.id = $5) AND ($3 OR EXISTS (SELECT 1 FROM network_roles r \
             WHERE r.network_id = n.id AND r.user_id = $4 AND (r.expires_at IS NULL OR r.expires_at > $6)",
            $role,
            "))"
        )
    };
}

/// Live memberships whose network the reader may look at, or of a device of theirs.
macro_rules! seen_membership {
    () => {
        concat!(
            "m.state IN ('pending', 'active', 'suspended') AND (($3 AND $5 IS NULL) OR m.network_id IN (",
            networks!(""),
            ") OR ($5 IS NULL AND m.device_id IN (SELECT o.id FROM devices o WHERE o.user_id = $4)))"
        )
    };
}

/// The end of a set of ids.
macro_rules! whole {
    () => {
        " LIMIT 9223372036854775807"
    };
}

/// Devices with such a membership.
macro_rules! device_with {
    ($condition:literal) => {
        concat!(
            "d.id IN (SELECT m.device_id FROM memberships m WHERE ",
            $condition,
            " AND ",
            seen_membership!(),
            whole!(),
            ")"
        )
    };
}

/// Ids of things of a kind with an entry that the reader may see: their own, and those in networks where they have a role.
macro_rules! with_entry {
    ("user", $entry:expr) => {
        with_entry!(
            "user",
            $entry,
            "$5 IS NULL AND x.entity_id = $4",
            "SELECT q.user_id FROM network_roles q WHERE (q.expires_at IS NULL OR q.expires_at > $6) AND q.network_id IN "
        )
    };
    ("device", $entry:expr) => {
        with_entry!(
            "device",
            $entry,
            "$5 IS NULL AND x.entity_id IN (SELECT o.id FROM devices o WHERE o.user_id = $4)",
            "SELECT m.device_id FROM memberships m WHERE m.state IN ('pending', 'active', 'suspended') AND m.network_id IN "
        )
    };
    ("member", $entry:expr) => {
        with_entry!(
            "member",
            $entry,
            "$5 IS NULL AND x.entity_id IN (SELECT m.id FROM memberships m JOIN devices o ON o.id = m.device_id \
             WHERE o.user_id = $4)",
            "SELECT m.id FROM memberships m WHERE m.network_id IN "
        )
    };
    ("network", $entry:expr) => {
        with_entry!(
            "network",
            $entry,
            concat!("x.entity_id IN (", networks!(" AND r.role = 'owner'"), ")"),
            "SELECT e.id FROM networks e WHERE e.id IN "
        )
    };
    ($kind:literal, $entry:expr, $own:expr, $in_networks:literal) => {
        concat!(
            "SELECT x.entity_id FROM metadata x WHERE x.entity_type = '",
            $kind,
            "' AND ",
            $entry,
            " AND (x.visibility = 'public' OR ($3 AND $5 IS NULL) OR (",
            $own,
            ") OR (x.visibility = 'members' AND x.entity_id IN (",
            $in_networks,
            "(",
            networks!(""),
            "))) OR (x.visibility = 'admins' AND x.entity_id IN (",
            $in_networks,
            "(",
            networks!(" AND r.role IN ('admin', 'owner')"),
            "))))",
            whole!()
        )
    };
}

/// An entry `x` with a word that few have: it is looked up in the index of parts of words.
macro_rules! rare_value {
    () => {
        "x.number IN (SELECT w.rowid FROM metadata_words w WHERE w.folded LIKE {loose}) \
         AND x.folded LIKE {like} ESCAPE '!'"
    };
}

const LIVE_OWNER: &str = "d.user_id IN (SELECT u.id FROM users u WHERE u.name LIKE {like} ESCAPE '!' \
     OR lower(u.display_name) LIKE {like} ESCAPE '!')";

/// The condition of a term with one value; `None` for what such things do not have.
fn device(subject: &Subject, shape: Shape) -> Option<&'static str> {
    Some(match (subject, shape) {
        (Subject::Anything, Shape::Rare) => concat!(
            "d.id IN (SELECT o.id FROM devices o WHERE o.number IN (SELECT w.rowid FROM device_words w \
             WHERE w.folded LIKE {loose} AND w.folded LIKE {like} ESCAPE '!') UNION ALL ",
            with_entry!("device", rare_value!()),
            ")"
        ),
        (Subject::Anything, Shape::Short) => "d.name LIKE {like} ESCAPE '!'",
        (Subject::Anything, _) => concat!(
            "(d.name LIKE {like} ESCAPE '!' OR CAST(d.number AS TEXT) LIKE {number} ESCAPE '!' \
             OR lower(d.os) LIKE {like} ESCAPE '!' OR d.id IN (",
            with_entry!("device", "x.folded LIKE {like} ESCAPE '!'"),
            "))"
        ),
        (Subject::Address, Shape::Whole) => concat!(
            "d.id IN (SELECT m.device_id FROM memberships m WHERE (m.ip4 = {exact} OR m.ip6 = {exact}) AND ",
            seen_membership!(),
            " UNION ALL ",
            with_entry!("device", rare_value!()),
            ")"
        ),
        (Subject::Address, _) => concat!(
            "(d.agent_version LIKE {like} ESCAPE '!' OR ",
            device_with!("(m.ip4 LIKE {like} ESCAPE '!' OR m.ip6 LIKE {like} ESCAPE '!')"),
            " OR d.id IN (",
            with_entry!("device", "x.folded LIKE {like} ESCAPE '!'"),
            "))"
        ),
        (Subject::Key(_), Shape::Whole) => concat!(
            "d.id IN (SELECT y.device_id FROM memberships y WHERE y.id IN (",
            with_entry!("member", "x.key = {key} AND x.folded = {exact}"),
            ") UNION ALL ",
            with_entry!("device", "x.key = {key} AND x.folded = {exact}"),
            ")"
        ),
        (Subject::Key(_), _) => concat!(
            "(d.id IN (",
            with_entry!("device", "x.key = {key} AND x.folded LIKE {glob} ESCAPE '!'"),
            ") OR d.id IN (SELECT y.device_id FROM memberships y WHERE y.id IN (",
            with_entry!("member", "x.key = {key} AND x.folded LIKE {glob} ESCAPE '!'"),
            ")))"
        ),
        (Subject::Field(Field::Id), _) => "d.id = {exact}",
        (Subject::Field(Field::Name), _) => "d.name LIKE {like} ESCAPE '!'",
        (Subject::Field(Field::Number), _) => "CAST(d.number AS TEXT) LIKE {number} ESCAPE '!'",
        (Subject::Field(Field::Os), _) => "lower(d.os) LIKE {like} ESCAPE '!'",
        (Subject::Field(Field::Version), _) => "lower(d.agent_version) LIKE {like} ESCAPE '!'",
        (Subject::Field(Field::Owner), _) => LIVE_OWNER,
        (Subject::Field(Field::Net), _) => {
            device_with!(
                "m.network_id = (SELECT n.id FROM networks n WHERE n.slug = {exact} AND n.deleted_at IS NULL)"
            )
        }
        (Subject::Field(Field::Tag), _) => {
            device_with!("m.id IN (SELECT t.membership_id FROM member_tags t WHERE t.tag = {exact})")
        }
        (Subject::Field(Field::Group), _) => device_with!(
            "EXISTS (SELECT 1 FROM user_groups g JOIN group_users gu ON gu.group_id = g.id \
             WHERE g.network_id = m.network_id AND g.name = {exact} AND gu.user_id = d.user_id)"
        ),
        (Subject::Field(Field::Ip), Shape::Whole) => device_with!("(m.ip4 = {exact} OR m.ip6 = {exact})"),
        (Subject::Field(Field::Ip), _) => {
            device_with!("(m.ip4 LIKE {like} ESCAPE '!' OR m.ip6 LIKE {like} ESCAPE '!')")
        }
        (Subject::Field(Field::Is), _) => match shape.state()? {
            State::Online => "d.online",
            State::Offline => "NOT d.online",
            State::Mine => "d.user_id = $4",
            State::Suspended => "d.suspended_at IS NOT NULL",
            State::Pending => device_with!("m.state = 'pending'"),
            State::Active => device_with!("m.state = 'active'"),
            State::Admin | State::Disabled => return None,
        },
    })
}

fn member(subject: &Subject, shape: Shape) -> Option<&'static str> {
    Some(match subject {
        Subject::Anything | Subject::Address => concat!(
            "(m.nickname LIKE {like} ESCAPE '!' OR CAST(d.number AS TEXT) LIKE {number} ESCAPE '!' \
             OR m.ip4 LIKE {like} ESCAPE '!' OR m.ip6 LIKE {like} ESCAPE '!' OR m.device_id IN (",
            with_entry!("device", "x.folded LIKE {like} ESCAPE '!'"),
            ") OR m.id IN (",
            with_entry!("member", "x.folded LIKE {like} ESCAPE '!'"),
            "))"
        ),
        Subject::Key(_) => concat!(
            "(m.device_id IN (",
            with_entry!("device", "x.key = {key} AND x.folded LIKE {glob} ESCAPE '!'"),
            ") OR m.id IN (",
            with_entry!("member", "x.key = {key} AND x.folded LIKE {glob} ESCAPE '!'"),
            "))"
        ),
        Subject::Field(Field::Id) => "(m.id = {exact} OR m.device_id = {exact})",
        Subject::Field(Field::Name) => "m.nickname LIKE {like} ESCAPE '!'",
        Subject::Field(Field::Number) => "CAST(d.number AS TEXT) LIKE {number} ESCAPE '!'",
        Subject::Field(Field::Os) => "lower(d.os) LIKE {like} ESCAPE '!'",
        Subject::Field(Field::Version) => "lower(d.agent_version) LIKE {like} ESCAPE '!'",
        Subject::Field(Field::Owner) => LIVE_OWNER,
        Subject::Field(Field::Net) => "n.slug = {exact}",
        Subject::Field(Field::Tag) => {
            "EXISTS (SELECT 1 FROM member_tags t WHERE t.membership_id = m.id AND t.tag = {exact})"
        }
        Subject::Field(Field::Group) => {
            "EXISTS (SELECT 1 FROM user_groups g JOIN group_users gu ON gu.group_id = g.id \
             WHERE g.network_id = m.network_id AND g.name = {exact} AND gu.user_id = d.user_id)"
        }
        Subject::Field(Field::Ip) => "(m.ip4 LIKE {like} ESCAPE '!' OR m.ip6 LIKE {like} ESCAPE '!')",
        Subject::Field(Field::Is) => match shape.state()? {
            State::Online => "d.online",
            State::Offline => "NOT d.online",
            State::Mine => "d.user_id = $4",
            State::Suspended => {
                "(m.state = 'suspended' OR (m.state = 'active' AND d.suspended_at IS NOT NULL))"
            }
            State::Pending => "m.state = 'pending'",
            State::Active => "(m.state = 'active' AND d.suspended_at IS NULL)",
            State::Admin | State::Disabled => return None,
        },
    })
}

fn user(subject: &Subject, shape: Shape) -> Option<&'static str> {
    Some(match subject {
        Subject::Anything | Subject::Address => concat!(
            "(u.name LIKE {like} ESCAPE '!' OR lower(u.display_name) LIKE {like} ESCAPE '!' OR u.id IN (",
            with_entry!("user", "x.folded LIKE {like} ESCAPE '!'"),
            "))"
        ),
        Subject::Key(_) => concat!(
            "u.id IN (",
            with_entry!("user", "x.key = {key} AND x.folded LIKE {glob} ESCAPE '!'"),
            ")"
        ),
        Subject::Field(Field::Id) => "u.id = {exact}",
        Subject::Field(Field::Name | Field::Owner) => {
            "(u.name LIKE {like} ESCAPE '!' OR lower(u.display_name) LIKE {like} ESCAPE '!')"
        }
        Subject::Field(Field::Net) => concat!(
            "EXISTS (SELECT 1 FROM network_roles q JOIN networks n ON n.id = q.network_id WHERE q.user_id = u.id \
             AND n.deleted_at IS NULL AND n.slug = {exact} AND (q.expires_at IS NULL OR q.expires_at > $6) \
             AND ($5 IS NULL OR n.id = $5) AND ($3 OR ",
            has_role!("n.id"),
            "))"
        ),
        Subject::Field(Field::Group) => concat!(
            "EXISTS (SELECT 1 FROM user_groups g JOIN group_users gu ON gu.group_id = g.id WHERE gu.user_id = u.id \
             AND g.name = {exact} AND ($5 IS NULL OR g.network_id = $5) AND ($3 OR ",
            has_role!("g.network_id"),
            "))"
        ),
        Subject::Field(Field::Is) => match shape.state()? {
            State::Admin => "u.is_server_admin",
            State::Disabled => "u.disabled_at IS NOT NULL",
            State::Active => "u.disabled_at IS NULL",
            State::Mine => "u.id = $4",
            State::Online | State::Offline | State::Suspended | State::Pending => return None,
        },
        Subject::Field(Field::Number | Field::Os | Field::Version | Field::Tag | Field::Ip) => return None,
    })
}

fn network(subject: &Subject, shape: Shape) -> Option<&'static str> {
    Some(match subject {
        Subject::Anything | Subject::Address => concat!(
            "(n.slug LIKE {like} ESCAPE '!' OR n.prefix4 LIKE {like} ESCAPE '!' OR n.id IN (",
            with_entry!("network", "x.folded LIKE {like} ESCAPE '!'"),
            "))"
        ),
        Subject::Key(_) => concat!(
            "n.id IN (",
            with_entry!("network", "x.key = {key} AND x.folded LIKE {glob} ESCAPE '!'"),
            ")"
        ),
        Subject::Field(Field::Id) => "n.id = {exact}",
        Subject::Field(Field::Name | Field::Net) => "n.slug LIKE {like} ESCAPE '!'",
        Subject::Field(Field::Ip) => "(n.prefix4 LIKE {like} ESCAPE '!' OR n.prefix6 LIKE {like} ESCAPE '!')",
        Subject::Field(Field::Owner) => {
            "EXISTS (SELECT 1 FROM network_roles q JOIN users u ON u.id = q.user_id WHERE q.network_id = n.id \
             AND q.role = 'owner' AND (u.name LIKE {like} ESCAPE '!' OR lower(u.display_name) LIKE {like} ESCAPE '!'))"
        }
        Subject::Field(Field::Tag) => {
            "EXISTS (SELECT 1 FROM member_tags t JOIN memberships m ON m.id = t.membership_id \
             WHERE m.network_id = n.id AND t.tag = {exact})"
        }
        Subject::Field(Field::Group) => {
            "EXISTS (SELECT 1 FROM user_groups g WHERE g.network_id = n.id AND g.name = {exact})"
        }
        Subject::Field(Field::Is) => match shape.state()? {
            State::Mine => {
                "EXISTS (SELECT 1 FROM network_roles q WHERE q.network_id = n.id AND q.role = 'owner' AND q.user_id = $4)"
            }
            State::Pending => {
                "EXISTS (SELECT 1 FROM memberships m WHERE m.network_id = n.id AND m.state = 'pending')"
            }
            State::Online
            | State::Offline
            | State::Suspended
            | State::Active
            | State::Admin
            | State::Disabled => return None,
        },
        Subject::Field(Field::Number | Field::Os | Field::Version) => return None,
    })
}

impl Query {
    /// The same, with the words marked that few devices have.
    ///
    /// # Errors
    /// When the database fails.
    pub(in crate::index) async fn sized(mut self, db: &Db) -> Result<Self> {
        for term in &mut self.terms {
            let [value] = term.values.as_slice() else { continue };
            if term.subject == Subject::Anything && is_indexed(value) {
                let hits: i64 = sql!(
                    "SELECT COUNT(*) FROM (SELECT w.rowid FROM device_words w WHERE w.folded LIKE $1 \
                     UNION ALL SELECT x.rowid FROM metadata_words x WHERE x.folded LIKE $1 LIMIT $2) few"
                )
                .bind(loose(value))
                .bind(FEW + 1)
                .fetch_one(db)
                .await?;
                term.is_rare = hits <= FEW;
            }
        }
        Ok(self)
    }

    /// Adds its conditions to the statement of a list of such things.
    ///
    /// # Errors
    /// [`IndexError::Query`] for what such things do not have.
    pub(in crate::index) fn narrow(&self, kind: Kind, mut statement: Statement) -> Result<Statement> {
        let condition = match kind {
            Kind::User => user,
            Kind::Network => network,
            Kind::Device => device,
            Kind::Member => member,
        };
        if !self.is_empty() {
            statement = statement.once();
        }
        for term in &self.terms {
            statement = statement.then(if term.is_negated { " AND NOT COALESCE((" } else { " AND ((" });
            for (place, value) in term.values.iter().enumerate() {
                if place > 0 {
                    statement = statement.then(") OR (");
                }
                let text = condition(&term.subject, Shape::of(term, value)).ok_or_else(|| {
                    let (field, value) = match &term.subject {
                        Subject::Field(field) => (field.as_str(), value.as_str()),
                        Subject::Anything | Subject::Address | Subject::Key(_) => ("", value.as_str()),
                    };
                    IndexError::Query(format!("a {kind} has no \"{field}:{value}\""))
                })?;
                statement = statement.then_with(text, |name| parameter(name, &term.subject, value));
            }
            statement = statement.then(if term.is_negated { "), FALSE)" } else { "))" });
        }
        Ok(statement)
    }
}

/// The value of a parameter by its name.
fn parameter(name: &str, subject: &Subject, value: &str) -> Value {
    match (name, subject) {
        ("key", Subject::Key(key)) => key.as_str().into(),
        ("like", _) => holds(value).into(),
        ("loose", _) => loose(value).into(),
        ("number", _) => holds(&digits(value)).into(),
        ("glob", _) => glob(value).into(),
        _ => value.into(),
    }
}
