//! `lanyard netcheck`: the machine measures, and where UDP gets no answer a look at TCP tells what does.

use std::net::SocketAddr;

use lanyard_proto::device::Command;
use lanyard_proto::device::egress::{Egress, PlainSign, Signs};
use lanyard_wire::nat::NatCard;
use tokio::sync::mpsc;
use tracing::debug;

use super::waiting::{NETCHECK_WAIT, What};
use super::{Engine, report};
use crate::door::web::Look;
use crate::exit::{Code, Problem};
use crate::ipc::schema::{Answer, Netcheck};
use crate::sockets::whole;

impl Engine {
    /// Has the machine measure, and notes who waits for it.
    pub(super) fn netcheck(&mut self, answers: &mpsc::Sender<Answer>) -> Result<(), Problem> {
        if self.machine()?.coordinators.is_empty() {
            let text = "a coordinator's STUN services are needed to measure; join a network first";
            return Err(Problem::new(Code::NetworkUnknown, text));
        }
        let tag = self.waiting.add(What::Netcheck, NETCHECK_WAIT, answers.clone());
        self.command(Command::Netcheck { tag });
        Ok(())
    }

    /// The machine has measured: tells whoever waits.
    pub(super) fn measured(&mut self, tag: u64, card: &NatCard) {
        let Some(wait) = self.waiting.take(tag) else { return };
        let Some(networking) = &self.networking else { return };
        let status = networking.status();
        let key = status.coordinators.first().map(|coordinator| coordinator.key);
        let door_of = |key| networking.doors().state(&key).map(|(state, _)| state);
        let (door, is_session_udp) = report::door_sign(&status, key.and_then(door_of).as_ref());
        let mut netcheck = Netcheck {
            nat: report::nat(card),
            egress: report::egress(Egress::Udp),
            host_answers: None,
            portal: None,
            full_size: status.full_size,
            mtu: None,
            measuring_lifetime: status.is_measuring_lifetime,
            keep_alive_s: status.keep_alive.as_secs(),
            port_mapping: self.port_mapping(),
            servers: self.status().servers,
        };
        let host = self.state.hosts.iter().find(|host| Some(host.key) == key);
        let udp = card.udp || is_session_udp;
        let look = host.filter(|_| !udp).map(|host| networking.doors().look(&host.name, host.door));
        let is_asked = look.is_some();
        let family = |addr: &&SocketAddr| match addr {
            SocketAddr::V4(_) => card.reflexive4.is_some(),
            SocketAddr::V6(_) => card.reflexive4.is_none() && card.reflexive6.is_some(),
        };
        let stun = status.coordinators.iter().flat_map(|coordinator| &coordinator.stun).find(family).copied();
        let answers = wait.answers;
        let answer = async move {
            let look = match look {
                Some(look) => look.await,
                None => Look { is_door_reached: false, plain: PlainSign::Silent, page: None },
            };
            netcheck.mtu = match stun {
                Some(server) => whole(server).await.unwrap_or_else(|error| {
                    debug!(%error, "the path's MTU cannot be measured");
                    None
                }),
                None => None,
            };
            let Look { is_door_reached, plain, page } = look;
            let egress = Egress::judge(Signs { udp, door, is_door_reached, plain });
            netcheck.egress = report::egress(egress);
            netcheck.host_answers =
                (egress == Egress::Blocked && is_asked).then_some(plain != PlainSign::Silent);
            netcheck.portal = page.filter(|_| egress == Egress::CaptivePortal);
            // Whoever hung up needs no answer.
            drop(answers.try_send(Answer::Netcheck(netcheck)));
        };
        tokio::spawn(answer);
    }
}
