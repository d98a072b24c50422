//! The dialogue with a proxy, and which one is asked.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

use super::*;

/// What a proxy that answers so makes of a question, and what it was asked.
async fn ask(proxy: &str, answer: &[u8]) -> (Result<(), Closed>, String) {
    let proxy = Proxy::parse(proxy).unwrap();
    let (mut ours, mut theirs) = duplex(64 << 10);
    theirs.write_all(answer).await.unwrap();
    let asked = proxy.ask(&mut ours, "vpn.example", 443);
    let result = asked.await;
    drop(ours);
    let mut request = String::new();
    theirs.read_to_string(&mut request).await.unwrap();
    (result, request)
}

async fn refusal(proxy: &str, answer: &[u8]) -> String {
    ask(proxy, answer).await.0.unwrap_err().to_string()
}

#[tokio::test]
async fn a_proxy_is_asked_by_connect_and_its_yes_is_taken() {
    let (result, request) = ask("http://10.0.0.1:3128", b"HTTP/1.1 200 Connection established\r\n\r\n").await;
    result.unwrap();
    assert_eq!(request, "CONNECT vpn.example:443 HTTP/1.1\r\nHost: vpn.example:443\r\n\r\n");
}

#[tokio::test]
async fn name_and_password_come_from_the_url_and_never_out_again() {
    let url = "http://milena:p%40ss%3Aw@proxy.example:8080/";
    let (result, request) = ask(url, b"HTTP/1.0 200 OK\r\n\r\n").await;
    result.unwrap();
    // "milena:p@ss:w"
    assert!(request.contains("\r\nProxy-Authorization: Basic bWlsZW5hOnBAc3M6dw==\r\n"), "{request}");
    let proxy = Proxy::parse(url).unwrap();
    assert_eq!(
        (format!("{proxy:?}"), proxy.to_string().as_str()),
        ("proxy.example:8080".to_owned(), "proxy.example:8080")
    );
    let text = refusal(url, b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
    assert!(text.contains("does not take") && !text.contains("p@ss") && !text.contains("bWls"), "{text}");
}

#[tokio::test]
async fn a_proxy_that_wants_a_password_says_how_to_give_one() {
    let answer =
        b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n";
    let text = refusal("10.0.0.1:3128", answer).await;
    assert!(text.contains("NAME:PASSWORD@"), "{text}");
}

#[tokio::test]
async fn a_bad_status_is_told() {
    let text = refusal("10.0.0.1:3128", b"HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nsorry").await;
    assert!(text.contains("10.0.0.1:3128") && text.contains("403"), "{text}");
    refusal("10.0.0.1:3128", b"HTTP/1.1 302 Found\r\nLocation: http://portal/\r\n\r\n").await;
}

#[tokio::test]
async fn hostile_answers_end_and_are_bounded() {
    let long = [b"HTTP/1.1 200 OK\r\nX: ".as_slice(), &vec![b'a'; 40 << 10]].concat();
    assert!(refusal("p", &long).await.contains("no end"));
    let fields = [b"HTTP/1.1 200 OK\r\n".as_slice(), &b"A: b\r\n".repeat(500), b"\r\n"].concat();
    assert!(refusal("p", &fields).await.contains("not HTTP"));
    assert!(refusal("p", b"SSH-2.0-OpenSSH\r\n\r\n").await.contains("not HTTP"));
    assert!(refusal("p", b"HTTP/1.1 99999 OK\r\n\r\n").await.contains("not HTTP"));
    assert!(refusal("p", b"HTTP/1.1 200 OK\r\n\r\nhello").await.contains("before it was asked"));
}

#[tokio::test]
async fn a_length_on_the_yes_means_nothing() {
    let answer =
        b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\nTransfer-Encoding: chunked\r\n\r\n";
    ask("p", answer).await.0.unwrap();
}

#[tokio::test]
async fn a_proxy_that_hangs_up_is_an_error() {
    let proxy = Proxy::parse("10.0.0.1:3128").unwrap();
    let (mut ours, theirs) = duplex(4_096);
    let hang_up = async {
        let mut theirs = theirs;
        let mut request = [0; 16];
        theirs.read_exact(&mut request).await.unwrap();
    };
    let (result, ()) = tokio::join!(proxy.ask(&mut ours, "vpn.example", 443), hang_up);
    assert!(result.unwrap_err().to_string().contains("closed"));
}

#[test]
fn urls_of_proxies_are_read_or_refused_with_a_reason() {
    for (text, place) in [
        ("http://proxy.example:3128", "proxy.example:3128"),
        ("HTTP://proxy.example:3128/", "proxy.example:3128"),
        ("proxy.example", "proxy.example:80"),
        ("http://u:p@[2001:db8::1]:3128", "[2001:db8::1]:3128"),
        ("http://u@10.0.0.1", "10.0.0.1:80"),
    ] {
        assert_eq!(Proxy::parse(text).unwrap().to_string(), place);
    }
    for text in [
        "socks5://10.0.0.1:1080",
        "https://10.0.0.1",
        "http://",
        "http://host:0",
        "http://host:99999",
        "http://[::1",
        "http://ho st",
        "http://a%zz@host",
        "http://host\r\nX: y",
    ] {
        assert!(Proxy::parse(text).is_err(), "{text}");
    }
    assert_eq!((check(""), check("none")), (Ok(()), Ok(())));
    assert!(check("socks5://x").is_err());
}

#[test]
fn the_setting_wins_over_the_environment_and_none_over_both() {
    let environment = |name: &str| (name == "https_proxy").then(|| "http://env:1".to_owned());
    let of = |setting| Proxies::of(setting, environment).proxy_for("vpn.example").map(ToString::to_string);
    assert_eq!(of(""), Some("env:1".to_owned()));
    assert_eq!(of("http://set:2"), Some("set:2".to_owned()));
    assert_eq!(of("none"), None);
    let socks = |name: &str| (name == "ALL_PROXY").then(|| "socks5://x".to_owned());
    assert!(Proxies::of("", socks).proxy_for("vpn.example").is_none());
}

#[test]
fn exceptions_are_names_with_what_is_below_addresses_and_prefixes() {
    let environment = |name: &str| match name {
        "HTTPS_PROXY" => Some("http://p:1".to_owned()),
        "NO_PROXY" => Some("Example.org, .corp,10.0.0.0/8,192.0.2.7,2001:db8::/32".to_owned()),
        _ => None,
    };
    let proxies = Proxies::of("", environment);
    for host in ["example.org", "VPN.example.org", "a.corp", "10.1.2.3", "192.0.2.7", "2001:db8::9"] {
        assert!(proxies.proxy_for(host).is_none(), "{host}");
    }
    for host in ["badexample.org", "example.com", "11.1.2.3", "192.0.2.8", "2001:db9::1"] {
        assert!(proxies.proxy_for(host).is_some(), "{host}");
    }
    assert!(is_exception("*", "anything"));
    assert!(!is_exception("10.0.0.0/99", "10.0.0.1"));
    assert!(is_exception("0.0.0.0/0", "10.0.0.1"));
}
