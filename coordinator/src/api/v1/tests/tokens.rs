//! What a token must not do or hear, however much its user may, and who makes and ends whose.

use super::*;

#[tokio::test]
async fn a_token_that_leaked_makes_neither_a_session_nor_an_administrator() {
    let world = World::open().await;
    let (root, token) = (world.session("root").await, world.token("root", Scope::Write, None).await);
    let (own, guest) = (world.user("root").await.id, world.user("guest").await.id);
    let mighty = "{\"is_server_admin\":true}";
    for (method, path, body) in [
        ("POST", format!("/users/{own}/code"), ""),
        ("POST", format!("/users/{guest}/code"), ""),
        ("PATCH", format!("/users/{guest}"), mighty),
        ("POST", "/users".to_owned(), "{\"name\":\"eve\",\"is_server_admin\":true}"),
    ] {
        let answer = world.ask(&token, method, &path, body).await;
        assert_problem(&answer, StatusCode::FORBIDDEN, "api.session_only", &format!("{method} {path}"));
    }
    assert!(!world.user("guest").await.is_server_admin && world.index.user("eve").await.is_err());
    let answer = world.ask(&token, "POST", "/users", "{\"name\":\"eve\"}").await;
    assert_eq!(answer.status, 201, "a user who may nothing: {}", answer.body);
    let less = world.ask(&token, "PATCH", &format!("/users/{guest}"), "{\"is_server_admin\":false}").await;
    assert_eq!(less.status, 200, "{}", less.body);

    // Signed in, for others: one's own password is changed by who knows it.
    let answer = world.ask(&root, "POST", &format!("/users/{own}/code"), "").await;
    assert_problem(&answer, StatusCode::FORBIDDEN, "index.forbidden", "a code for oneself");
    let code = world.ask(&root, "POST", &format!("/users/{guest}/code"), "").await;
    assert!(code.status == 201 && code.body["url"].as_str().unwrap().contains("/welcome"), "{}", code.body);
    assert_eq!(world.ask(&root, "PATCH", &format!("/users/{guest}"), mighty).await.status, 200);
}

#[tokio::test]
async fn a_token_hears_nothing_of_sessions_and_of_other_tokens() {
    let world = World::open().await;
    let (root, token) = (world.session("root").await, world.token("root", Scope::Read, None).await);
    let own = world.token("guest", Scope::Read, None).await;
    let kinds = async |pass: &Pass, path: &str| -> Vec<String> {
        let events = world.ask(pass, "GET", path, "").await.body;
        let events = events["items"].as_array().unwrap().iter();
        events.map(|event| event["entity_type"].as_str().unwrap().to_owned()).collect()
    };
    let session = world.session("guest").await;
    for (pass, hears) in [(&root, true), (&token, false), (&session, true), (&own, false)] {
        let all = kinds(pass, "/events?limit=500").await;
        assert_eq!(all.iter().any(|kind| kind == "session"), hears, "{all:?}");
        assert!(all.iter().any(|kind| kind == "user"), "{all:?}");
        assert_eq!(kinds(pass, "/events?entity=session").await.is_empty(), !hears);
    }
    assert!(!kinds(&root, "/events?entity=token").await.is_empty());
    assert_eq!(kinds(&token, "/events?entity=token").await, Vec::<String>::new());
}

#[tokio::test]
async fn an_administrator_of_the_server_sees_and_ends_tokens_of_others_and_makes_those_of_services() {
    let world = World::open().await;
    let (root, guest) = (world.session("root").await, world.user("guest").await.id);
    let robot = world.ask(&root, "POST", "/users", "{\"name\":\"robot\",\"kind\":\"service\"}").await;
    let robot = robot.body["id"].as_str().unwrap().to_owned();
    let body = |user: &str| format!("{{\"name\":\"ci\",\"scope\":\"read\",\"user_id\":\"{user}\"}}");
    let refused = world.ask(&root, "POST", "/me/tokens", &body(&guest)).await;
    assert_problem(&refused, StatusCode::FORBIDDEN, "index.forbidden", "a token of another person");
    let made = world.ask(&root, "POST", "/me/tokens", &body(&robot)).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let pass = Pass(format!("authorization: Bearer {}", made.body["secret"].as_str().unwrap()));
    world.token("guest", Scope::Write, None).await;
    for (user, name) in [(&robot, "ci"), (&guest, "test")] {
        let of = format!("/me/tokens?user_id={user}");
        let list = world.ask(&root, "GET", &of, "").await.body;
        assert_eq!(list["items"][0]["name"], name, "{list}");
        let path = format!("/me/tokens/{}", list["items"][0]["id"].as_str().unwrap());
        for other in ["owner", "head"] {
            let other = world.session(other).await;
            for (method, path) in [("GET", of.clone()), ("DELETE", format!("{path}?user_id={user}"))] {
                let answer = world.ask(&other, method, &path, "").await;
                assert_problem(&answer, StatusCode::FORBIDDEN, "index.forbidden", &path);
            }
        }
        assert_eq!(world.ask(&root, "DELETE", &path, "").await.status, 404, "it is not root's own");
        assert_eq!(world.ask(&root, "DELETE", &format!("{path}?user_id={user}"), "").await.status, 204);
        let list = world.ask(&root, "GET", &of, "").await.body;
        assert_eq!(list["items"].as_array().unwrap().len(), 0, "{list}");
    }
    assert_eq!(world.ask(&pass, "GET", "/me", "").await.status, 401, "it opens nothing any more");
    let own = format!("/me/tokens?user_id={guest}");
    assert_eq!(world.ask(&world.session("guest").await, "GET", &own, "").await.status, 200, "oneself");
}
