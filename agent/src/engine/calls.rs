//! Requests from the local socket, turned into commands for the machine and answers for people.

use std::collections::BTreeMap;
use std::time::Duration;

use lanyard_proto::device::{Command, Status};
use lanyard_wire::join::JoinString;
use lanyard_wire::keys::PublicKey;
use lanyard_wire::limits::{CONTROL_PORT, WEB_PORT};
use lanyard_wire::names::{DeviceName, JoinPassword};
use tokio::sync::mpsc;

use super::echo::Ping;
use super::waiting::{COORDINATOR_WAIT, What, Wish};
use super::ways::Ways;
use super::{Engine, counted, find, report};
use crate::exit::{Code, Problem};
use crate::ipc::schema;
use crate::ipc::schema::{Answer, Ask, Device, Door, Hidden, Nat, Network, PortMapping, Switched};
use crate::ipc::server::Call;
use crate::state::Host;

impl Engine {
    /// Answers a request, or notes who waits for what.
    pub(super) async fn call(&mut self, Call { ask, answers }: Call) {
        let outcome = match ask {
            Ask::Status { watch } => {
                if watch {
                    self.watchers.push(answers.clone());
                }
                Ok(Some(Answer::Status(self.status())))
            }
            Ask::Up { network } => self.up(network.as_deref()).await.map(Some),
            Ask::Down { network } => self.down(network.as_deref()).await.map(Some),
            Ask::Join { join, name, password, wait_s } => {
                self.join(&join, name.as_deref(), password.as_ref(), wait_s, &answers)
            }
            Ask::Leave { network } => self.leave(&network, &answers).map(|()| None),
            Ask::Ping { peer, count, until_direct, size } => {
                self.ping(&peer, count, until_direct, size, &answers).map(|()| None)
            }
            Ask::Why { peer } => self.why(&peer).map(Some),
            Ask::Netcheck => self.netcheck(&answers).map(|()| None),
            Ask::Version => Ok(Some(Answer::Version { version: crate::VERSION.to_owned() })),
        };
        let answer = match outcome {
            Ok(Some(answer)) => answer,
            Ok(None) => return,
            Err(problem) => Answer::Error(problem),
        };
        // A client that hung up needs no answer; the channel of a new call is empty.
        drop(answers.try_send(answer));
    }

    /// Everything there is to see.
    pub(super) fn status(&self) -> schema::Status {
        let hosts = &self.state.hosts;
        let (number, nat, servers, networks, dropped) = match &self.networking {
            Some(networking) => {
                let (status, ways) = (networking.status(), networking.ways());
                let servers = status.coordinators.iter();
                let servers =
                    servers.map(|one| report::server(one, hosts, networking.doors().state(&one.key), &ways));
                let servers = servers.collect();
                let networks = status.networks.iter().map(|one| report::network(one, hosts, &ways));
                let mut networks: Vec<_> = networks.collect();
                let (drops, peers) = networking.counters();
                counted::add(&mut networks, &status, &peers, &ways, networking.now());
                let dropped = counted::drops(&drops);
                (report::number(&status), report::nat(&status.card), servers, networks, dropped)
            }
            None => (None, Nat::default(), Vec::new(), self.remembered(), BTreeMap::new()),
        };
        let known = || self.state.cache.coordinators.iter().find_map(|cache| cache.number);
        let identity = self.keys.identity.public();
        schema::Status {
            version: crate::VERSION.to_owned(),
            device: Device {
                name: self.name().to_string(),
                id: lanyard_wire::ids::DeviceId::of(&identity).to_string(),
                number: number.or_else(|| known().map(|number| number.to_string())),
                key: identity.to_string(),
                port: self.networking.as_ref().map_or(self.state.port, super::Networking::port),
            },
            up: self.networking.is_some(),
            nat,
            port_mapping: self.port_mapping(),
            servers,
            networks,
            dropped,
        }
    }

    /// What the router maps.
    pub(super) fn port_mapping(&self) -> PortMapping {
        let (state, is_offered) = self.networking.as_ref().map_or((None, false), super::Networking::mapping);
        report::port_mapping(state, is_offered)
    }

    fn remembered(&self) -> Vec<Network> {
        let networks = self.state.cache.coordinators.iter().flat_map(|cache| {
            let server = report::host_of(&cache.key, &self.state.hosts);
            cache.networks.iter().map(move |network| report::remembered(network, server.clone()))
        });
        networks.collect()
    }

    async fn up(&mut self, network: Option<&str>) -> Result<Answer, Problem> {
        if let Some(word) = network {
            return self.enable(word, true);
        }
        if self.networking.is_none() {
            self.start().await?;
            self.state.down = false;
            self.save();
        }
        let status = self.machine()?;
        for network in status.networks.iter().filter(|network| !network.enabled) {
            self.command(Command::Enable { network: network.id, enabled: true });
        }
        let networks = status.networks.iter().map(|network| network.name.to_string()).collect();
        Ok(Answer::Switched(Switched { up: true, networks }))
    }

    async fn down(&mut self, network: Option<&str>) -> Result<Answer, Problem> {
        if let Some(word) = network {
            return self.enable(word, false);
        }
        self.stop().await;
        self.state.down = true;
        self.save();
        Ok(Answer::Switched(Switched { up: false, networks: Vec::new() }))
    }

    fn enable(&mut self, word: &str, enabled: bool) -> Result<Answer, Problem> {
        let status = self.machine()?;
        let network = find::network(&status, &self.state.hosts, word)?;
        self.command(Command::Enable { network: network.id, enabled });
        Ok(Answer::Switched(Switched { up: enabled, networks: vec![network.name.to_string()] }))
    }

    fn join(
        &mut self,
        join: &str,
        name: Option<&str>,
        password: Option<&Hidden>,
        wait_s: u32,
        answers: &mpsc::Sender<Answer>,
    ) -> Result<Option<Answer>, Problem> {
        let status = self.machine()?;
        let JoinString { host, port, network, invite, door, key } = JoinString::parse(join)
            .map_err(|error| Problem::new(Code::JoinString, format!("this is not a join string: {error}")))?;
        let password = password.map(|password| JoinPassword::parse(&password.0)).transpose();
        let password = password.map_err(|error| Problem::new(Code::JoinWrongPassword, error.to_string()))?;
        let name = match name {
            Some(name) => {
                let name: DeviceName = name.parse().map_err(|error| {
                    Problem::new(Code::JoinName, format!("\"{name}\" cannot be a device's name: {error}"))
                })?;
                self.state.name = Some(name.clone());
                self.save();
                name
            }
            None => self.name(),
        };
        let host =
            Host { key, name: host, port: port.unwrap_or(CONTROL_PORT), door: door.unwrap_or(WEB_PORT) };
        let patience = Duration::from_secs(wait_s.into());
        let wish = Wish { host, network, invite, password, name, patience };
        if super::is_active(&status, |network| network.coordinator == key && network.name == wish.network) {
            return Ok(Some(self.joined(&wish, false)));
        }
        let host = wish.host.clone();
        let tag = self.waiting.add(What::Addresses(wish), COORDINATOR_WAIT, answers.clone());
        self.resolver.ask(&host, Some(tag));
        Ok(None)
    }

    fn leave(&mut self, word: &str, answers: &mpsc::Sender<Answer>) -> Result<(), Problem> {
        let status = self.machine()?;
        let network = find::network(&status, &self.state.hosts, word)?;
        let what = What::Leave { network: network.name.to_string() };
        let tag = self.waiting.add(what, COORDINATOR_WAIT, answers.clone());
        self.command(Command::Leave { tag, network: network.id });
        Ok(())
    }

    fn ping(
        &mut self,
        word: &str,
        count: u32,
        until_direct: bool,
        size: u16,
        answers: &mpsc::Sender<Answer>,
    ) -> Result<(), Problem> {
        let status = self.machine()?;
        let (network, peer) = find::peer(&status, word)?;
        if !network.enabled {
            let text = format!("network {0} is down; \"lanyard up {0}\" switches it on", network.name);
            return Err(Problem::new(Code::AgentDown, text));
        }
        // IPv4 unless it is off here, or IPv6 was asked for by its address.
        let is_six = network.clash.is_some() || word.parse() == Ok(peer.ip6);
        let (from, to) = if is_six {
            (network.ip6.into(), peer.ip6.into())
        } else {
            (network.ip4.into(), peer.ip4.into())
        };
        let ping =
            Ping { device: peer.device, name: peer.name.to_string(), from, to, count, until_direct, size };
        self.command(Command::Connect { peer: peer.device });
        if let Some(networking) = &self.networking {
            tokio::spawn(ping.run(networking.table(), networking.ways(), answers.clone()));
        }
        Ok(())
    }

    fn why(&self, word: &str) -> Result<Answer, Problem> {
        let status = self.machine()?;
        let (network, peer) = find::peer(&status, word)?;
        let now = self.networking.as_ref().map(super::Networking::now).unwrap_or_default();
        let ways = self.networking.as_ref().map(super::Networking::ways).unwrap_or_default();
        let door = self.door(&status, &network.coordinator);
        let name = self.name().to_string();
        let ours = (&status.card, self.port_mapping(), door);
        Ok(Answer::Why(report::why(name, ours, network, peer, &ways, now)))
    }

    /// The door to a coordinator, while its session goes through it.
    fn door(&self, status: &Status, key: &PublicKey) -> Option<Door> {
        let state = self.networking.as_ref()?.doors().state(key);
        let coordinator = status.coordinators.iter().find(|coordinator| coordinator.key == *key)?;
        report::server(coordinator, &[], state, &Ways::default()).door.filter(|door| door.problem.is_none())
    }

    /// The machine's status, or why there is none.
    pub(super) fn machine(&self) -> Result<Status, Problem> {
        self.networking.as_ref().map(super::Networking::status).ok_or_else(is_down)
    }

    pub(super) fn command(&mut self, command: Command) {
        if let Some(networking) = &mut self.networking {
            networking.command(command);
        }
    }
}

/// What every request says that needs networking.
pub(super) fn is_down() -> Problem {
    Problem::new(Code::AgentDown, "networking is down on this device; \"lanyard up\" switches it on")
}
