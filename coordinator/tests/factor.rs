//! A second factor at the pages of a running coordinator: set up, asked for, used up, taken away.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod browser;
mod server;

use std::time::{SystemTime, UNIX_EPOCH};

use self::browser::{Answer, Browser, HOME, PASSWORD, Site};

/// The key of an authenticator app as the page shows it, and what an app does with it.
struct App {
    key: Vec<u8>,
    /// The code that confirmed it.
    confirmed: String,
}

impl App {
    fn of(page: &Answer) -> Self {
        let key = page.body.split("Key: <code>").nth(1).unwrap_or_else(|| panic!("{}", page.body));
        let key: String = key.split('<').next().unwrap().split(' ').collect();
        Self { key: data_encoding::BASE32_NOPAD.decode(key.as_bytes()).unwrap(), confirmed: String::new() }
    }

    /// The code of now, or of so many steps later.
    fn code(&self, later: u64) -> String {
        let step = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() / 30 + later;
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.key);
        let tag = ring::hmac::sign(&key, &step.to_be_bytes());
        let from = usize::from(tag.as_ref()[19] & 15);
        let word = u32::from_be_bytes(tag.as_ref()[from..from + 4].try_into().unwrap());
        format!("{:06}", (word & 0x7FFF_FFFF) % 1_000_000)
    }
}

/// Sets an app up in a browser that is signed in; the recovery codes come with it.
fn set_up(site: &Site, browser: &mut Browser) -> (App, Vec<String>) {
    let begun = browser.post(site, "/account/totp", &format!("password={PASSWORD}"));
    assert_eq!(begun.location(), "/account/totp", "{}", begun.body);
    let page = browser.get(site, "/account/totp");
    assert!(page.body.contains("<svg class=\"qr\"") && page.body.contains("h7v1h-7z"), "{}", page.body);
    let app = App::of(&page);
    let code = app.code(0);
    let confirmed = browser.post(site, "/account/totp/confirm", &format!("code={code}"));
    assert_eq!(confirmed.status, 200, "{}", confirmed.body);
    let again = browser.post(site, "/account/totp/confirm", &format!("code={code}"));
    assert_eq!(again.status, 409, "{}", again.body);
    let codes = confirmed.body.split("<li>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned());
    (App { confirmed: code, ..app }, codes.collect())
}

fn sign_in(site: &Site, browser: &mut Browser) -> Answer {
    browser.post(site, "/signin", &format!("name=milena&password={PASSWORD}"))
}

#[test]
fn an_app_is_asked_for_after_the_password_and_each_code_counts_once() {
    let site = Site::open();
    let mut milena = site.founded();
    assert!(milena.get(&site, "/account").body.contains("Set up an authenticator app"));
    let wrong = milena.post(&site, "/account/totp", "password=not+this+one");
    assert!(wrong.status == 403 && wrong.body.contains("not your password now"), "{}", wrong.body);
    let (app, codes) = set_up(&site, &mut milena);
    assert_eq!(codes.len(), 10);
    let shown = milena.get(&site, "/account/totp").body;
    assert!(shown.contains("10 recovery codes are left") && !shown.contains("Key: "), "{shown}");

    let mut elsewhere = Browser::default();
    let half = sign_in(&site, &mut elsewhere);
    assert_eq!((half.status, half.location()), (303, "/signin/code"), "{}", half.body);
    assert_eq!(elsewhere.cookie("lanyard"), None, "not signed in yet");
    assert_eq!(elsewhere.get(&site, "/account").location(), "/signin", "and that is worth nothing else");
    let as_session = elsewhere.cookie("lanyard-pass").unwrap().to_owned();
    let mut thief = Browser::with_cookie("lanyard", &as_session);
    assert_eq!(thief.get(&site, "/account").location(), "/signin");
    assert!(elsewhere.get(&site, "/signin/code").body.contains("autocomplete=\"one-time-code\""));
    let used = elsewhere.post(&site, "/signin/code", &format!("code={}", app.confirmed));
    assert!(used.status == 403 && used.body.contains("used already"), "it confirmed the app: {}", used.body);
    let entered = elsewhere.post(&site, "/signin/code", &format!("code={}", app.code(1)));
    assert_eq!((entered.status, entered.location()), (303, HOME), "{}", entered.body);
    assert_eq!(elsewhere.cookie("lanyard-pass"), None, "dropped");
    assert_eq!(elsewhere.get(&site, "/account").status, 200);
    assert_eq!(Browser::default().get(&site, "/signin/code").location(), "/signin");
    assert_eq!(Browser::default().post(&site, "/signin/code", "code=123456").location(), "/signin");
}

#[test]
fn a_recovery_code_stands_in_once_and_the_shell_takes_the_factor_away() {
    let site = Site::open();
    let mut milena = site.founded();
    let (_, codes) = set_up(&site, &mut milena);
    let mut elsewhere = Browser::default();
    sign_in(&site, &mut elsewhere);
    let again = elsewhere.clone();
    let typed = format!("code={}", codes[0].to_uppercase().replace('-', "+"));
    assert_eq!(elsewhere.post(&site, "/signin/code", &typed).location(), HOME);
    assert!(elsewhere.get(&site, "/account").body.contains("9 recovery codes are left"));
    let mut again = again;
    assert_eq!(again.post(&site, "/signin/code", &typed).status, 403, "once");

    let renewed = elsewhere.post(&site, "/account/totp/recovery", &format!("password={PASSWORD}"));
    assert!(renewed.status == 200 && !renewed.body.contains(&codes[1]), "{}", renewed.body);
    assert_eq!(again.post(&site, "/signin/code", &format!("code={}", codes[1])).status, 403, "others now");

    let reset = site.run(&["user", "reset-second-factor", "milena"]);
    assert!(reset.contains("\"had_one\": true") || reset.contains("\"had_one\":true"), "{reset}");
    assert_eq!(elsewhere.get(&site, "/account").location(), "/signin", "signed out");
    let mut after = Browser::default();
    assert_eq!(sign_in(&site, &mut after).location(), HOME, "the password alone");
}

#[test]
fn it_is_switched_off_with_the_password_and_a_new_password_does_not_go_round_it() {
    let site = Site::open();
    let mut milena = site.founded();
    let (_, codes) = set_up(&site, &mut milena);
    let link = site.link(&["user", "reset-password", "milena"]);
    let mut elsewhere = Browser::default();
    let chosen = elsewhere.post(&site, &link, "name=milena&password=another+few+words");
    assert_eq!(chosen.location(), "/signin/code", "{}", chosen.body);
    assert_eq!(elsewhere.post(&site, "/signin/code", &format!("code={}", codes[0])).location(), HOME);
    let wrong = elsewhere.post(&site, "/account/totp/off", &format!("password={PASSWORD}"));
    assert_eq!(wrong.status, 403, "{}", wrong.body);
    let off = elsewhere.post(&site, "/account/totp/off", "password=another+few+words");
    assert_eq!(off.location(), "/account?done=totp_off", "{}", off.body);
    let mut after = Browser::default();
    let entered = after.post(&site, "/signin", "name=milena&password=another+few+words");
    assert_eq!(entered.location(), HOME, "{}", entered.body);
}

#[test]
fn who_guesses_codes_is_told_to_wait_even_with_the_password() {
    let site = Site::open();
    let mut milena = site.founded();
    let (app, _) = set_up(&site, &mut milena);
    let mut thief = Browser::default();
    sign_in(&site, &mut thief);
    let guesses = (0..40).map(|guess| thief.post(&site, "/signin/code", &format!("code={guess:06}")));
    let let_through = guesses.take_while(|answer| answer.status == 403).count();
    // One of the ten confirmed the app, and one more comes back every five minutes.
    assert!((8..12).contains(&let_through), "{let_through}");
    let right = thief.post(&site, "/signin/code", &format!("code={}", app.code(1)));
    assert!(right.status == 429 && right.body.contains("wait"), "{}", right.body);
}
