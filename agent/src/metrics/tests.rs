//! The page, line by line.

use std::collections::BTreeSet;

use super::*;
use crate::cli::counted_example;

#[test]
fn every_line_is_one_of_the_format_and_every_sample_belongs_to_the_metric_above_it() {
    let text = render(&counted_example());
    assert!(text.ends_with('\n'));
    let (mut metric, mut series, mut metrics) = (String::new(), BTreeSet::new(), BTreeSet::new());
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').unwrap();
            let kind = lines.next().unwrap().strip_prefix(&format!("# TYPE {name} ")).unwrap();
            assert!(kind == "counter" || kind == "gauge", "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(words.ends_with('.') && name.starts_with("lanyard_"), "{line}");
            assert!(metrics.insert(name.to_owned()), "{name} stands there twice");
            metric = name.to_owned();
            continue;
        }
        let (name, labels, value) = parse(line);
        assert_eq!(name, metric, "{line}");
        assert!(value >= 0.0, "{line}");
        assert!(series.insert((name, labels)), "twice: {line}");
    }
    assert!(metrics.len() > 15, "{metrics:?}");
}

#[test]
fn a_peer_is_told_by_the_kind_of_its_paths() {
    let text = render(&counted_example());
    for line in [
        r#"lanyard_agent_dropped_total{reason="rx_noise"} 0"#,
        r#"lanyard_agent_dropped_total{reason="rx_replayed"} 3"#,
        r#"lanyard_agent_server_online{server="203.0.113.10:7443"} 1"#,
        r#"lanyard_agent_server_rtt_seconds{server="203.0.113.10:7443"} 0.014000"#,
        r#"lanyard_network_peers{network="home",path="direct"} 1"#,
        r#"lanyard_network_peers_online{network="home"} 2"#,
        r#"lanyard_peer_tx_bytes_total{peer="nas",network="home",path="direct",over="ipv4"} 88000000"#,
        // Two relays now, and those from before them.
        r#"lanyard_peer_rx_packets_total{peer="nas",network="home",path="relay",over="ipv4"} 1032"#,
        r#"lanyard_peer_path_in_use{peer="nas",network="home",path="direct",over="ipv4"} 1"#,
        r#"lanyard_peer_path_in_use{peer="nas",network="home",path="relay",over="ipv4"} 0"#,
        r#"lanyard_peer_rtt_seconds{peer="nas",network="home",path="direct",over="ipv4"} 0.011249"#,
        r#"lanyard_peer_rtt_min_seconds{peer="nas",network="home",path="direct",over="ipv4"} 0.009800"#,
        r#"lanyard_peer_pings{peer="nas",network="home",path="direct",over="ipv4"} 32"#,
        r#"lanyard_peer_pings_lost{peer="nas",network="home",path="direct",over="ipv4"} 1"#,
        r#"lanyard_peer_dropped_total{peer="nas",network="home",reason="rx_replayed"} 3"#,
        r#"lanyard_peer_session_age_seconds{peer="nas",network="home"} 12"#,
        "lanyard_peers_omitted 0",
    ] {
        assert!(text.lines().any(|known| known == line), "{line} is missing in\n{text}");
    }
    assert!(!text.contains("198.51.100.7"), "no address of a peer");
}

#[test]
fn labels_are_escaped() {
    let mut status = counted_example();
    status.networks[0].members[0].name = "a\"b\\c\nd".to_owned();
    let text = render(&status);
    assert!(text.contains(r#"{peer="a\"b\\c\nd",network="home""#), "{text}");
    let line = text.lines().find(|line| line.starts_with("lanyard_peer_tx_bytes_total")).unwrap();
    assert_eq!(parse(line).1[0], ("peer".to_owned(), "a\"b\\c\nd".to_owned()));
}

#[test]
fn a_device_in_two_networks_is_told_once_and_networks_of_one_name_are_told_apart() {
    let mut status = counted_example();
    let second = Network { server: "vpn.example:7443".to_owned(), ..status.networks[0].clone() };
    status.networks.push(second);
    let text = render(&status);
    assert_eq!(text.matches("lanyard_peer_session_age_seconds{").count(), 1);
    assert!(text.contains(r#"lanyard_network_peers_online{network="home@203.0.113.10:7443"} 2"#), "{text}");
    assert!(text.contains(r#"lanyard_network_peers_online{network="home@vpn.example:7443"} 2"#), "{text}");
}

#[test]
fn of_more_peers_than_a_page_takes_the_rest_is_counted() {
    let mut status = counted_example();
    let nas = status.networks[0].members[0].clone();
    status.networks[0].members = (0..PEERS_MAX + 5)
        .map(|number| Member { id: number.to_string(), name: format!("device-{number}"), ..nas.clone() })
        .collect();
    let text = render(&status);
    assert_eq!(text.matches("lanyard_peer_session_age_seconds{").count(), PEERS_MAX);
    assert!(text.ends_with("lanyard_peers_omitted 5\n"));
}

/// Name, labels and value of a sample.
fn parse(line: &str) -> (String, Vec<(String, String)>, f64) {
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    assert!(is_name(name), "{line}");
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (name, after) = rest.split_once("=\"").unwrap();
            assert!(is_name(name), "{line}");
            let (value, after) = unescape(after);
            labels.push((name.to_owned(), value));
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    (name.to_owned(), labels, rest.strip_prefix(' ').unwrap().parse().unwrap())
}

/// A label's value up to its closing quote, and what stands behind that.
fn unescape(text: &str) -> (String, &str) {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match chars.next().unwrap().1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    panic!("no closing quote in {text}");
}
