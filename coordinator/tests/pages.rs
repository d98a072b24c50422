//! The pages of a running coordinator, as a browser without JavaScript meets them.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod browser;
mod server;

use self::browser::{Answer, Browser, HOME, PASSWORD, Site};

#[test]
fn the_one_time_link_makes_an_administrator_who_is_signed_in() {
    let site = Site::open();
    let link = site.link(&["setup-link"]);
    let mut browser = Browser::default();
    for _ in 0..2 {
        let form = browser.get(&site, &link);
        assert!(form.status == 200 && form.body.contains("autocomplete=\"new-password\""), "{}", form.body);
    }
    let short = browser.post(&site, &link, "name=milena&password=short");
    assert!(short.status == 422 && short.body.contains("at least 10 characters"), "{}", short.body);
    let odd = browser.post(&site, &link, &format!("name=a+b&password={PASSWORD}"));
    assert!(odd.status == 422 && odd.body.contains("letters, digits"), "{}", odd.body);

    let answer = browser.post(&site, &link, &format!("name=Milena&password={PASSWORD}"));
    assert_eq!((answer.status, answer.location()), (303, HOME), "{}", answer.body);
    let cookie = answer.header("set-cookie").unwrap();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && cookie.contains("Path=/"),
        "{cookie}"
    );
    let page = browser.get(&site, "/account");
    assert!(page.body.contains("<b>milena</b>, an administrator of this server"), "{}", page.body);
    assert!(page.body.contains(">home</td>") && page.body.contains(">owner</td>"), "{}", page.body);
    assert!(page.header("content-security-policy").unwrap().contains("default-src 'none'"), "{}", page.head);

    let dead = Browser::default().get(&site, &link);
    assert!(dead.status == 410 && dead.body.contains("lanyard-server setup-link"), "{}", dead.body);
}

#[test]
fn signing_in_needs_the_right_password_and_signing_out_ends_it() {
    let site = Site::open();
    site.founded();
    let mut browser = Browser::default();
    assert_eq!(browser.get(&site, "/account").location(), "/signin");
    assert!(browser.get(&site, "/").body.contains("/signin"));
    let wrong = browser.post(&site, "/signin", "name=milena&password=not+this+one");
    let nobody = browser.post(&site, "/signin", "name=%3Cb%3E&password=not+this+one");
    for (answer, name) in [(&wrong, "value=\"milena\""), (&nobody, "value=\"&#60;b&#62;\"")] {
        assert_eq!(answer.status, 403);
        assert!(
            answer.body.contains("do not belong together") && answer.body.contains(name),
            "{}",
            answer.body
        );
    }
    let right = browser.post(&site, "/signin", &format!("name=Milena&password={PASSWORD}"));
    assert_eq!((right.status, right.location()), (303, HOME), "{}", right.body);
    let mut stolen = browser.clone();
    assert_eq!(browser.get(&site, "/account").status, 200);
    assert_eq!(browser.post(&site, "/signout", "").location(), "/signin");
    assert_eq!(browser.cookie("lanyard"), None);
    assert_eq!(stolen.get(&site, "/account").location(), "/signin", "the cookie is worth nothing now");
}

#[test]
fn the_panel_is_for_those_who_are_signed_in() {
    let site = Site::open();
    let mut browser = site.founded();
    let mut stranger = Browser::default();
    for path in ["/devices", "/networks/home/invites", "/settings"] {
        let answer = stranger.get(&site, path);
        assert_eq!((answer.status, answer.location()), (303, "/signin"), "{path}");
        assert_eq!(browser.get(&site, path).status, 200, "{path}");
    }
    let page = browser.get(&site, "/");
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    assert!(stranger.get(&site, "/").body.contains("A lanyard coordinator runs here"));
    assert_eq!(browser.get(&site, "/assets/panel/../../Cargo.toml").status, 404);
    assert_eq!(browser.get(&site, "/assets/panel/nothing.js").status, 404);

    // Where the panel was built before the program was, the page loads what is there.
    let asset = page.body.split('"').find(|text| text.starts_with("/assets/panel/") && text.ends_with(".js"));
    assert_eq!(asset.is_some(), cfg!(lanyard_panel), "{}", page.body);
    if let Some(asset) = asset {
        let script = stranger.ask(&site, "GET", asset, "Accept-Encoding: identity\r\n", "");
        assert_eq!(script.status, 200, "{asset}");
        assert_eq!(script.header("cache-control"), Some("public, max-age=31536000, immutable"));
        assert_eq!(script.header("content-type"), Some("text/javascript; charset=utf-8"));
    } else {
        assert!(page.body.contains("was not built in"), "{}", page.body);
    }
}

#[test]
fn a_form_of_another_site_is_refused() {
    let site = Site::open();
    let mut browser = site.founded();
    for headers in ["Sec-Fetch-Site: cross-site\r\n", "Origin: https://evil.example\r\n"] {
        assert_eq!(browser.ask(&site, "POST", "/signout", headers, "").status, 403, "{headers}");
    }
    assert_eq!(browser.get(&site, "/account").status, 200, "still signed in");
    let hidden = browser.ask(&site, "POST", "/signout", "Origin: null\r\n", "");
    assert!(hidden.status == 403 && hidden.body.contains("another site"), "{}", hidden.body);
    // So that browsers do not hide it from us: without TLS the origin is all they send.
    assert_eq!(browser.get(&site, "/signin").header("referrer-policy"), Some("same-origin"));
    let own = browser.ask(&site, "POST", "/signout", "Origin: http://lan.example\r\n", "");
    assert_eq!(own.location(), "/signin", "{}", own.head);
}

#[test]
fn a_user_that_was_added_chooses_a_password_and_changes_it() {
    let site = Site::open();
    let link = site.link(&["user", "add", "ben"]);
    let mut browser = Browser::default();
    assert!(browser.get(&site, &link).body.contains("value=\"ben\""));
    let answer = browser.post(&site, &link, &format!("name=ben&password={PASSWORD}"));
    assert_eq!(answer.location(), HOME, "{}", answer.body);
    let page = browser.get(&site, "/account");
    assert!(page.body.contains("You have no role in a network yet"), "{}", page.body);

    let mut elsewhere = Browser::default();
    elsewhere.post(&site, "/signin", &format!("name=ben&password={PASSWORD}"));
    assert_eq!(elsewhere.get(&site, "/account").status, 200);
    let wrong = browser.post(&site, "/account/password", "old=not+this+one&new=another+few+words");
    assert!(wrong.status == 403 && wrong.body.contains("not your password now"), "{}", wrong.body);
    let change = format!("old={PASSWORD}&new=another+few+words");
    let changed = browser.post(&site, "/account/password", &change);
    assert_eq!(changed.location(), "/account?done=password", "{}", changed.body);
    assert!(browser.get(&site, changed.location()).body.contains("Your password is changed"));
    assert_eq!(elsewhere.get(&site, "/account").location(), "/signin", "other sessions ended");

    let reset = site.link(&["user", "reset-password", "ben"]);
    assert_eq!(browser.get(&site, &reset).status, 200);
    let output = site.directory.command().args(["user", "set", "ben", "--disabled", "yes"]).output().unwrap();
    assert!(output.status.success());
    assert_eq!(browser.get(&site, "/account").location(), "/signin", "shut out at once");
    assert_eq!(browser.get(&site, &reset).status, 410);
}

#[test]
fn a_session_elsewhere_can_be_ended_and_nobody_elses_can() {
    let site = Site::open();
    let mut milena = site.founded();
    let link = site.link(&["user", "add", "ben"]);
    let mut ben = Browser::default();
    ben.post(&site, &link, &format!("name=ben&password={PASSWORD}"));
    let mut elsewhere = Browser::default();
    elsewhere.post(&site, "/signin", &format!("name=ben&password={PASSWORD}"));

    // Each page shows a button for the sessions that are not the one that asks.
    let page = ben.get(&site, "/account");
    let end = page.body.split('"').find(|part| part.ends_with("/end")).unwrap().to_owned();
    let own = elsewhere.get(&site, "/account");
    let of_ben = own.body.split('"').find(|part| part.ends_with("/end")).unwrap().to_owned();
    assert_ne!(end, of_ben);

    let carla = site.link(&["user", "add", "carla"]);
    let mut stranger = Browser::default();
    stranger.post(&site, &carla, &format!("name=carla&password={PASSWORD}"));
    assert_eq!(stranger.post(&site, &end, "").status, 403);
    assert_eq!(elsewhere.get(&site, "/account").status, 200);
    assert_eq!(ben.post(&site, &end, "").location(), "/account?done=session");
    assert_eq!(elsewhere.get(&site, "/account").location(), "/signin");
    assert_eq!(milena.get(&site, "/account").status, 200);
}

#[test]
fn who_guesses_is_told_to_wait() {
    let site = Site::open();
    site.founded();
    let mut browser = Browser::default();
    // One more is let through each six seconds, so on a slow machine it takes a few more than ten.
    let tries = (0..40).map(|_| browser.post(&site, "/signin", "name=milena&password=a+guess+of+mine"));
    let tries: Vec<Answer> = tries.take_while(|answer| answer.status == 403).collect();
    assert!((10..40).contains(&tries.len()), "{} tries were let through", tries.len());
    let next = browser.post(&site, "/signin", "name=milena&password=a+guess+of+mine");
    assert!(next.status == 429 && next.body.contains("wait"), "{}", next.body);
}

#[test]
fn nothing_changes_for_somebody_who_is_not_signed_in() {
    let site = Site::open();
    let mut nobody = Browser::default();
    for path in ["/signout", "/account/password", "/account/sessions/01hf7yat00/end"] {
        let answer = nobody.post(&site, path, "old=a&new=b");
        assert_eq!((answer.status, answer.location()), (303, "/signin"), "{path}");
    }
    for path in ["/setup/0000-0000", "/welcome/none", "/setup/%00", "/welcome/%F0%9F%8E%89"] {
        assert_eq!(nobody.get(&site, path).status, 410, "{path}");
    }
    let flood = "x".repeat(20_000);
    assert_eq!(nobody.post(&site, "/signin", &format!("name=a&password={flood}")).status, 413);
    assert_eq!(nobody.post(&site, "/signin", "name=a").status, 422);
}

#[test]
fn a_proxy_says_who_asks_and_passwords_need_tls_from_far_away() {
    let site = Site::open();
    let mut browser = Browser::default();
    let far = "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 203.0.113.9\r\n";
    let plain = browser.ask(&site, "GET", "/signin", far, "");
    assert!(plain.status == 403 && plain.body.contains("HTTPS"), "{}", plain.body);
    let tls = format!("{far}X-Forwarded-Proto: https\r\nSec-Fetch-Site: same-origin\r\n");
    assert_eq!(browser.ask(&site, "GET", "/signin", &tls, "").status, 200);
    let link = site.link(&["setup-link"]);
    let made = browser.ask(&site, "POST", &link, &tls, &format!("name=milena&password={PASSWORD}"));
    let cookie = made.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-lanyard=") && cookie.contains("Secure"), "{cookie}");
    let page = browser.ask(&site, "GET", "/account", &tls, "");
    assert!(page.body.contains("203.0.113.9") && !page.body.contains("10.0.0.1"), "{}", page.body);
    assert_eq!(browser.get(&site, "/account").location(), "/signin", "that cookie is for TLS alone");
}

#[test]
fn an_invite_makes_a_stranger_a_member_and_a_user_one_more() {
    let site = Site::open();
    let mut admin = site.founded();
    let link = site.link(&["invite", "add", "home", "--person", "member", "--uses", "2"]);
    let mut browser = Browser::default();
    for _ in 0..2 {
        let form = browser.get(&site, &link);
        assert!(form.status == 200 && form.body.contains("invited to the network home"), "{}", form.body);
    }
    let taken = browser.post(&site, &link, &format!("name=milena&password={PASSWORD}"));
    assert!(taken.status == 422 && taken.body.contains("already a user"), "{}", taken.body);
    let answer = browser.post(&site, &link, &format!("name=anna&password={PASSWORD}"));
    assert_eq!((answer.status, answer.location()), (303, HOME), "{}", answer.body);
    let page = browser.get(&site, "/account");
    assert!(page.body.contains(">home</td>") && page.body.contains(">member</td>"), "{}", page.body);

    // Who has an account accepts with it; who is more already spends nothing.
    let form = admin.get(&site, &link);
    assert!(form.body.contains("signed in as milena") && form.body.contains("/accept\""), "{}", form.body);
    assert_eq!(admin.post(&site, &format!("{link}/accept"), "").location(), "/networks/home");
    site.run(&["user", "add", "ben"]);
    let reset = site.link(&["user", "reset-password", "ben"]);
    let mut ben = Browser::default();
    ben.post(&site, &reset, &format!("name=ben&password={PASSWORD}"));
    assert_eq!(ben.post(&site, &format!("{link}/accept"), "").location(), "/networks/home");
    let dead = Browser::default().get(&site, &link);
    assert!(dead.status == 410 && dead.body.contains("Ask whoever sent it"), "{}", dead.body);
    let nobody = Browser::default().post(&site, &format!("{link}/accept"), "");
    assert_eq!(nobody.location(), "/signin");
}

#[test]
fn the_page_of_a_devices_invite_tells_how_to_join_and_uses_nothing_up() {
    let site = Site::open();
    let made: serde_json::Value = serde_json::from_str(&site.run(&["invite", "add", "home"])).unwrap();
    let join = made["invite"]["join"].as_str().unwrap();
    let code = join.split("invite=").nth(1).unwrap().split('#').next().unwrap();
    for _ in 0..2 {
        let page = Browser::default().get(&site, &format!("/join/{code}"));
        assert!(page.status == 200 && page.body.contains("sudo lanyard join"), "{}", page.body);
        assert!(page.body.contains("#p=") && page.body.contains("one device"), "{}", page.body);
    }
    assert_eq!(Browser::default().get(&site, &format!("/invite/{code}")).location(), format!("/join/{code}"));
    assert_eq!(Browser::default().get(&site, "/join/AAAA-AAAA").status, 410);
    let mut guesser = Browser::default();
    let last = (0..60).map(|_| guesser.get(&site, "/invite/AAAA-AAAA").status).find(|status| *status == 429);
    assert_eq!(last, Some(429), "who guesses is told to wait");
}
