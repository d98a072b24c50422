//! Words that stand for one of a few things, for the document: whoever makes types of it gets a type for each.
//!
//! What is said of them is a text, as INDEX has it; a test compares the two.

use utoipa::ToSchema;

macro_rules! words {
    ($($(#[doc = $doc:literal])+ $name:ident { $($word:ident)+ })+) => {$(
        $(#[doc = $doc])+
        #[derive(ToSchema)]
        #[schema(rename_all = "snake_case")]
        #[allow(dead_code, reason = "what the document says of a text")]
        pub(super) enum $name { $($word,)+ }
    )+};
}

words! {
    /// What a user is in a network, the least first.
    RoleWord { Guest Member Admin Owner }
    /// What a device is in a network.
    MemberWord { Pending Active Suspended Left Denied }
    /// Who may ask to join a network.
    JoinWord { Locked Invite Password Request }
    /// Whether an invite's holder is a member at once.
    ApproveWord { Auto Manual }
    /// What a token may.
    ScopeWord { Read Write }
    /// Whether somebody is one.
    UserWord { Person Service }
    /// What somebody showed.
    ViaWord { Session Token }
    /// Where datagrams to a peer go.
    PathWord { None Direct Lan Tcp Member Relay }
    /// How a service is.
    StateWord { Starting Ok Degraded Failed }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use serde_json::Value;

    use super::super::document;
    use crate::index::authority::Role;
    use crate::index::links::LinkPath;
    use crate::index::memberships::MemberState;
    use crate::index::networks::{Approve, JoinMode};
    use crate::index::tokens::Scope;

    /// Every word of the document, and no other, is one of the index.
    fn compare<T: FromStr<Err = String>>(document: &Value, name: &str) {
        let told = document["components"]["schemas"][name]["enum"].as_array().unwrap();
        let told: Vec<&str> = told.iter().map(|word| word.as_str().unwrap()).collect();
        for word in &told {
            assert!(word.parse::<T>().is_ok(), "{name}: {word}");
        }
        // A word that is none is answered with all of them.
        let why = "".parse::<T>().err().unwrap();
        let mut known: Vec<&str> = why.split_once(": ").unwrap().1.split(", ").collect();
        let mut told = told;
        known.sort_unstable();
        told.sort_unstable();
        assert_eq!(told, known, "{name}");
    }

    #[test]
    fn they_are_those_of_the_index() {
        let document: Value = serde_json::from_str(&document().to_json().unwrap()).unwrap();
        compare::<Role>(&document, "RoleWord");
        compare::<MemberState>(&document, "MemberWord");
        compare::<JoinMode>(&document, "JoinWord");
        compare::<Approve>(&document, "ApproveWord");
        compare::<Scope>(&document, "ScopeWord");
        compare::<LinkPath>(&document, "PathWord");
    }
}
