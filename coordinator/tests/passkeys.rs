//! Passkeys at the pages of a running coordinator, with a device in software.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod authenticator;
mod browser;
mod server;

use serde_json::{Value, json};

use self::authenticator::Authenticator;
use self::browser::{Answer, Browser, HOME, PASSWORD, Site};

const ORIGIN: &str = "https://lan.example";
const NAME: &str = "lan.example";

fn site() -> Site {
    Site::with(&[("WEB_URL", ORIGIN.to_owned())])
}

/// Whoever types it.
fn password() -> String {
    PASSWORD.replace('+', " ")
}

/// What a server asks before a passkey is made.
fn asked(site: &Site, browser: &mut Browser) -> Value {
    let asked = browser.json(site, "/account/passkeys/start", &json!({ "password": password() }));
    assert_eq!(asked.status, 200, "{}", asked.body);
    asked.json()
}

/// Makes a passkey on a device for whoever is signed in.
fn add(site: &Site, browser: &mut Browser, device: &mut Authenticator, label: &str) -> Answer {
    let made = device.create(&asked(site, browser));
    browser.json(site, "/account/passkeys/finish", &json!({ "label": label, "credential": made }))
}

/// A device with a passkey of the user of a browser.
fn enrolled(site: &Site, browser: &mut Browser) -> Authenticator {
    let mut device = Authenticator::at(ORIGIN, NAME);
    let added = add(site, browser, &mut device, "phone");
    assert_eq!(added.json()["to"], "/account/passkeys?done=added", "{}", added.body);
    device
}

/// Signs in with a device in a browser of its own.
fn sign_in(site: &Site, device: &mut Authenticator) -> (Browser, Answer) {
    let mut browser = Browser::default();
    let question = browser.json(site, "/signin/passkey/start", &json!({})).json();
    let answer = browser.json(site, "/signin/passkey/finish", &device.get(&question));
    (browser, answer)
}

#[test]
fn a_passkey_signs_in_without_name_password_or_code() {
    let site = site();
    let mut milena = site.founded();
    let page = milena.get(&site, "/account/passkeys");
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    assert!(milena.get(&site, "/assets/passkey.js").head.contains("text/javascript"));
    let wrong = milena.json(&site, "/account/passkeys/start", &json!({ "password": "not this one" }));
    assert!(
        wrong.status == 403 && wrong.json()["why"].as_str().unwrap().contains("password"),
        "{}",
        wrong.body
    );
    let mut device = enrolled(&site, &mut milena);
    let listed = milena.get(&site, "/account/passkeys").body;
    assert!(listed.contains(">phone</td>") && listed.contains(">never</td>"), "{listed}");

    for _ in 0..2 {
        let (mut browser, answer) = sign_in(&site, &mut device);
        assert_eq!(answer.json()["to"], HOME, "{}", answer.body);
        assert_eq!(browser.cookie("lanyard-ceremony"), None, "dropped");
        assert!(browser.get(&site, "/account").body.contains("<b>milena</b>"));
    }
    assert!(!milena.get(&site, "/account/passkeys").body.contains(">never</td>"));
    assert!(Browser::default().get(&site, "/signin").body.contains("/assets/passkey.js"));
}

#[test]
fn an_answer_that_does_not_fit_the_question_lets_nobody_in() {
    let site = site();
    let mut milena = site.founded();
    let mut device = enrolled(&site, &mut milena);
    let refused = |answer: &Answer, why: &str| {
        assert!(answer.status == 403 && answer.body.contains("not accepted"), "{why}: {}", answer.body);
    };

    let mut browser = Browser::default();
    let question = browser.json(&site, "/signin/passkey/start", &json!({})).json();
    let good = device.get(&question);
    refused(&Browser::default().json(&site, "/signin/passkey/finish", &good), "another browser");
    let mut carried = browser.clone();
    let entered = browser.json(&site, "/signin/passkey/finish", &good);
    assert_eq!(entered.status, 200, "{}", entered.body);
    refused(&carried.json(&site, "/signin/passkey/finish", &good), "the same answer again");

    let old = carried.json(&site, "/signin/passkey/start", &json!({})).json();
    let mut later = Browser::default();
    later.json(&site, "/signin/passkey/start", &json!({}));
    refused(&later.json(&site, "/signin/passkey/finish", &device.get(&old)), "an answer to another question");

    device.origin = "https://evil.example".to_owned();
    refused(&sign_in(&site, &mut device).1, "another origin");
    device.origin = ORIGIN.to_owned();
    device.rp = "example".to_owned();
    refused(&sign_in(&site, &mut device).1, "another name");
    device.rp = NAME.to_owned();
    device.verifies = false;
    refused(&sign_in(&site, &mut device).1, "nobody was checked");
    device.verifies = true;
    let user = std::mem::replace(&mut device.user, "AAAAAAAAAAAAAAAAAAAAAA".to_owned());
    refused(&sign_in(&site, &mut device).1, "another user's");
    device.user = user;
    let counter = std::mem::replace(&mut device.counter, 0);
    refused(&sign_in(&site, &mut device).1, "a copy of the device that signed less often");
    device.counter = counter;
    let mut stranger = Authenticator::at(ORIGIN, NAME);
    stranger.user.clone_from(&device.user);
    refused(&sign_in(&site, &mut stranger).1, "a key that nobody registered");
}

#[test]
fn broken_answers_are_refused_and_the_right_one_still_works() {
    let site = site();
    let mut milena = site.founded();
    let mut device = enrolled(&site, &mut milena);
    for path in ["/response/signature", "/response/authenticatorData", "/response/clientDataJSON", "/rawId"] {
        // Ten questions are answered in a row.
        for value in [json!("A".repeat(9_000)), json!(7)] {
            let mut browser = Browser::default();
            let question = browser.json(&site, "/signin/passkey/start", &json!({})).json();
            let mut answer = device.get(&question);
            *answer.pointer_mut(path).unwrap() = value;
            let answer = browser.json(&site, "/signin/passkey/finish", &answer);
            assert_eq!(answer.status, 403, "{path}: {}", answer.body);
        }
    }
    for nonsense in [json!(null), json!([]), json!({ "id": {} })] {
        assert_eq!(milena.json(&site, "/signin/passkey/finish", &nonsense).status, 403, "{nonsense}");
    }
    let question = asked(&site, &mut milena);
    let mut other = Authenticator::at("https://evil.example", NAME);
    let credential = other.create(&question);
    let made = json!({ "label": "x", "credential": credential });
    assert_eq!(milena.json(&site, "/account/passkeys/finish", &made).status, 403, "another origin");
    let question = asked(&site, &mut milena);
    let mut careless = Authenticator::at(ORIGIN, NAME);
    careless.verifies = false;
    let made = json!({ "label": "x", "credential": careless.create(&question) });
    assert_eq!(milena.json(&site, "/account/passkeys/finish", &made).status, 403, "nobody was checked");
}

#[test]
fn a_removed_passkey_and_one_of_somebody_shut_out_open_nothing() {
    let site = site();
    let mut milena = site.founded();
    let link = site.link(&["user", "add", "ben"]);
    let mut ben = Browser::default();
    ben.post(&site, &link, &format!("name=ben&password={PASSWORD}"));
    let mut bens = enrolled(&site, &mut ben);
    let mut device = enrolled(&site, &mut milena);
    let again = add(&site, &mut milena, &mut device, "again");
    assert_eq!(again.status, 403, "the device has one already: {}", again.body);
    // What somebody else asked for is not theirs to answer.
    let question = asked(&site, &mut milena);
    let mut third = Authenticator::at(ORIGIN, NAME);
    let made = json!({ "label": "x", "credential": third.create(&question) });
    assert_eq!(ben.json(&site, "/account/passkeys/finish", &made).status, 403);

    let page = milena.get(&site, "/account/passkeys").body;
    let remove = page.split('"').find(|part| part.ends_with("/remove")).unwrap().to_owned();
    assert_eq!(ben.post(&site, &remove, "").status, 403, "nobody else's");
    assert_eq!(milena.post(&site, &remove, "").location(), "/account/passkeys?done=removed");
    assert_eq!(sign_in(&site, &mut device).1.status, 403);
    assert_eq!(sign_in(&site, &mut bens).1.status, 200);
    site.run(&["user", "set", "ben", "--disabled", "yes"]);
    assert_eq!(sign_in(&site, &mut bens).1.status, 403);
    let nobody = Browser::default().json(&site, "/account/passkeys/start", &json!({}));
    assert_eq!((nobody.status, nobody.location()), (303, "/signin"));
}

#[test]
fn a_server_without_a_name_says_that_there_can_be_none() {
    let site = Site::open();
    let mut milena = site.founded();
    let page = milena.get(&site, "/account/passkeys").body;
    assert!(page.contains("by an IP address only") && !page.contains("<script"), "{page}");
    let asked = milena.json(&site, "/account/passkeys/start", &json!({ "password": password() }));
    assert_eq!(asked.status, 404, "{}", asked.body);
    assert_eq!(Browser::default().json(&site, "/signin/passkey/start", &json!({})).status, 404);
    assert!(!Browser::default().get(&site, "/signin").body.contains("<script"));
}
