//! What holds for every request: how it is refused, repeated, compared with what was seen, and cut into pages.

use super::*;

#[tokio::test]
async fn what_is_no_request_of_ours_is_answered_by_a_problem_too() {
    let world = World::open().await;
    let root = world.session("root").await;
    let nobody = Pass(String::new());
    let long = format!("{{\"name\":\"{}\"}}", "a".repeat(70_000));
    for (pass, method, path, head, body, status, code) in [
        (&nobody, "GET", "/nowhere", &[][..], "", 404, "api.no_route"),
        (&nobody, "GET", "", &[], "", 404, "api.no_route"),
        (&root, "DELETE", "/me", &[], "", 405, "api.method"),
        (&nobody, "GET", "/me", &[], "", 401, "api.unauthenticated"),
        (&nobody, "GET", "/me", &[("authorization", "Bearer lyt_no")], "", 401, "api.unauthenticated"),
        // A token that is none is refused, however good the cookie is.
        (&root, "GET", "/me", &[("authorization", "Basic YTpi")], "", 401, "api.unauthenticated"),
        (&root, "POST", "/networks", &[], "{", 400, "api.body"),
        (&root, "POST", "/networks", &[], "", 415, "api.body"),
        (&root, "POST", "/networks", &[], "{\"name\":7}", 422, "api.body"),
        (&root, "POST", "/networks", &[], "{\"name\":\"lab\",\"colour\":\"red\"}", 422, "api.body"),
        (&root, "POST", "/networks", &[], &long, 413, "api.too_long"),
        (&root, "POST", "/networks", &[], "{\"name\":\"no such name\"}", 422, "index.invalid"),
        (&root, "POST", "/networks", &[], "{\"name\":\"den\"}", 409, "index.taken"),
        (
            &root,
            "POST",
            "/networks",
            &[],
            "{\"name\":\"lab\",\"join_mode\":\"password\"}",
            422,
            "index.invalid",
        ),
        (&root, "POST", "/users", &[], "{\"name\":\"a\",\"display_name\":\"\\u0000\"}", 422, "index.invalid"),
        (&root, "GET", "/users/a%00b", &[], "", 422, "index.invalid"),
        (&root, "GET", "/users/%ff", &[], "", 400, "api.query"),
        (&root, "GET", "/users?limit=0", &[], "", 400, "api.query"),
        (&root, "GET", "/users?limit=501", &[], "", 400, "api.query"),
        (&root, "GET", "/users?after=x", &[], "", 400, "api.query"),
        (&root, "GET", "/users?colour=red", &[], "", 400, "api.query"),
        (&root, "GET", "/devices?online=maybe", &[], "", 400, "api.query"),
        (&root, "GET", "/live?after=x", &[], "", 400, "api.query"),
        (&root, "PATCH", "/networks/den", &[("if-match", "abc")], "{}", 400, "api.query"),
        (
            &root,
            "POST",
            "/networks",
            &[("sec-fetch-site", "cross-site")],
            "{\"name\":\"lab\"}",
            403,
            "api.foreign",
        ),
        (
            &root,
            "POST",
            "/networks",
            &[("origin", "https://evil.example")],
            "{\"name\":\"lab\"}",
            403,
            "api.foreign",
        ),
    ] {
        let answer = world.ask_with(pass, method, path, head, body).await;
        assert_problem(
            &answer,
            StatusCode::from_u16(status).unwrap(),
            code,
            &format!("{method} {path} {head:?}"),
        );
        assert_eq!(
            answer.header("x-content-type-options"),
            if code == "api.foreign" { "" } else { "nosniff" }
        );
    }
}

#[tokio::test]
async fn a_secret_that_everybody_on_the_way_could_read_is_not_taken() {
    let world = World::open().await;
    let mut request = request(&world.session("root").await, "GET", "/me", &[], "");
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([203, 0, 113, 9], 1))));
    assert_eq!(world.send(request).await.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn who_goes_on_showing_what_opens_nothing_is_told_to_wait() {
    let world = World::open().await;
    let stranger = Pass("authorization: Bearer lyt_nothing".to_owned());
    let mut statuses = Vec::new();
    for _ in 0..80 {
        statuses.push(world.ask(&stranger, "GET", "/me", "").await.status);
    }
    assert_eq!((statuses[0], statuses[79]), (401, 429), "{statuses:?}");
    let last = world.ask(&stranger, "GET", "/me", "").await;
    assert!(last.code() == "api.too_many" && last.header("retry-after").parse::<u64>().unwrap() >= 1);
    assert_eq!(
        world.ask(&world.session("guest").await, "GET", "/me", "").await.status,
        200,
        "whoever is known may go on"
    );
}

#[tokio::test]
async fn a_request_that_is_sent_twice_with_one_key_is_carried_out_once() {
    let world = World::open().await;
    let owner = world.session("owner").await;
    let key = [("idempotency-key", "one")];
    let (path, body) = ("/networks/den/invites", "{\"max_uses\":3}");
    let before = world.index.invites(None).await.unwrap().len();
    let first = world.ask_with(&owner, "POST", path, &key, body).await;
    assert_eq!(first.status, 201, "{}", first.body);
    assert!(first.body["join_string"].as_str().unwrap().contains("vpn.example.org"), "{}", first.body);
    assert!(first.body["join_url"].as_str().unwrap().contains("/join/"), "{}", first.body);
    let second = world.ask_with(&owner, "POST", path, &key, body).await;
    assert_eq!(
        (second.status, &second.body),
        (201, &first.body),
        "the secret is shown to who did not hear it"
    );
    assert_eq!(world.index.invites(None).await.unwrap().len(), before + 1);
    let other = world.ask_with(&owner, "POST", path, &key, "{\"max_uses\":4}").await;
    assert_problem(&other, StatusCode::UNPROCESSABLE_ENTITY, "api.key_reused", "another body");
    let elsewhere = world.ask_with(&owner, "POST", "/networks/den/owner", &key, body).await;
    assert_problem(&elsewhere, StatusCode::UNPROCESSABLE_ENTITY, "api.key_reused", "another route");

    let token = world.token("owner", Scope::Write, Some("den")).await;
    let third = world.ask_with(&token, "POST", path, &key, body).await;
    assert!(third.status == 201 && third.body["code"] != first.body["code"], "a token has keys of its own");

    // What was refused changed nothing, so its key is free.
    let key = [("idempotency-key", "two")];
    let body = "{\"max_uses\":0}";
    for _ in 0..2 {
        let refused = world.ask_with(&owner, "POST", path, &key, body).await;
        assert_problem(&refused, StatusCode::UNPROCESSABLE_ENTITY, "index.invalid", "refused");
    }
    assert_eq!(world.ask_with(&owner, "POST", path, &key, "{}").await.status, 201);
    let nobody = world.ask_with(&Pass(String::new()), "POST", path, &key, "{}").await;
    assert_problem(&nobody, StatusCode::UNAUTHORIZED, "api.unauthenticated", "a key lets nobody in");
}

#[tokio::test]
async fn a_change_of_what_looks_different_by_now_is_refused() {
    let world = World::open().await;
    let root = world.session("root").await;
    let member = format!("/networks/den/members/{}", world.member("den", 2).await);
    let user = format!("/users/{}", world.user("guest").await.id);
    let own = format!("/devices/{}", device(1));
    for (path, first, second) in [
        ("/networks/den", "{\"approve\":\"manual\"}", "{\"approve\":\"auto\"}"),
        (&user, "{\"display_name\":\"A guest\"}", "{\"display_name\":\"B\"}"),
        (&member, "{\"name\":\"nas\"}", "{\"name\":\"printer\"}"),
        (&own, "{\"name\":\"laptop\"}", "{\"suspended\":true}"),
    ] {
        let seen = world.ask(&root, "GET", path, "").await;
        let tag = seen.header("etag").to_owned();
        assert_eq!(tag.len(), 34, "{path}: {tag}");
        let matching = [("if-match", tag.as_str())];
        let changed = world.ask_with(&root, "PATCH", path, &matching, first).await;
        assert_eq!(changed.status, 200, "{path}: {}", changed.body);
        assert_ne!(changed.header("etag"), tag, "{path}");
        let late = world.ask_with(&root, "PATCH", path, &matching, second).await;
        assert_problem(&late, StatusCode::PRECONDITION_FAILED, "index.changed", path);
        let now = world.ask(&root, "GET", path, "").await;
        assert_eq!((&now.body, now.header("etag")), (&changed.body, changed.header("etag")), "{path}");
        assert_eq!(
            world.ask_with(&root, "PATCH", path, &[("if-match", "*")], second).await.status,
            200,
            "{path}"
        );
    }
    let suspended =
        world.ask(&root, "GET", &format!("/networks/den/members/{}", world.member("den", 1).await), "").await;
    assert_eq!(suspended.body["state"], "suspended", "its device is");
    let late = world.ask_with(&root, "DELETE", "/networks/den", &[("if-match", "\"0\"")], "").await;
    assert_problem(&late, StatusCode::PRECONDITION_FAILED, "index.changed", "a network taken away");
}

#[tokio::test]
async fn a_list_is_read_page_by_page() {
    let world = World::open().await;
    let root = world.session("root").await;
    let (mut names, mut path) = (Vec::new(), "/users?limit=3".to_owned());
    loop {
        let page = world.ask(&root, "GET", &path, "").await;
        names.extend(
            page.body["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|user| user["name"].as_str().unwrap().to_owned()),
        );
        match page.body["next"].as_str() {
            Some(next) => path = format!("/users?limit=3&after={next}"),
            None => break,
        }
    }
    assert_eq!(names, ["foreigner", "guest", "head", "member", "owner", "root", "stranger"]);
    let found = world.ask(&root, "GET", "/users?q=Own", "").await;
    assert_eq!(found.body["items"].as_array().unwrap().len(), 1);
    let filtered = format!("/devices?network=den&user={}&online=true&q=vice", world.user("member").await.id);
    let found = world.ask(&root, "GET", &filtered, "").await;
    assert_eq!(found.body["items"].as_array().unwrap().len(), 1, "{}", found.body);
    let events = world.ask(&root, "GET", "/events?network=den&entity=network", "").await;
    assert_eq!(events.body["items"][0]["code"], "network.add", "{}", events.body);
}

#[tokio::test]
async fn what_is_private_is_shown_to_whom_it_concerns() {
    let world = World::open().await;
    let member = world.user("member").await;
    let mail = UserWishes { email: Some("m@example.org".to_owned()), ..UserWishes::default() };
    world.index.set_user("member", &mail, &admin()).await.unwrap();
    let seen = crate::index::devices::Presence {
        device: device(1),
        online: true,
        ip: Some([203, 0, 113, 9].into()),
    };
    world.index.record_presence(&[seen]).await.unwrap();
    for (who, shows) in [("member", true), ("root", true), ("owner", false), ("head", false)] {
        let pass = world.session(who).await;
        let user = world.ask(&pass, "GET", &format!("/users/{}", member.id), "").await;
        assert_eq!(user.body["email"].is_string(), shows, "{who}: {}", user.body);
        let machine = world.ask(&pass, "GET", &format!("/devices/{}", device(1)), "").await;
        assert_eq!(machine.body["last_ip"].is_string(), shows, "{who}: {}", machine.body);
    }
}

#[tokio::test]
async fn the_snapshot_is_what_the_lists_show() {
    let world = World::open().await;
    world.link(1, 2).await;
    world.index.record_links(&[(device(1), super::links::report(2, 1_000))]).await.unwrap();
    for who in ["root", "owner", "guest", "foreigner", "stranger"] {
        let pass = world.session(who).await;
        let snapshot = world.ask(&pass, "GET", "/snapshot", "").await.body;
        for kind in ["users", "networks", "devices"] {
            let list = world.ask(&pass, "GET", &format!("/{kind}"), "").await.body;
            assert_eq!(snapshot[kind], list["items"], "{who} {kind}");
        }
        // Those are listed for each network by itself.
        for kind in ["members", "links"] {
            let mut listed = Vec::new();
            for network in snapshot["networks"].as_array().unwrap() {
                let path = format!("/networks/{}/{kind}", network["name"].as_str().unwrap());
                let list = world.ask(&pass, "GET", &path, "").await.body;
                listed.extend(list["items"].as_array().unwrap().iter().map(Value::to_string));
            }
            let all = snapshot[kind].as_array().unwrap().iter().map(Value::to_string);
            let all: std::collections::BTreeSet<String> = all.collect();
            assert_eq!(all.len(), listed.len(), "{who} {kind}");
            assert_eq!(all, listed.into_iter().collect(), "{who} {kind}");
        }
        let sees_links = !matches!(who, "foreigner" | "stranger");
        assert_eq!(snapshot["links"].as_array().unwrap().len(), usize::from(sees_links), "{who}");
        assert_eq!(snapshot["me"], world.ask(&pass, "GET", "/me", "").await.body, "{who}");
        assert_eq!(snapshot["revision"], world.index.snapshot().await.unwrap().cursor);
    }
}

#[tokio::test]
async fn a_token_for_a_service_is_made_by_an_administrator_of_the_server() {
    let world = World::open().await;
    let root = world.session("root").await;
    let robot = world.ask(&root, "POST", "/users", "{\"name\":\"robot\",\"kind\":\"service\"}").await;
    assert_eq!(robot.status, 201, "{}", robot.body);
    let body = format!("{{\"name\":\"ci\",\"scope\":\"write\",\"user_id\":{}}}", robot.body["id"]);
    let made = world.ask(&root, "POST", "/me/tokens", &body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let pass = Pass(format!("authorization: Bearer {}", made.body["secret"].as_str().unwrap()));
    let me = world.ask(&pass, "GET", "/me", "").await;
    assert_eq!((&me.body["user"]["name"], &me.body["via"]), (&"robot".into(), &"token".into()));
    let again = world.ask(&pass, "POST", "/me/tokens", "{\"name\":\"more\",\"scope\":\"write\"}").await;
    assert_problem(&again, StatusCode::FORBIDDEN, "api.session_only", "a token makes no tokens");
}

#[tokio::test]
async fn what_a_body_says_is_never_passed_over() {
    let world = World::open().await;
    let owner = world.session("owner").await;
    let before = world.index.invites(None).await.unwrap().len();
    let path = "/networks/den/invites";
    for kind in [None, Some("application/x-www-form-urlencoded"), Some("text/plain")] {
        let mut request = request(&owner, "POST", path, &[], "{\"auto_approve\":false}");
        request.headers_mut().remove("content-type");
        if let Some(kind) = kind {
            request.headers_mut().insert("content-type", kind.parse().unwrap());
        }
        assert_eq!(world.send(request).await.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind:?}");
    }
    assert_eq!(world.index.invites(None).await.unwrap().len(), before);
    let made = world.ask(&owner, "POST", path, "{\"auto_approve\":false}").await;
    assert_eq!((made.status, &made.body["auto_approve"]), (201, &false.into()), "{}", made.body);
    let made = world.ask(&owner, "POST", path, "").await;
    assert_eq!(
        (made.status, &made.body["auto_approve"]),
        (201, &true.into()),
        "nothing is said: {}",
        made.body
    );
}

#[tokio::test]
async fn an_answer_that_is_given_again_names_its_version_and_another_version_is_another_request() {
    let world = World::open().await;
    let root = world.session("root").await;
    let key = ("idempotency-key", "one");
    let first = world.ask_with(&root, "POST", "/networks", &[key], "{\"name\":\"lab\"}").await;
    let again = world.ask_with(&root, "POST", "/networks", &[key], "{\"name\":\"lab\"}").await;
    assert_eq!((first.status, first.header("etag").len()), (201, 34), "{}", first.body);
    assert_eq!((again.status, &again.body, again.header("etag")), (201, &first.body, first.header("etag")));
    let member = format!("/networks/den/members/{}", world.member("den", 1).await);
    let path = format!("{member}/suspend");
    let seen = world.ask(&root, "GET", &member, "").await;
    let (key, tag) = (("idempotency-key", "two"), ("if-match", seen.header("etag")));
    assert_eq!(world.ask_with(&root, "POST", &path, &[key, tag], "").await.status, 200);
    assert_eq!(world.ask_with(&root, "POST", &path, &[key, tag], "").await.status, 200, "the same request");
    let other = world.ask_with(&root, "POST", &path, &[key, ("if-match", "\"0\"")], "").await;
    assert_problem(&other, StatusCode::UNPROCESSABLE_ENTITY, "api.key_reused", "meant for another state");
}

#[tokio::test]
async fn there_are_few_snapshots_at_a_time_and_who_does_not_get_one_is_told_when_to_ask_again() {
    let world = World::open().await;
    let (root, owner) = (world.session("root").await, world.session("owner").await);
    let unread = world.send(request(&root, "GET", "/snapshot", &[], "")).await;
    assert_eq!(unread.status(), StatusCode::OK);
    let second = world.ask(&root, "GET", "/snapshot", "").await;
    assert_problem(&second, StatusCode::SERVICE_UNAVAILABLE, "api.crowded", "a second one of one user");
    assert_eq!(second.header("retry-after"), "5");
    let other = world.send(request(&owner, "GET", "/snapshot", &[], "")).await;
    assert_eq!(other.status(), StatusCode::OK, "there are two of all");
    let third = world.ask(&world.session("head").await, "GET", "/snapshot", "").await;
    assert_problem(&third, StatusCode::SERVICE_UNAVAILABLE, "api.crowded", "a third one of all");
    let length: usize = unread.headers()["content-length"].to_str().unwrap().parse().unwrap();
    assert_eq!(to_bytes(unread.into_body(), 1 << 24).await.unwrap().len(), length);
    drop(other);
    assert_eq!(world.ask(&root, "GET", "/snapshot", "").await.status, 200, "it is read");
}
