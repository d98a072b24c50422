//! Where settings come from, and what is refused.

use std::io::Write as _;

use super::*;

#[test]
fn a_flag_wins_over_the_environment_over_the_file_over_the_default() {
    let file = file("tun = 'from-file'\nport = 1\nname = 'from-file'\nport_mapping = false\n");
    let environment = |name: &str| match name {
        "LANYARD_PORT" => Some("2".to_owned()),
        "LANYARD_NAME" => Some("from-env".to_owned()),
        _ => None,
    };
    let flags = Flags::from([("name", "from-flag".to_owned())]);

    let config = Config::resolve(Some(file.path()), environment, &flags).unwrap();

    assert_eq!(config.log, "info");
    assert_eq!((config.tun.as_str(), config.port_mapping), ("from-file", false));
    assert_eq!(config.port, 2);
    assert_eq!(config.name, "from-flag");
}

#[test]
fn an_unknown_key_is_refused_by_name() {
    let file = file("sockett = '/run/x'\n");
    let problem = Config::resolve(Some(file.path()), nothing, &Flags::new()).unwrap_err();
    assert_eq!(problem.code, Code::ConfigUnknownKey);
    assert!(problem.text.contains("\"sockett\""), "{problem}");
}

#[test]
fn a_wrong_value_names_its_origin() {
    let flags = Flags::from([("port", "70000".to_owned())]);
    let problem = Config::resolve(None, nothing, &flags).unwrap_err();
    assert_eq!(problem.code, Code::ConfigInvalid);
    assert!(problem.text.starts_with("the flag --port sets port = \"70000\""), "{problem}");

    let flags = Flags::from([("port_mapping", "on".to_owned())]);
    let problem = Config::resolve(None, nothing, &flags).unwrap_err();
    assert!(problem.text.contains("neither true nor false"), "{problem}");

    let flags = Flags::from([("proxy", "socks5://milena:secret@host".to_owned())]);
    let problem = Config::resolve(None, nothing, &flags).unwrap_err();
    assert!(problem.text.contains("only http://") && !problem.text.contains("secret"), "{problem}");
    let flags = Flags::from([("proxy", "http://milena:secret@host:3128".to_owned())]);
    let config = Config::resolve(None, nothing, &flags).unwrap();
    assert!(!format!("{config:?}").contains("secret"));

    let file = file("tun = 'much-too-long-for-linux'\n");
    let problem = Config::resolve(Some(file.path()), nothing, &Flags::new()).unwrap_err();
    assert!(problem.text.contains("interface name"), "{problem}");
}

#[test]
fn metrics_are_off_on_this_computer_or_where_the_administrator_says() {
    let resolve = |file: &str| {
        let file = self::file(file);
        Config::resolve(Some(file.path()), nothing, &Flags::new()).map(|config| config.metrics)
    };
    assert_eq!(resolve("").unwrap(), None);
    let local = Some("127.0.0.1:9174".parse().unwrap());
    assert_eq!(resolve("metrics = 9174").unwrap(), local);
    assert_eq!(resolve("metrics = '127.0.0.1:9174'").unwrap(), local);
    assert_eq!(resolve("metrics = '[fd5a::3]:80'").unwrap(), Some("[fd5a::3]:80".parse().unwrap()));
    for wrong in
        ["'localhost:9174'", "'127.0.0.1'", "0", "'127.0.0.1:0'", "70000", "true", "'http://127.0.0.1:1'"]
    {
        let problem = resolve(&format!("metrics = {wrong}")).unwrap_err();
        assert_eq!(problem.code, Code::ConfigInvalid);
        assert!(problem.text.ends_with("such as 127.0.0.1:9174"), "{problem}");
    }
}

#[test]
fn a_named_file_must_exist_and_be_toml() {
    let missing = Path::new("/nonexistent/lanyard.toml");
    let problem = Config::resolve(Some(missing), nothing, &Flags::new()).unwrap_err();
    assert_eq!(problem.code, Code::ConfigUnreadable);
    assert!(problem.text.contains("/nonexistent/lanyard.toml"), "{problem}");

    let file = file("port = = 3\n");
    let problem = Config::resolve(Some(file.path()), nothing, &Flags::new()).unwrap_err();
    assert_eq!(problem.code, Code::ConfigUnreadable);

    let file = self::file("[port]\nnumber = 3\n");
    let problem = Config::resolve(Some(file.path()), nothing, &Flags::new()).unwrap_err();
    assert_eq!(problem.code, Code::ConfigInvalid);
}

// Other systems have other places, and the example is Linux's.
#[cfg(target_os = "linux")]
#[test]
fn the_example_file_holds_every_key_with_its_default() {
    let example = include_str!("../../../docs/examples/lanyard.toml");
    let uncommented: String = example
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()) && line.contains(" = "))
        .map(|line| format!("{line}\n"))
        .collect();
    let file = file(&uncommented);

    let config = Config::resolve(Some(file.path()), nothing, &Flags::new()).unwrap();

    let empty = self::file("");
    assert_eq!(config, Config::resolve(Some(empty.path()), nothing, &Flags::new()).unwrap());
    for key in KEYS {
        assert!(uncommented.contains(&format!("{} = ", key.name)), "{} is not in the example", key.name);
        assert!(example.contains(key.variable), "{} is not in the example", key.variable);
    }
    let as_shipped = self::file(example);
    assert!(Config::resolve(Some(as_shipped.path()), nothing, &Flags::new()).is_ok());
}

fn nothing(_variable: &str) -> Option<String> {
    None
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}
