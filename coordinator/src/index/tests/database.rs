//! The two databases: the same schema, the same statements, the same answers, and everything from one into the other.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqlSafeStr, SqliteConnection};

use lanyard_wire::checkpoint::{LinkPath, LinkReport, PairCode, PairVerdict};

use super::super::authority::Role;
use super::super::db::{STATEMENTS, TABLES};
use super::super::edits::MemberWishes;
use super::super::groups::Word;
use super::super::invites::Gives;
use super::super::metadata::{Subject, Wish};
use super::super::tokens::{NewToken, Scope};
use super::super::users::User;
use super::super::webhooks::{HookEvent, NewWebhook};
use super::*;

/// Both databases with the newest schema and nothing in them.
struct Bare {
    sqlite: SqliteConnection,
    postgres: PgConnection,
    _dir: tempfile::TempDir,
}

impl Bare {
    async fn make() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = lanyard_postgres::server().database().unwrap();
        for database in ["", &url] {
            let database = Location::parse(database, dir.path()).unwrap();
            open_at(&database, Schema::Create, &Arc::default()).await.close().await;
        }
        let file = format!("sqlite:{}", dir.path().join("lanyard.db").display());
        Self {
            sqlite: SqliteConnection::connect(&file).await.unwrap(),
            postgres: PgConnection::connect(&url).await.unwrap(),
            _dir: dir,
        }
    }
}

#[tokio::test]
async fn every_statement_is_understood_by_both_databases() {
    let mut bare = Bare::make().await;
    assert!(STATEMENTS.len() > 30, "{} statements are registered", STATEMENTS.len());
    for text in STATEMENTS {
        (&mut bare.sqlite)
            .prepare(text.into_sql_str())
            .await
            .unwrap_or_else(|error| panic!("SQLite: {error}: {text}"));
        if let Err(error) = (&mut bare.postgres).prepare(text.into_sql_str()).await {
            // The type of a parameter is known only when it is bound. Everything else was understood by then.
            let code = error.as_database_error().and_then(|error| error.code().map(String::from));
            assert!(matches!(code.as_deref(), Some("42P18" | "42P08")), "Postgres: {error}: {text}");
        }
    }
}

/// A table's columns: name, type in one word for both databases, whether NULL is allowed.
type Columns = BTreeSet<(String, String, bool)>;

#[tokio::test]
async fn both_schemas_have_the_same_columns() {
    let mut bare = Bare::make().await;
    for table in TABLES {
        let ours: Columns = sqlx::query_as::<_, (String, String, bool)>(
            "SELECT name, lower(type), \"notnull\" = 0 AND pk = 0 FROM pragma_table_info($1)",
        )
        .bind(*table)
        .fetch_all(&mut bare.sqlite)
        .await
        .unwrap()
        .into_iter()
        .collect();
        let theirs: Columns = sqlx::query_as::<_, (String, String, bool)>(
            "SELECT column_name::text, CASE data_type WHEN 'bigint' THEN 'integer' WHEN 'boolean' THEN 'integer' \
             WHEN 'bytea' THEN 'blob' ELSE data_type::text END, is_nullable = 'YES' \
             FROM information_schema.columns WHERE table_schema = 'public' AND table_name = $1",
        )
        .bind(*table)
        .fetch_all(&mut bare.postgres)
        .await
        .unwrap()
        .into_iter()
        .collect();
        assert!(!ours.is_empty(), "{table}");
        assert_eq!(ours, theirs, "{table}");
    }
}

#[tokio::test]
async fn both_schemas_have_the_same_tables_indexes_and_foreign_keys() {
    let mut bare = Bare::make().await;
    let ours = set(sqlx::query_scalar(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '_sqlx_%' \
         AND name NOT LIKE '%_words%'",
    )
    .fetch_all(&mut bare.sqlite)
    .await);
    let theirs = set(sqlx::query_scalar(
        "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' AND tablename NOT LIKE '\\_sqlx\\_%'",
    )
    .fetch_all(&mut bare.postgres)
    .await);
    assert_eq!(ours, theirs);
    assert_eq!(ours, TABLES.iter().map(|table| (*table).to_owned()).collect(), "copy.rs lists every table");

    // What finds parts of words is a table of its own in SQLite and an index in Postgres ("_words").
    // Unique columns and primary keys have made-up names; what they are of is compared, and whether only for some rows.
    let ours = set(sqlx::query_scalar(
        "SELECT t.name || ' ' || (SELECT group_concat(name, ',') FROM (SELECT c.name FROM pragma_index_info(i.name) c \
         ORDER BY c.seqno)) || ' ' || i.\"unique\" || ' ' || i.partial \
         FROM sqlite_master t JOIN pragma_index_list(t.name) i WHERE t.type = 'table' AND t.name NOT LIKE '_sqlx_%' \
         AND t.name NOT LIKE '%_words%' UNION SELECT 'outbox id 1 0' UNION SELECT 'metadata number 1 0'",
    )
    .fetch_all(&mut bare.sqlite)
    .await);
    let theirs = set(sqlx::query_scalar(
        "SELECT t.relname || ' ' || (SELECT string_agg(a.attname, ',' ORDER BY k.place) \
         FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(number, place) \
         JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.number) \
         || ' ' || i.indisunique::int || ' ' || (i.indpred IS NOT NULL)::int \
         FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace \
         JOIN pg_class c ON c.oid = i.indexrelid \
         WHERE n.nspname = 'public' AND t.relname NOT LIKE '\\_sqlx\\_%' AND c.relname NOT LIKE '%\\_words%'",
    )
    .fetch_all(&mut bare.postgres)
    .await);
    assert_eq!(ours, theirs);

    let ours = set(sqlx::query_scalar(
        "SELECT t.name || '.' || f.\"from\" || ' ' || f.\"table\" || '.' || f.\"to\" FROM sqlite_master t \
         JOIN pragma_foreign_key_list(t.name) f WHERE t.type = 'table'",
    )
    .fetch_all(&mut bare.sqlite)
    .await);
    let theirs = set(sqlx::query_scalar(
        "SELECT conrelid::regclass || '.' || a.attname || ' ' || confrelid::regclass || '.' || b.attname \
         FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1] \
         JOIN pg_attribute b ON b.attrelid = c.confrelid AND b.attnum = c.confkey[1] WHERE c.contype = 'f'",
    )
    .fetch_all(&mut bare.postgres)
    .await);
    assert_eq!(ours, theirs);
}

#[tokio::test]
async fn words_are_in_the_same_order_on_both_databases() {
    on_both(async |desk: Desk| {
        for name in ["co-op", "coop", "co2", "zoo", "c"] {
            let new = NewNetwork::by_invite(NetworkName::parse(name).unwrap(), Vec::new());
            desk.index.add_network(&new, &admin()).await.unwrap();
        }
        let names: Vec<String> = desk
            .index
            .networks()
            .await
            .unwrap()
            .into_iter()
            .map(|network| network.slug.to_string())
            .collect();
        assert_eq!(names, ["c", "co-op", "co2", "coop", "home", "zoo"]);
    })
    .await;
}

/// An entry of the metadata, a tag, a group, and an invite that a person used.
async fn describe(desk: &Desk, user: &User) {
    let word = |text: &str| text.parse::<Word>().unwrap();
    let wish = Wish::Set("berlin".to_owned(), None);
    let subject = Subject::User(user.id.clone());
    desk.index.set_metadata(&subject, &[("site".parse().unwrap(), wish)], &admin()).await.unwrap();
    let tags = MemberWishes { tags: Some(vec![word("nas")]), ..MemberWishes::default() };
    desk.index.set_member(&home(), "device-1", tags, &admin()).await.unwrap();
    let ids = std::slice::from_ref(&user.id);
    desk.index.set_group(&home(), &word("family"), ids, &admin()).await.unwrap();
    let gives = Gives { role: Some(Role::Guest), ..Gives::membership() };
    let new = NewInvite { gives, ..NewInvite::for_devices(home(), 1, HOUR_MS) };
    let code = desk.index.add_invite(&new, &admin()).await.unwrap().1;
    let guest = NewUser::person("guest".parse().unwrap());
    desk.index.accept_invite_anew(code, &guest, "stored", None).await.unwrap().unwrap();
}

#[tokio::test]
async fn everything_goes_from_one_database_into_the_other_and_back() {
    let desk = Desk::open("").await;
    desk.join_all(3).await;
    desk.index.judge_member(&home(), "device-2", Verdict::Remove, &admin()).await.unwrap();
    let new = NewUser { is_server_admin: true, ..NewUser::person("anna".parse().unwrap()) };
    let anna = desk.index.add_user(&new, &admin()).await.unwrap();
    desk.index.set_role(&home(), "anna", Some(Role::Owner), None, &admin()).await.unwrap();
    desk.index.set_password(&anna, "stored", None, &admin()).await.unwrap();
    desk.index.new_user_code(&anna, &admin()).await.unwrap();
    desk.index.open_session(&anna, None, "Firefox", None).await.unwrap();
    let token =
        NewToken { name: "backup".to_owned(), scope: Scope::Read, network: Some(home()), lifetime_ms: None };
    desk.index.add_token(&anna, &token, &admin()).await.unwrap();
    describe(&desk, &anna).await;
    let key = desk.index.repeat_key(&anna.id, b"key", &[b"request"]);
    desk.index.claim(&key).await.unwrap();
    desk.index.settle(&key, 201, b"answer").await.unwrap();
    desk.index.set_public_key(&identity(9), &admin()).await.unwrap();
    let verdict =
        PairVerdict { peer: DeviceId::of(&identity(1)), code: PairCode::Direct, method: None, took_ms: 5 };
    desk.index.record_verdicts(&[(DeviceId::of(&identity(3)), verdict)]).await.unwrap();
    let (peer, path) = (verdict.peer, LinkPath::Lan);
    let link = LinkReport { peer, path, rtt_us: None, pings: 0, lost: 0, tx_bytes: 1, rx_bytes: 2 };
    desk.index.record_links(&[(DeviceId::of(&identity(3)), link)]).await.unwrap();
    let hook = NewWebhook {
        network: Some(home()),
        url: "https://example.org/".to_owned(),
        events: HookEvent::ALL.into(),
        description: String::new(),
    };
    let (hook, _) = desk.index.add_webhook(&hook, &admin()).await.unwrap();
    desk.index.test_webhook(&hook.id, &admin()).await.unwrap();
    let url = lanyard_postgres::server().database().unwrap();
    let there = Location::parse(&url, desk.dir.path()).unwrap();
    let back = Location::Sqlite(desk.dir.path().join("back.db"));

    let mut tables = Vec::new();
    copy(&desk.database, &there, &mut |copied| tables.push(copied.clone())).await.unwrap();
    copy(&there, &back, &mut |_| {}).await.unwrap();

    assert_eq!(tables.iter().map(|copied| copied.table).collect::<Vec<_>>(), TABLES);
    let mut first = SqliteConnection::connect(&format!("sqlite:{}", desk.database)).await.unwrap();
    let mut last = SqliteConnection::connect(&format!("sqlite:{back}")).await.unwrap();
    for copied in &tables {
        let rows = dump(&mut first, copied.table).await;
        assert_eq!(rows.len() as u64, copied.rows, "{}", copied.table);
        assert!(copied.rows > 0, "nothing of {} is compared", copied.table);
        assert_eq!(rows, dump(&mut last, copied.table).await, "{}", copied.table);
    }

    // The copy is a working coordinator's: the next change has a number of the outbox that no row has.
    let index = open_at(&there, Schema::Require, &desk.time).await;
    let cursor = index.snapshot().await.unwrap().cursor;
    index.judge_member(&home(), "device-3", Verdict::Remove, &admin()).await.unwrap();
    assert_eq!(
        index.changes_after(cursor).await.unwrap().len(),
        2,
        "what happened, and that it was written down"
    );
}

#[tokio::test]
async fn a_copy_never_goes_over_something() {
    let desk = Desk::open("").await;
    let url = lanyard_postgres::server().database().unwrap();
    let there = Location::parse(&url, desk.dir.path()).unwrap();
    copy(&desk.database, &there, &mut |_| {}).await.unwrap();
    for (from, to) in [(&desk.database, &there), (&there, &desk.database)] {
        let error = copy(from, to, &mut |_| {}).await.unwrap_err();
        assert!(matches!(error, IndexError::Exists(_)), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_and_one_that_refuses_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let fleet = SymmetricKey::from_bytes([7; 32]);
    let open = async |url: &str| {
        let database = Location::parse(url, dir.path()).unwrap();
        Index::open(&database, Schema::Upgrade, &fleet, Clock::system()).await.unwrap_err()
    };
    let nowhere = format!("postgres:///lanyard?host={}&user=lanyard", dir.path().display());
    assert_eq!(open(&nowhere).await.code(), "index.unreachable");
    assert_eq!(open(&lanyard_postgres::server().url("nosuch")).await.code(), "index.refused");
    let empty = lanyard_postgres::server().database().unwrap();
    let error = open(&empty).await;
    assert_eq!(error.code(), "index.uninitialised");
    assert!(error.to_string().contains("lanyard-server init"), "{error}");
}

fn set(rows: sqlx::Result<Vec<String>>) -> BTreeSet<String> {
    rows.unwrap().into_iter().collect()
}

/// Every row of a table as one text, in order.
async fn dump(connection: &mut SqliteConnection, table: &str) -> Vec<String> {
    let columns: Vec<String> =
        sqlx::query_scalar("SELECT 'quote(' || name || ')' FROM pragma_table_info($1)")
            .bind(table)
            .fetch_all(&mut *connection)
            .await
            .unwrap();
    let text = format!("SELECT {} FROM {table} ORDER BY 1", columns.join(" || ' ' || "));
    sqlx::query_scalar(AssertSqlSafe(text)).fetch_all(connection).await.unwrap()
}
