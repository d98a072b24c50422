//! Settings: the example, what is refused and by which name, and what the environment overrides.

use super::*;

const EXAMPLE: &str = include_str!("../../../docs/examples/lanyard-server.toml");

fn none() -> std::iter::Empty<(String, String)> {
    std::iter::empty()
}

fn env(pairs: &[(&str, &str)]) -> std::vec::IntoIter<(String, String)> {
    let list: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    list.into_iter()
}

#[test]
fn the_commented_example_holds_every_key_with_its_default() {
    let example: Table = toml::from_str(EXAMPLE).unwrap();
    assert_eq!(example, Config::known_keys());
    assert_eq!(Config::parse(EXAMPLE, "example", none()).unwrap(), Config::default());
}

#[test]
fn an_unknown_key_is_refused_by_name_and_line() {
    let error = Config::parse("[stun]\nstrikt = false\n", "lanyard-server.toml", none()).unwrap_err();
    assert_eq!(error.code(), "config.unknown_key");
    assert!(error.to_string().contains("strikt") && error.to_string().contains("line 2"), "{error}");
    let error = Config::parse("[stunn]\n", "lanyard-server.toml", none()).unwrap_err();
    assert!(error.to_string().contains("stunn"), "{error}");
}

#[test]
fn a_file_that_is_no_toml_is_named() {
    let error = Config::parse("[stun\n\u{0}", "lanyard-server.toml", none()).unwrap_err();
    assert_eq!(error.code(), "config.invalid");
    assert!(error.to_string().contains("lanyard-server.toml"), "{error}");
}

#[test]
fn the_example_of_a_relay_apart_is_complete() {
    let text = include_str!("../../../docs/examples/lanyard-relay.toml");
    let config = Config::parse(text, "example", none()).unwrap();
    config.check().unwrap();
    assert_eq!(
        (config.services.run.as_slice(), config.relay.total_bps),
        (&[Service::Relay][..], 900_000_000)
    );
}

#[test]
fn the_environment_wins_over_the_file() {
    let text = "[log]\nlevel = \"warn\"\n[stun]\nports = [1, 2]\n";
    let overrides = env(&[
        ("LANYARD_SERVER_LOG_LEVEL", "debug"),
        ("LANYARD_SERVER_LOG_FORMAT", "json"),
        ("LANYARD_SERVER_CONTROL_LISTEN", "127.0.0.1:1, [::1]:2"),
        ("LANYARD_SERVER_STUN_PORTS", "5000,5001"),
        ("LANYARD_SERVER_STUN_STRICT", "false"),
        ("LANYARD_SERVER_PUBLIC_HOST", "203.0.113.10"),
        ("LANYARD_SERVER_SERVICES_RUN", "[\"relay\"]"),
        ("LANYARD_SERVER_RELAY_RATE_BPS", "8000"),
        ("LANYARD_SERVER_RELAY_ELSEWHERE", "[{ name = \"r2\", addresses = [\"198.51.100.7:7443\"] }]"),
        ("LANYARD_SERVER_DIR", "not a setting"),
        ("PATH", "not ours"),
    ]);
    let config = Config::parse(text, "file", overrides).unwrap();
    assert_eq!((config.log.level.as_str(), config.log.format), ("debug", LogFormat::Json));
    assert_eq!(config.control.listen.len(), 2);
    assert_eq!((config.stun.ports, config.stun.strict), ([5000, 5001], false));
    assert_eq!(config.public.host, "203.0.113.10");
    assert_eq!(config.services.run, [Service::Relay]);
    assert_eq!(config.relay.rate_bps, 8_000);
    assert_eq!(config.relay.elsewhere[0].name, "r2");
}

#[test]
fn an_unknown_or_unreadable_variable_is_refused_by_name() {
    let error = Config::parse("", "file", env(&[("LANYARD_SERVER_LOG_LEVVEL", "debug")])).unwrap_err();
    assert_eq!(error.code(), "config.unknown_key");
    assert!(error.to_string().contains("LANYARD_SERVER_LOG_LEVVEL"), "{error}");
    let error = Config::parse("", "file", env(&[("LANYARD_SERVER_STUN_STRICT", "perhaps")])).unwrap_err();
    assert_eq!(error.code(), "config.invalid");
    assert!(error.to_string().contains("boolean"), "{error}");
}

#[test]
fn providers_are_checked_one_by_one_and_their_names_told() {
    let good = "[[oidc]]\nid = \"work\"\nissuer = \"https://id.example.org\"\nclient_id = \"lanyard\"\n";
    let checked = |text: &str| {
        let text = format!("[public]\nhost = \"203.0.113.10\"\n{text}");
        Config::parse(&text, "file", none()).and_then(|config| config.check().map(|()| config))
    };
    let config = checked(good).unwrap();
    assert_eq!(config.oidc[0].scopes, ["openid", "profile", "email"]);
    let roles = format!(
        "{good}groups_claim = \"groups\"\nroles = [{{ group = \"staff\", network = \"home\", role = \"member\" }}]\n"
    );
    assert_eq!(checked(&roles).unwrap().oidc[0].roles[0].role, Given::Member);
    for (text, why) in [
        (good.replace("work", "Work!"), "id must be"),
        (good.replace("https", "http"), "issuer must be"),
        (good.replace("example.org", "example.org?tenant=a"), "issuer must be"),
        (good.replace("lanyard", ""), "client_id is empty"),
        (format!("{good}scopes = [\"email\"]"), "openid"),
        (format!("{good}admin_groups = [\"root\"]"), "groups_claim is empty"),
        (format!("{good}{good}"), "must differ"),
        (roles.replace("member", "owner"), "unknown variant `owner`"),
        (format!("{good}colour = \"red\""), "colour"),
    ] {
        let error = checked(&text).unwrap_err();
        assert!(error.to_string().contains(why), "{text}: {error}");
    }
}

#[test]
fn settings_that_make_no_sense_are_refused_with_what_would_do() {
    let why = |text: &str| {
        let text = format!("[public]\nhost = \"203.0.113.10\"\n{text}");
        Config::parse(&text, "file", none()).unwrap().check().unwrap_err().to_string()
    };
    assert!(Config::default().check().unwrap_err().to_string().contains("public.host"));
    assert!(why("[services]\nrun = []").contains("services.run"));
    assert!(why("[services]\nrun = [\"checkpoint\"]").contains("bus.connect"));
    assert!(why("[stun]\nports = [3478, 3478]").contains("two different"));
    assert!(why("[stun]\naddresses = [\"10.0.0.1\", \"10.0.0.2\", \"10.0.0.3\"]").contains("at most two"));
    assert!(why("[stun]\npublic = [\"192.0.2.1\"]").contains("as many"));
    assert!(why("[web]\nlisten = \"8080\"").contains("web.listen"));
    for wrong in ["lan.example.org", "https://lan.example.org/panel", "ftp://lan.example.org", "https://"] {
        assert!(why(&format!("[web]\nurl = \"{wrong}\"")).contains("web.url"), "{wrong}");
    }
}
