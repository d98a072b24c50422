//! Signing in at an OIDC provider, at the pages of a running coordinator and a provider that is one, flaws included.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod browser;
mod provider;
mod server;

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::browser::{Answer, Browser, HOME, PASSWORD, Site};
use self::provider::{CLIENT, Flaw, Provider, SECRET};
use self::server::Directory;

/// Settings for a provider at that address.
fn settings(id: &str, issuer: &str, more: &str) -> String {
    format!(
        "[[oidc]]\nid = \"{id}\"\nname = \"Work\"\nissuer = \"{issuer}\"\nclient_id = \"{CLIENT}\"\n\
         client_secret_file = \"team.secret\"\ngroups_claim = \"groups\"\n{more}\n"
    )
}

/// A server with these settings besides.
fn site(settings: &str) -> Site {
    let directory = Directory::made();
    std::fs::write(directory.path().join("team.secret"), format!("{SECRET}\n")).unwrap();
    let file = directory.path().join("lanyard-server.toml");
    let mut file = std::fs::OpenOptions::new().append(true).open(file).unwrap();
    file.write_all(format!("\n{settings}").as_bytes()).unwrap();
    Site::of(directory, &[("WEB_URL", "https://lan.example".to_owned())])
}

/// What a server asks of a provider, from where it sends the browser.
fn asked(url: &str) -> HashMap<String, String> {
    url::Url::parse(url).unwrap().query_pairs().into_owned().collect()
}

/// Goes to the provider, where somebody with these claims agrees, and comes back.
fn through(site: &Site, browser: &mut Browser, provider: &Provider, claims: Value, flaw: Flaw) -> Answer {
    let sent = browser.get(site, "/signin/oidc/team");
    assert_eq!(sent.status, 303, "{}", sent.body);
    let asked = asked(sent.location());
    assert_eq!(asked["redirect_uri"], "https://lan.example/signin/oidc/team/callback");
    let code = provider.agree(&asked, claims, flaw);
    browser.get(site, &format!("/signin/oidc/team/callback?code={code}&state={}", asked["state"]))
}

#[test]
fn somebody_new_becomes_a_user_and_their_groups_give_roles() {
    let provider = Provider::start();
    let site = site(&settings(
        "team",
        &provider.issuer,
        "create_users = true\nadmin_groups = [\"root\"]\nroles = [{ group = \"staff\", network = \"home\", role = \"member\" }, \
         { group = \"network\", network = \"home\", role = \"admin\" }, { group = \"x\", network = \"gone\", role = \"guest\" }]",
    ));
    site.founded();
    assert_eq!(provider.asked(), 0, "nothing is asked before somebody wants to sign in");
    assert!(Browser::default().get(&site, "/signin").body.contains("href=\"/signin/oidc/team\""));
    let claims = |groups: Value| json!({ "sub": "a-1", "preferred_username": "Anna", "name": "Anna A.", "groups": groups });
    let enter = |groups: Value| {
        let mut browser = Browser::default();
        let entered = through(&site, &mut browser, &provider, claims(groups), Flaw::None);
        assert_eq!((entered.status, entered.location()), (303, HOME), "{}", entered.body);
        assert_eq!(browser.cookie("lanyard-ceremony"), None, "dropped");
        browser.get(&site, "/account").body
    };
    let page = enter(json!(["staff", "network"]));
    assert!(
        page.contains("Anna A.") && page.contains("<b>anna</b>") && page.contains(">admin</td>"),
        "{page}"
    );
    assert!(!page.contains("autocomplete=\"new-password\""), "no password to change: {page}");
    let shown = site.run(&["user", "show", "anna"]);
    assert!(
        shown.contains("\"is_server_admin\":false") || shown.contains("\"is_server_admin\": false"),
        "{shown}"
    );

    assert!(enter(json!(["staff"])).contains(">member</td>"), "read again at each sign-in");
    assert!(enter(json!("root")).contains("an administrator of this server"), "one group, as a text");
    let page = enter(json!([]));
    assert!(page.contains("no role in a network") && !page.contains("an administrator"), "{page}");
    site.run(&["role", "set", "home", "anna", "guest"]);
    assert!(enter(json!(["network"])).contains(">guest</td>"), "what somebody here gave stays");
    assert!(enter(json!([])).contains(">guest</td>"));
    site.run(&["user", "set", "anna", "--disabled", "yes"]);
    let out = through(&site, &mut Browser::default(), &provider, claims(json!([])), Flaw::None);
    assert_eq!(out.status, 403, "{}", out.body);
}

#[test]
fn a_token_with_a_flaw_lets_nobody_in_and_makes_nobody() {
    let provider = Provider::start();
    let site = site(&settings("team", &provider.issuer, "create_users = true"));
    let flaws = [
        Flaw::Nonce,
        Flaw::NoNonce,
        Flaw::Audience,
        Flaw::Expired,
        Flaw::NoExpiry,
        Flaw::NotYet,
        Flaw::Issuer,
        Flaw::Signature,
        Flaw::AnotherKey,
        Flaw::SharedSecret,
        Flaw::Unsigned,
        Flaw::Party,
        Flaw::SeveralWithoutParty,
        Flaw::NoSubject,
        Flaw::Garbage,
    ];
    for (place, flaw) in flaws.into_iter().enumerate() {
        // Each from an address of its own, so that none is told to wait.
        let mut browser = Browser::from(&format!("10.1.0.{place}"));
        let answer = through(&site, &mut browser, &provider, json!({ "sub": "a-1" }), flaw);
        assert!(answer.status == 502 && answer.body.contains("did not work"), "{flaw:?}: {}", answer.body);
        assert_eq!(browser.cookie("lanyard"), None, "{flaw:?}");
    }
    assert_eq!(site.run(&["user", "list"]).matches("\"name\"").count(), 0, "nobody was made");
    let mut browser = Browser::from("10.1.0.99");
    let answer = through(&site, &mut browser, &provider, json!({ "sub": "a-1" }), Flaw::None);
    assert_eq!(answer.location(), HOME, "{}", answer.body);
}

#[test]
fn a_state_and_a_code_count_once_and_for_the_browser_that_was_sent() {
    let provider = Provider::start();
    let text = settings("team", &provider.issuer, "create_users = true");
    let other = Provider::start();
    let site = site(&format!("{text}{}", settings("other", &other.issuer, "create_users = true")));
    let refused = |answer: &Answer, why: &str| {
        assert!((400..=502).contains(&answer.status) && answer.status != 429, "{why}: {}", answer.head);
        assert!(!answer.head.contains("lanyard="), "{why}: {}", answer.head);
    };
    let mut browser = Browser::default();
    let sent = asked(browser.get(&site, "/signin/oidc/team").location());
    let code = provider.agree(&sent, json!({ "sub": "a-1" }), Flaw::None);
    let back = format!("/signin/oidc/team/callback?code={code}&state={}", sent["state"]);
    let mut carried = browser.clone();
    assert_eq!(browser.get(&site, &back).location(), HOME);
    refused(&carried.clone().get(&site, &back), "the same again");

    let again = asked(carried.clone().get(&site, "/signin/oidc/team").location());
    let replayed = format!("/signin/oidc/team/callback?code={code}&state={}", again["state"]);
    let mut owner = Browser::default();
    let third = asked(owner.get(&site, "/signin/oidc/team").location());
    refused(&carried.get(&site, &replayed), "another's slip");
    let replayed = format!("/signin/oidc/team/callback?code={code}&state={}", third["state"]);
    refused(&owner.get(&site, &replayed), "a code that was used");

    let mut victim = Browser::default();
    let sent = asked(Browser::default().get(&site, "/signin/oidc/team").location());
    let code = provider.agree(&sent, json!({ "sub": "evil" }), Flaw::None);
    let planted = format!("/signin/oidc/team/callback?code={code}&state={}", sent["state"]);
    refused(&victim.get(&site, &planted), "somebody else's sign-in");

    let mut mixed = Browser::default();
    let sent = asked(mixed.get(&site, "/signin/oidc/team").location());
    let code = provider.agree(&sent, json!({ "sub": "a-1" }), Flaw::None);
    let elsewhere = format!("/signin/oidc/other/callback?code={code}&state={}", sent["state"]);
    refused(&mixed.get(&site, &elsewhere), "another provider's way back");
    for odd in
        ["/signin/oidc/none", "/signin/oidc/team/callback", "/signin/oidc/team/callback?state=%00&code=%F0"]
    {
        refused(&Browser::from("10.1.0.1").get(&site, odd), odd);
    }
}

#[test]
fn an_account_is_linked_by_its_subject_whatever_it_is_called() {
    let provider = Provider::start();
    let site = site(&settings("team", &provider.issuer, ""));
    let mut milena = site.founded();
    let named = |subject: &str| json!({ "sub": subject, "preferred_username": "milena", "email": "milena@example.org", "email_verified": true });
    let stranger = through(&site, &mut Browser::default(), &provider, named("m-1"), Flaw::None);
    assert!(
        stranger.status == 403 && stranger.body.contains("Nobody here"),
        "a name is nobody: {}",
        stranger.body
    );

    let wrong = milena.post(&site, "/account/identities/team/link", "password=not+this+one");
    assert!(wrong.status == 403 && wrong.body.contains("not your password now"), "{}", wrong.body);
    let page = milena.post(&site, "/account/identities/team/link", &format!("password={PASSWORD}"));
    let url = page.body.split('"').find(|part| part.contains("/authorize?")).unwrap().replace("&#38;", "&");
    let sent = asked(&url.replace("&amp;", "&"));
    let code = provider.agree(&sent, named("m-1"), Flaw::None);
    let back = format!("/signin/oidc/team/callback?code={code}&state={}", sent["state"]);
    let mut other = Browser::default();
    assert_ne!(other.get(&site, &back).location(), "/account/identities?done=linked", "in another browser");
    let page = milena.post(&site, "/account/identities/team/link", &format!("password={PASSWORD}"));
    let url = page.body.split('"').find(|part| part.contains("/authorize?")).unwrap().replace("&#38;", "&");
    let sent = asked(&url.replace("&amp;", "&"));
    let code = provider.agree(&sent, named("m-1"), Flaw::None);
    let back = format!("/signin/oidc/team/callback?code={code}&state={}", sent["state"]);
    let linked = milena.get(&site, &back);
    assert_eq!(linked.location(), "/account/identities?done=linked", "{}", linked.body);

    let renamed = json!({ "sub": "m-1", "preferred_username": "someone-else", "email": "new@example.org" });
    let mut browser = Browser::default();
    assert_eq!(through(&site, &mut browser, &provider, renamed, Flaw::None).location(), HOME);
    assert!(browser.get(&site, "/account").body.contains("<b>milena</b>"), "the same subject");
    let stranger = through(&site, &mut Browser::from("10.1.0.2"), &provider, named("m-2"), Flaw::None);
    assert_eq!(stranger.status, 403, "the same address and name, another subject: {}", stranger.body);

    let page = milena.get(&site, "/account/identities").body;
    assert!(page.contains("milena") && page.contains("Work"), "{page}");
    let unlink = page.split('"').find(|part| part.ends_with("/unlink")).unwrap();
    assert_eq!(milena.post(&site, unlink, "").location(), "/account/identities?done=unlinked");
    let after = through(&site, &mut Browser::from("10.1.0.3"), &provider, named("m-1"), Flaw::None);
    assert_eq!(after.status, 403, "{}", after.body);
}

#[test]
fn a_provider_that_changes_its_key_goes_on_working() {
    let provider = Provider::start();
    let site = site(&settings("team", &provider.issuer, "create_users = true"));
    for _ in 0..2 {
        let mut browser = Browser::default();
        let entered = through(&site, &mut browser, &provider, json!({ "sub": "a-1" }), Flaw::None);
        assert_eq!(entered.location(), HOME, "{}", entered.body);
        provider.change_key();
    }
    assert_eq!(site.run(&["user", "list"]).matches("\"name\"").count(), 1, "one user");
}

#[test]
fn a_provider_that_is_down_or_hangs_stops_nobody_else() {
    // Nobody accepts there: connections are made by the kernel, and nothing is ever answered.
    let hangs = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", hangs.local_addr().unwrap());
    let down = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = format!("http://{}", down.local_addr().unwrap());
    drop(down);
    let site = site(&format!("{}{}", settings("team", &address, ""), settings("gone", &gone, "")));
    site.founded();
    let answer = Browser::default().get(&site, "/signin/oidc/gone");
    assert!(answer.status == 502 && answer.body.contains("did not work"), "{}", answer.body);
    assert!(
        answer.body.contains("autocomplete=\"current-password\""),
        "the other ways are there: {}",
        answer.body
    );
    std::thread::scope(|threads| {
        let begun = Instant::now();
        let address = site.address;
        let waits = threads.spawn(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            let request = b"GET /signin/oidc/team HTTP/1.1\r\nHost: lan.example\r\nConnection: close\r\n\r\n";
            stream.write_all(request).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        let mut browser = Browser::default();
        let entered = browser.post(&site, "/signin", &format!("name=milena&password={PASSWORD}"));
        assert_eq!(entered.location(), HOME, "{}", entered.body);
        assert!(!waits.is_finished(), "the provider has not given up yet");
        let answer = waits.join().unwrap();
        assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
        assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    });
}
