//! `lanyard-server health`
//!
//! For scripts, containers and people: asks `/healthz` of the server that runs with these settings. The exit code is 0
//! when every service does its job, if need be with what it knows; 1 when one failed or nobody answers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Place;
use crate::problem::Problem;

/// How long a healthy server may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Longest answer read, in bytes; a report is a few hundred.
const REPORT_MAX: u64 = 64 << 10;

pub(super) async fn run(place: &Place) -> anyhow::Result<ExitCode> {
    let config = place.config()?;
    if config.web.listen.is_empty() {
        let text = "web.listen is empty, so a server has nowhere to tell how it is: set it and restart lanyard-server";
        return Err(Problem::new("web.off", text).into());
    }
    let address = local_address(&config.web.listen)?;
    let asked = timeout(PATIENCE, ask(address)).await;
    let (status, report) = asked.ok().and_then(Result::ok).ok_or_else(|| {
        let text = format!(
            "nothing answers at http://{address}/healthz: start it with \"{}\"",
            place.start_command()
        );
        Problem::new("health.silent", text)
    })?;
    place.output.print("health", &report, || render(&report))?;
    Ok(if status == 200 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where a server that listens at `listen` is reached from its own machine.
fn local_address(listen: &str) -> anyhow::Result<SocketAddr> {
    let mut address: SocketAddr =
        listen.parse().with_context(|| format!("web.listen \"{listen}\" is no address and port"))?;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    Ok(address)
}

/// The status and body of `/healthz`.
async fn ask(address: SocketAddr) -> anyhow::Result<(u16, Value)> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /healthz HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(REPORT_MAX).read_to_string(&mut answer).await?;
    parse(&answer).context("the answer is no health report")
}

fn parse(answer: &str) -> Option<(u16, Value)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    Some((status, serde_json::from_str(body).ok()?))
}

fn render(report: &Value) -> String {
    let services = report["services"].as_object();
    let line =
        |(name, state): (&String, &Value)| format!("{name:<10}  {}\n", state.as_str().unwrap_or("unknown"));
    services.into_iter().flatten().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_listens_everywhere_is_asked_on_loopback() {
        assert_eq!(local_address("0.0.0.0:8080").unwrap(), "127.0.0.1:8080".parse().unwrap());
        assert_eq!(local_address("[::]:8080").unwrap(), "[::1]:8080".parse().unwrap());
        assert_eq!(local_address("10.0.0.1:80").unwrap(), "10.0.0.1:80".parse().unwrap());
    }

    #[test]
    fn only_a_report_is_taken_for_one() {
        let (status, report) = parse("HTTP/1.0 503 X\r\na: b\r\n\r\n{\"services\":{}}").unwrap();
        assert_eq!((status, report["services"].is_object()), (503, true));
        assert!(parse("HTTP/1.0 200 OK\r\n\r\n<html>").is_none());
        assert!(parse("SSH-2.0").is_none());
    }
}
