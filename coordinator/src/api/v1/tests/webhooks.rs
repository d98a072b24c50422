//! Webhooks as programs manage them: secrets that are shown once, addresses that are refused, and who hears of them at all.

use super::*;

const NEW: &str = r#"{"network":"den","url":"https://example.org/T0/pass","events":["member.joined"]}"#;

#[tokio::test]
async fn a_secret_is_shown_when_it_is_drawn_and_never_again() {
    let world = World::open().await;
    let head = world.session("head").await;
    let made = world.ask(&head, "POST", "/webhooks", NEW).await;
    assert_eq!((made.status, made.header("etag").len()), (201, 34), "{}", made.body);
    let secret = made.body["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("whsec_") && secret.len() == 50, "{secret}");
    assert_eq!((&made.body["network"], &made.body["anywhere"]), (&"den".into(), &false.into()));
    let path = format!("/webhooks/{}", made.body["id"].as_str().unwrap());

    let set = world.ask(&head, "PATCH", &path, r#"{"description":"chat"}"#).await;
    assert_eq!((set.status, &set.body["secret"]), (200, &Value::Null), "{}", set.body);
    let again = world.ask(&head, "PATCH", &path, r#"{"new_secret":true}"#).await;
    let other = again.body["secret"].as_str().unwrap().to_owned();
    assert_ne!(secret, other);
    for path in [path.as_str(), "/webhooks", "/webhooks?network=den", "/events?network=den"] {
        let shown = world.ask(&head, "GET", path, "").await;
        assert_eq!(shown.status, 200, "{path}");
        let text = shown.body.to_string();
        assert!(!text.contains(&secret) && !text.contains(&other), "{path}: {text}");
        assert_eq!(text.contains("/T0/pass"), !path.starts_with("/events"), "{path}: {text}");
    }
}

#[tokio::test]
async fn who_does_not_administer_the_server_sends_nothing_to_addresses_inside() {
    let world = World::open().await;
    let (owner, root) = (world.session("owner").await, world.session("root").await);
    let limited = world.token("root", Scope::Write, Some("den")).await;
    let body = |url: &str| format!("{{\"network\":\"den\",\"url\":\"{url}\",\"events\":[\"member.left\"]}}");
    for url in ["http://example.org/", "https://10.0.0.1/", "https://[::1]/", "https://localhost:9/"] {
        for pass in [&owner, &limited] {
            let refused = world.ask(pass, "POST", "/webhooks", &body(url)).await;
            assert_problem(&refused, StatusCode::UNPROCESSABLE_ENTITY, "index.invalid", url);
        }
        let made = world.ask(&root, "POST", "/webhooks", &body(url)).await;
        assert_eq!((made.status, &made.body["anywhere"]), (201, &true.into()), "{url}: {}", made.body);

        // Its address stays what it is while others change something else; another one is theirs.
        let path = format!("/webhooks/{}", made.body["id"].as_str().unwrap());
        let kept = format!("{{\"url\":{},\"description\":\"x\"}}", made.body["url"]);
        let kept = world.ask(&owner, "PATCH", &path, &kept).await;
        assert_eq!((kept.status, &kept.body["anywhere"]), (200, &true.into()), "{url}: {}", kept.body);
        let inside = world.ask(&owner, "PATCH", &path, r#"{"url":"https://127.0.0.2/"}"#).await;
        assert_problem(&inside, StatusCode::UNPROCESSABLE_ENTITY, "index.invalid", url);
        let moved = world.ask(&owner, "PATCH", &path, r#"{"url":"https://example.org/"}"#).await;
        assert_eq!((moved.status, &moved.body["anywhere"]), (200, &false.into()), "{url}: {}", moved.body);
        assert_eq!(world.ask(&owner, "DELETE", &path, "").await.status, 204, "{url}");
    }
}

#[tokio::test]
async fn a_webhook_that_cannot_be_is_refused() {
    let world = World::open().await;
    let root = world.session("root").await;
    let long = format!(
        r#"{{"url":"https://a.org/","events":["device.online"],"description":"{}"}}"#,
        "a".repeat(201)
    );
    for (body, status, code) in [
        (r#"{"url":"https://a.org/","events":[]}"#, 422, "index.invalid"),
        (r#"{"url":"https://a.org/","events":["webhook.test"]}"#, 422, "index.invalid"),
        (r#"{"url":"https://a.org/","events":["device.exploded"]}"#, 422, "index.invalid"),
        (r#"{"url":"nowhere","events":["device.online"]}"#, 422, "index.invalid"),
        (r#"{"url":"https://a:b@a.org/","events":["device.online"]}"#, 422, "index.invalid"),
        (r#"{"url":"https://a.org/","events":["device.online"],"network":"lab"}"#, 404, "index.not_found"),
        (r#"{"url":"https://a.org/","events":["device.online"],"secret":"x"}"#, 422, "api.body"),
        (long.as_str(), 422, "index.invalid"),
    ] {
        let refused = world.ask(&root, "POST", "/webhooks", body).await;
        assert_eq!((refused.status, refused.code()), (status, code), "{body}: {}", refused.body);
    }
    for made in 0..21 {
        let answer = world.ask(&world.session("head").await, "POST", "/webhooks", NEW).await;
        let wanted = if made < 20 { (201, "") } else { (409, "index.state") };
        assert_eq!((answer.status, answer.code()), wanted, "{made}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_webhook_is_changed_as_it_was_seen_and_is_tested_while_it_is_on() {
    let world = World::open().await;
    let head = world.session("head").await;
    let (id, delivery) = world.webhook("den").await;
    let path = format!("/webhooks/{id}");
    let seen = world.ask(&head, "GET", &path, "").await;
    let tag = [("if-match", seen.header("etag"))];
    let off = world.ask_with(&head, "PATCH", &path, &tag, r#"{"disabled":true}"#).await;
    assert!(off.status == 200 && off.body["disabled_at"].is_i64(), "{}", off.body);
    for method in ["PATCH", "DELETE"] {
        let body = if method == "PATCH" { r#"{"disabled":false}"# } else { "" };
        let late = world.ask_with(&head, method, &path, &tag, body).await;
        assert_problem(&late, StatusCode::PRECONDITION_FAILED, "index.changed", method);
    }
    let retry = format!("{path}/deliveries/{delivery}/retry");
    for path in [format!("{path}/test"), retry.clone()] {
        let refused = world.ask(&head, "POST", &path, "").await;
        assert_problem(&refused, StatusCode::CONFLICT, "index.state", &path);
    }
    let given_up = world.ask(&head, "GET", &format!("{path}/deliveries"), "").await;
    assert_eq!(given_up.body["items"][0]["state"], "failed", "{}", given_up.body);
    assert_eq!(world.ask(&head, "PATCH", &path, r#"{"disabled":false}"#).await.status, 200);
    let again = world.ask(&head, "POST", &retry, "").await;
    assert_eq!((again.status, &again.body["state"]), (200, &"pending".into()), "{}", again.body);
    assert_eq!(again.body["payload"]["type"], "webhook.test", "{}", again.body);
    let nothing = world.ask(&head, "POST", &format!("{path}/deliveries/01jx/retry"), "").await;
    assert_problem(&nothing, StatusCode::NOT_FOUND, "index.not_found", "no such delivery");
    let page = world.ask(&head, "GET", &format!("{path}/deliveries?limit=1"), "").await;
    assert_eq!((page.body["items"].as_array().unwrap().len(), &page.body["next"]), (1, &Value::Null));
}
