//! Promise P10: a stolen database is not a credential. Every secret that is given out through the interfaces is looked for in
//! everything that is stored, and everything that is stored is tried as a secret.

use data_encoding::{BASE32_NOPAD, BASE64, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};

use super::super::credentials::{Password, PasswordHashing};
use super::super::db::TABLES;
use super::super::factors::RecoveryCode;
use super::super::secrets::Secret;
use super::super::totp::{STEP_MS, TotpSecret};
use super::super::users::User;
use super::super::webhooks::{HookEvent, NewWebhook, SECRET_BEGIN, SigningSecret, WebhookWishes};
use super::*;

const PASSWORD: &str = "four words in a row";

/// What makes the address of a webhook a password.
const HOOK_PATH: &str = "/services/T0AB/xoxb-in-a-path";

/// What was given out.
struct Given {
    anna: User,
    session: Secret,
    link: Secret,
    admin_link: InviteCode,
    invite: InviteCode,
    totp: TotpSecret,
    recovery: Vec<RecoveryCode>,
    pass: String,
    hook: [SigningSecret; 2],
}

impl Given {
    async fn by(desk: &Desk) -> Self {
        let index = &desk.index;
        let anna = index.add_user(&NewUser::person("anna".parse().unwrap()), &admin()).await.unwrap();
        let stored = index.password_hashing().hash(&Password::typed(PASSWORD.to_owned())).unwrap();
        index.set_password(&anna, &stored, None, &admin()).await.unwrap();
        let actor = Actor::arriving(&anna, None);
        index.begin_totp(&anna, &actor).await.unwrap();
        let totp = index.waiting_totp(&anna).await.unwrap().unwrap();
        let code = totp.code(index.now_ms() / STEP_MS);
        let recovery = index.confirm_totp(&anna, &code, None, &actor).await.unwrap().unwrap();
        let hook = NewWebhook {
            network: None,
            url: format!("https://example.org{HOOK_PATH}"),
            events: HookEvent::ALL.into(),
            description: String::new(),
        };
        let (webhook, first) = index.add_webhook(&hook, &admin()).await.unwrap();
        index.test_webhook(&webhook.id, &admin()).await.unwrap();
        let wishes = WebhookWishes { new_secret: true, ..WebhookWishes::default() };
        let (_, second) = index.set_webhook(&webhook.id, &wishes, &admin()).await.unwrap();
        Self {
            hook: [first, second.unwrap()],
            session: index.open_session(&anna, Some(&stored), "Firefox", None).await.unwrap().1,
            link: index.new_user_code(&anna, &admin()).await.unwrap(),
            admin_link: index.new_admin_link(&admin()).await.unwrap(),
            invite: desk.invite(5).await,
            pass: index.write_pass(&anna, &stored).unwrap(),
            anna,
            totp,
            recovery,
        }
    }

    /// Each with the bytes that it is, and the texts in which people see it.
    fn all(&self) -> Vec<(&'static str, Vec<u8>, Vec<String>)> {
        let secret = |secret: &Secret| BASE64URL_NOPAD.decode(secret.reveal().as_bytes()).unwrap();
        let code = |code: InviteCode| {
            (code.to_array().to_vec(), vec![code.to_string(), code.to_string().replace('-', "")])
        };
        let mut all = vec![
            ("password", PASSWORD.as_bytes().to_vec(), vec![PASSWORD.to_owned()]),
            ("session", secret(&self.session), vec![self.session.reveal()]),
            ("one-time link", secret(&self.link), vec![self.link.reveal()]),
            (
                "TOTP secret",
                BASE32_NOPAD.decode(self.totp.reveal().as_bytes()).unwrap(),
                vec![self.totp.reveal()],
            ),
            ("pass", BASE64URL_NOPAD.decode(self.pass.as_bytes()).unwrap(), vec![self.pass.clone()]),
        ];
        for (what, given) in [("admin link", self.admin_link), ("invite", self.invite)] {
            let (bytes, texts) = code(given);
            all.push((what, bytes, texts));
        }
        for given in &self.hook {
            let text = given.reveal();
            let bytes = BASE64.decode(text.trim_start_matches(SECRET_BEGIN).as_bytes()).unwrap();
            all.push(("secret of a webhook", bytes, vec![text]));
        }
        all.push(("address of a webhook", HOOK_PATH.as_bytes().to_vec(), vec![HOOK_PATH.to_owned()]));
        for given in &self.recovery {
            let bare = given.reveal().replace('-', "");
            all.push(("recovery code", bare.clone().into_bytes(), vec![given.reveal(), bare]));
        }
        all
    }
}

/// Everything that is stored: the bytes of its files, and each value as text.
async fn dump(desk: &Desk) -> (Vec<u8>, Vec<String>) {
    let path = desk.dir.path().join("stolen.db");
    desk.index.backup(&path, &mut |_| {}).await.unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    for file in ["lanyard.db", "lanyard.db-wal"] {
        bytes.extend(std::fs::read(desk.dir.path().join(file)).unwrap_or_default());
    }
    let mut copy = SqliteConnection::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    let mut values = Vec::new();
    for table in TABLES {
        let columns: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(format!("SELECT name FROM pragma_table_info('{table}')")))
                .fetch_all(&mut copy)
                .await
                .unwrap();
        assert!(!columns.is_empty(), "{table}");
        for column in columns {
            let query = format!("SELECT CAST({column} AS TEXT) FROM {table} WHERE {column} IS NOT NULL");
            let found: Vec<String> =
                sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(&mut copy).await.unwrap();
            values.extend(found);
        }
    }
    (bytes, values)
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && haystack.windows(needle.len()).any(|window| window == needle)
}

/// The forms in which bytes are written down.
fn forms(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut forms: Vec<Vec<u8>> = [BASE32_NOPAD, BASE64, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER]
        .iter()
        .map(|encoding| encoding.encode(bytes).into_bytes())
        .collect();
    forms.push(BASE32_NOPAD.encode(bytes).to_lowercase().into_bytes());
    forms.push(bytes.to_vec());
    forms
}

#[tokio::test]
async fn no_secret_that_was_given_out_is_in_a_dump_in_any_form() {
    on_both(async |desk: Desk| {
        let given = Given::by(&desk).await;
        let (bytes, values) = dump(&desk).await;
        // The search finds what is there: names are stored as they are.
        assert!(holds(&bytes, b"Firefox") && values.iter().any(|value| value == "anna"), "the dump is whole");
        assert!(
            values.iter().any(|value| value.starts_with("$argon2id$")) && values.len() > 200,
            "{}",
            values.len()
        );
        for (what, secret, texts) in given.all() {
            let mut forms = forms(&secret);
            for text in texts {
                forms.extend([
                    text.to_lowercase().into_bytes(),
                    text.to_uppercase().into_bytes(),
                    text.into_bytes(),
                ]);
            }
            for form in forms {
                assert!(!holds(&bytes, &form), "{what} is stored as {:?}", String::from_utf8_lossy(&form));
                assert!(!values.iter().any(|value| holds(value.as_bytes(), &form)), "{what}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn nothing_in_a_dump_opens_anything_when_it_is_shown() {
    on_both(async |desk: Desk| {
        let given = Given::by(&desk).await;
        let (_, values) = dump(&desk).await;
        let (index, anna, actor) = (&desk.index, &given.anna, Actor::arriving(&given.anna, None));
        let hashing = index.password_hashing();
        let stored = index.user_and_password(&anna.name).await.unwrap().1.unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for value in values.iter().filter(|value| seen.insert((*value).clone())) {
            let bytes = HEXLOWER.decode(value.as_bytes()).ok().filter(|bytes| bytes.len() == 32);
            // A hash, shown as the secret that it is of.
            let shown = bytes.map_or_else(|| value.clone(), |bytes| BASE64URL_NOPAD.encode(&bytes));
            if let Some(secret) = Secret::parse(&shown) {
                assert!(index.session(&secret).await.unwrap().is_none(), "a session: {value}");
                assert!(index.user_of_code(&secret).await.unwrap().is_none(), "a link: {value}");
            }
            for text in [value, &shown] {
                assert!(index.read_pass(text).await.unwrap().is_none(), "a pass: {value}");
                if let Ok(code) = InviteCode::parse(text) {
                    assert_eq!(index.look_at_admin_link(code).await.unwrap(), LinkOutcome::Wrong, "{value}");
                    assert!(!is_joined(desk.join(1, Some(code)).await), "an invite: {value}");
                }
                if let Some(code) = RecoveryCode::parse(text) {
                    assert!(
                        !index.take_recovery(anna, &code, &actor).await.unwrap(),
                        "a recovery code: {value}"
                    );
                }
                if !text.is_empty() {
                    assert!(!index.take_totp(anna, text).await.unwrap(), "a code: {value}");
                }
            }
        }
        // Computing a password costs; those that could be one are few.
        for value in values.iter().filter(|value| value.starts_with('$') || **value == given.anna.id) {
            assert!(!hashing.is_right(&Password::typed(value.clone()), Some(&stored)).unwrap(), "{value}");
        }
        assert!(hashing.is_right(&Password::typed(PASSWORD.to_owned()), Some(&stored)).unwrap());
        assert!(index.session(&given.session).await.unwrap().is_some(), "the real ones work");
        assert!(index.take_recovery(anna, &given.recovery[3], &actor).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn without_the_fleet_key_even_the_right_secrets_cannot_be_told_from_wrong_ones() {
    on_both(async |desk: Desk| {
        let given = Given::by(&desk).await;
        let path = desk.dir.path().join("stolen.db");
        desk.index.backup(&path, &mut |_| {}).await.unwrap();
        let stolen = Location::parse(&format!("sqlite:{}", path.display()), desk.dir.path()).unwrap();
        let clock = Clock::fixed(Arc::clone(&desk.time));
        let fleet = SymmetricKey::from_bytes([9; 32]);
        let thief = Index::open(&stolen, Schema::Require, &fleet, clock).await.unwrap();
        let stored = thief.user_and_password(&given.anna.name).await.unwrap().1.unwrap();
        let guess = Password::typed(PASSWORD.to_owned());
        let hashing: PasswordHashing = thief.password_hashing();
        assert!(!hashing.is_right(&guess, Some(&stored)).unwrap(), "no guess is ever right");
        assert!(thief.session(&given.session).await.unwrap().is_none());
        assert!(thief.user_of_code(&given.link).await.unwrap().is_none());
        assert!(thief.read_pass(&given.pass).await.unwrap().is_none());
        assert_eq!(thief.look_at_admin_link(given.admin_link).await.unwrap(), LinkOutcome::Wrong);
        assert!(!is_joined(thief.join(&request(1, Some(given.invite))).await.unwrap()));
        let actor = Actor::arriving(&given.anna, None);
        assert!(!thief.take_recovery(&given.anna, &given.recovery[0], &actor).await.unwrap());
        desk.pass(STEP_MS);
        let code = given.totp.code(desk.index.now_ms() / STEP_MS);
        assert!(thief.take_totp(&given.anna, &code).await.is_err(), "the TOTP secret cannot be read");
        thief.close().await;
    })
    .await;
}
