//! The document: valid, complete in itself, and the same as what is served.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::document;
use super::{Pass, World};

/// Every `$ref` of a document.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value.as_str() {
                    Some(target) if key == "$ref" => drop(found.insert(target.to_owned())),
                    _ => references(value, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| references(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test]
async fn the_document_is_served_to_anybody_and_is_complete_in_itself() {
    let world = World::open().await;
    let answer = world.ask(&Pass(String::new()), "GET", "/openapi.json", "").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/json"));
    let document = answer.body;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{}", document["openapi"]);
    assert_eq!(document["info"]["title"], "lanyard");
    let mut targets = BTreeSet::new();
    references(&document, &mut targets);
    assert!(targets.len() > 20, "{targets:?}");
    for target in targets {
        let pointer = target.strip_prefix('#').unwrap_or_else(|| panic!("{target} leads elsewhere"));
        assert!(document.pointer(pointer).is_some(), "{target} leads nowhere");
    }
}

#[test]
fn each_operation_has_a_name_of_its_own_its_parameters_and_the_way_it_fails() {
    let document: Value = serde_json::from_str(&document().to_json().unwrap()).unwrap();
    let mut names = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        assert!(path.starts_with("/api/v1/"), "{path}");
        let wanted: BTreeSet<&str> =
            path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        for (method, operation) in item.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{name} names two operations");
            assert!(
                !operation["summary"].as_str().unwrap_or_default().is_empty(),
                "{method} {path} says nothing"
            );
            let failed =
                &operation["responses"]["default"]["content"]["application/problem+json"]["schema"]["$ref"];
            assert_eq!(failed, "#/components/schemas/Problem", "{method} {path}");
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let named = parameters.iter().filter(|parameter| parameter["in"] == "path");
            let named: BTreeSet<&str> = named.map(|parameter| parameter["name"].as_str().unwrap()).collect();
            assert_eq!(named, wanted, "{method} {path}");
        }
    }
    assert!(names.len() >= 40, "{}", names.len());
}

/// The copy that the types of the panel are made of; they are made without a server.
#[test]
fn the_copy_in_web_is_the_document() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../web/openapi.json");
    let document: Value = serde_json::from_str(&document().to_json().unwrap()).unwrap();
    let text = format!("{document:#}\n");
    if std::env::var_os("LANYARD_RENEW").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let copy = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        copy == text,
        "web/openapi.json is not what the handlers declare: `make types` renews it, and the types made of it"
    );
}

#[test]
fn what_an_answer_has_is_always_there_and_what_is_sent_may_be_left_out() {
    let document: Value = serde_json::from_str(&document().to_json().unwrap()).unwrap();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let of = |schema: &Value| {
        let properties = schema["properties"].as_object().map_or(0, serde_json::Map::len);
        (properties, schema["required"].as_array().map_or(0, Vec::len))
    };
    let (mut answers, mut sent) = (0, 0);
    for (name, schema) in schemas {
        let (properties, required) = of(schema);
        if name.ends_with("Body") {
            sent += usize::from(required < properties);
        } else {
            assert_eq!(properties, required, "{name}");
            answers += usize::from(properties > 0);
        }
    }
    assert!(answers > 15 && sent > 5, "{answers} and {sent}");
}
