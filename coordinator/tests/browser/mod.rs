//! A browser without JavaScript before a running coordinator.
#![allow(dead_code, reason = "of the helpers that several tests share each uses some")]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::server::{Directory, Server};

/// Whoever signs in does so with it.
pub(crate) const PASSWORD: &str = "four+words+in+a+row";

/// Where people are once they have signed in.
pub(crate) const HOME: &str = if cfg!(lanyard_panel) { "/" } else { "/account" };

/// A server, and what is needed to speak to it.
pub(crate) struct Site {
    pub(crate) directory: Directory,
    _server: Server,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

/// A browser: it keeps its cookies.
#[derive(Default, Clone)]
pub(crate) struct Browser {
    cookies: BTreeMap<String, String>,
    /// Where it is, as a proxy tells; here, if that is empty.
    place: String,
}

/// What a server answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Site {
    pub(crate) fn open() -> Self {
        Self::with(&[])
    }

    /// With these settings besides.
    pub(crate) fn with(settings: &[(&str, String)]) -> Self {
        Self::of(Directory::made(), settings)
    }

    /// From a directory that was made before.
    pub(crate) fn of(directory: Directory, settings: &[(&str, String)]) -> Self {
        let server = directory.serve("index", settings);
        let address = server.place("tcp web");
        Self { directory, _server: server, address }
    }

    /// Runs a command that must succeed, and returns what it prints.
    pub(crate) fn run(&self, args: &[&str]) -> String {
        let output = self.directory.command().args(args).arg("--json").output().unwrap();
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The path of the link that a command printed.
    pub(crate) fn link(&self, args: &[&str]) -> String {
        let text = self.run(args);
        let link = text.split('"').find(|part| part.starts_with("http")).unwrap_or_else(|| panic!("{text}"));
        format!("/{}", link.splitn(4, '/').nth(3).unwrap())
    }

    /// A browser signed in as the first administrator, "milena".
    pub(crate) fn founded(&self) -> Browser {
        let mut browser = Browser::default();
        let link = self.link(&["setup-link"]);
        let answer = browser.post(self, &link, &format!("name=Milena&password={PASSWORD}"));
        assert_eq!((answer.status, answer.location()), (303, HOME), "{}", answer.body);
        browser
    }
}

impl Browser {
    /// One that shows that.
    pub(crate) fn with_cookie(name: &str, value: &str) -> Self {
        Self { cookies: BTreeMap::from([(name.to_owned(), value.to_owned())]), ..Self::default() }
    }

    /// One at a private address.
    pub(crate) fn from(place: &str) -> Self {
        Self { place: place.to_owned(), ..Self::default() }
    }

    /// What it shows under that name.
    pub(crate) fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.get(name).map(String::as_str)
    }

    /// A browser without that cookie.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.cookies.remove(name);
        self
    }

    pub(crate) fn get(&mut self, site: &Site, path: &str) -> Answer {
        self.ask(site, "GET", path, "", "")
    }

    pub(crate) fn post(&mut self, site: &Site, path: &str, form: &str) -> Answer {
        self.ask(site, "POST", path, "Sec-Fetch-Site: same-origin\r\n", form)
    }

    pub(crate) fn ask(&mut self, site: &Site, method: &str, path: &str, headers: &str, form: &str) -> Answer {
        let headers = format!("{headers}Content-Type: application/x-www-form-urlencoded\r\n");
        self.send(site, method, path, &headers, form)
    }

    /// What a script of a page sends.
    pub(crate) fn json(&mut self, site: &Site, path: &str, body: &Value) -> Answer {
        let headers = "Sec-Fetch-Site: same-origin\r\nContent-Type: application/json\r\n";
        self.send(site, "POST", path, headers, &body.to_string())
    }

    fn send(&mut self, site: &Site, method: &str, path: &str, headers: &str, form: &str) -> Answer {
        let mut stream = TcpStream::connect(site.address).unwrap();
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookie =
            if cookies.is_empty() { String::new() } else { format!("Cookie: {}\r\n", cookies.join("; ")) };
        let place = match self.place.as_str() {
            "" => String::new(),
            place => format!("X-Forwarded-For: {place}\r\n"),
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: lan.example\r\nUser-Agent: test\r\nConnection: close\r\n{cookie}{place}{headers}\
             Content-Length: {}\r\n\r\n{form}",
            form.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let answer = Answer { status, head: head.to_owned(), body: body.to_owned() };
        for line in answer.headers("set-cookie") {
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            match value {
                "" => self.cookies.remove(name),
                _ => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
        answer
    }
}

impl Answer {
    /// What it says to a script.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{} {}", self.head, self.body))
    }

    fn headers(&self, name: &str) -> impl Iterator<Item = &str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(move |(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).next()
    }

    pub(crate) fn location(&self) -> &str {
        self.header("location").unwrap_or_default()
    }
}
