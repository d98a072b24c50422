//! Searches find the same with the index of parts of words as without it, whatever became of what they look at.

use super::super::authority::Grants;
use super::super::db::{Db, sql};
use super::super::lists::{Filter, Page};
use super::super::metadata::{Subject, Visibility, Wish};
use super::*;

/// What devices are called and described as; every third word has something that LIKE or the index takes for its own.
const WORDS: [&str; 12] = [
    "nas",
    "berlin",
    "50%_off",
    "größe",
    "straße",
    "a_b",
    "back\\slash",
    "x",
    "ab",
    "o'neill",
    "nasenbär",
    "say \"hi\"",
];

async fn found(index: &Index, query: &str) -> Vec<String> {
    let filter = Filter { query: query.parse().unwrap(), ..Filter::default() };
    let page = index.devices_page(&Grants::operator(), &filter, &Page::first(100)).await;
    let page = page.unwrap_or_else(|error| panic!("{query}: {error}"));
    page.rows.into_iter().map(|device| device.name.to_string()).collect()
}

async fn describe(index: &Index, seed: u32, value: Option<&str>) {
    let wish = value.map_or(Wish::Unset, |value| Wish::Set(value.to_owned(), Some(Visibility::Members)));
    let subject = Subject::Device { id: DeviceId::of(&identity(seed)), owner: None };
    index.set_metadata(&subject, &[("note".parse().unwrap(), wish)], &admin()).await.unwrap();
}

/// A query in which a text means itself.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', ""))
}

#[tokio::test]
async fn a_word_finds_whatever_has_it_however_many_those_are() {
    on_both(async |desk: Desk| {
        desk.join_all(24).await;
        for seed in 1..=24 {
            describe(&desk.index, seed, Some(WORDS[seed as usize % WORDS.len()])).await;
        }
        // What was there first is gone or another.
        for seed in 13..=24 {
            describe(&desk.index, seed, (seed % 2 == 0).then_some("renamed in Köln")).await;
        }
        let mut renamed = request(5, None);
        renamed.device.name = "berliner-nas".parse().unwrap();
        renamed.device.os = "windows".to_owned();
        assert!(is_joined(desk.index.join(&renamed).await.unwrap()));

        for word in
            WORDS.into_iter().chain(["device-1", "linux", "windows", "köln", "named in", "device-5", "zzz"])
        {
            let word = word.replace('"', "");
            let mut wanted: Vec<String> = Vec::new();
            for device in desk.index.devices().await.unwrap() {
                let about = Subject::Device { id: device.id, owner: None };
                let about = desk.index.metadata(&about, None).await.unwrap();
                let number = device.number.to_string();
                let values = about.iter().map(|entry| entry.value.to_lowercase());
                let texts = [device.name.to_string(), device.os.clone(), number.replace('-', ""), number];
                // Short words are looked for in names alone.
                let texts: Vec<String> = if word.chars().count() < 3 || word == "a_b" {
                    vec![device.name.to_string()]
                } else {
                    texts.into_iter().chain(values).collect()
                };
                if texts.iter().any(|text| text.contains(&word)) {
                    wanted.push(device.name.to_string());
                }
            }
            assert_eq!(found(&desk.index, &quoted(&word)).await, wanted, "{word}");
        }
        let device = desk.index.device("device-7").await.unwrap();
        let number = device.number.to_string();
        assert_eq!(found(&desk.index, &number).await, ["device-7"], "as it is read out");
        assert_eq!(found(&desk.index, &number.replace('-', "")).await, ["device-7"], "as it is stored");
    })
    .await;
}

#[tokio::test]
async fn an_older_database_is_found_in_once_it_is_upgraded() {
    for database in ["", &lanyard_postgres::server().database().unwrap()] {
        let dir = tempfile::tempdir().unwrap();
        let location = Location::parse(database, dir.path()).unwrap();
        let old = Db::of_schema(&location, 10).await.unwrap();
        let mut change = old.begin_write().await.unwrap();
        let (first, second) = (DeviceId::of(&identity(1)), DeviceId::of(&identity(2)));
        for (id, number, name, wireguard) in
            [(first, 291_044_871, "attic-nas", "a"), (second, 300_000_001, "laptop", "b")]
        {
            sql!(
                "INSERT INTO devices (id, number, name, os, agent_version, identity_key, wg_key, created_at, updated_at) \
                 VALUES ($1, $2, $3, 'Linux', '0.1.0', $4, $5, 1, 1)"
            )
            .bind(id.to_string())
            .bind(number)
            .bind(name)
            .bind(identity(if id == first { 1 } else { 2 }).to_string())
            .bind(PublicKey::from_bytes([wireguard.as_bytes()[0]; 32]).to_string())
            .execute(&mut change)
            .await
            .unwrap();
            sql!(
                "INSERT INTO metadata (entity_type, entity_id, key, value, folded, visibility, updated_by, updated_at) \
                 VALUES ('device', $1, 'site', $2, $2, 'members', 'milena', 1)"
            )
            .bind(id.to_string())
            .bind(if id == first { "berlin" } else { "oslo" })
            .execute(&mut change)
            .await
            .unwrap();
        }
        change.commit().await.unwrap();
        old.close().await;

        let index = open_at(&location, Schema::Upgrade, &Arc::default()).await;
        for query in ["attic", "044-871", "linux -oslo", "berlin", "site:berlin", "erli"] {
            assert_eq!(found(&index, query).await, ["attic-nas"], "{query}");
        }
        let about = index.metadata(&Subject::Device { id: second, owner: None }, None).await.unwrap();
        assert_eq!((about[0].key.as_str(), about[0].value.as_str()), ("site", "oslo"));
        describe(&index, 2, Some("attic as well")).await;
        assert_eq!(found(&index, "attic").await, ["attic-nas", "laptop"]);
        assert_eq!(index.integrity_findings().await.unwrap(), Vec::<String>::new());
    }
}
