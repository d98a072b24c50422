//! `lanyard netcheck`: the machine measures, and where UDP gets no answer a look at TCP tells what does.

use lanyard_proto::device::Command;
use lanyard_proto::device::egress::{Egress, PlainSign, Signs};
use lanyard_wire::nat::NatCard;
use tokio::sync::mpsc;

use super::waiting::{NETCHECK_WAIT, What};
use super::{Engine, report};
use crate::door::web::Look;
use crate::exit::{Code, Problem};
use crate::ipc::schema::{Answer, Netcheck};

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
            portal: None,
            full_size: status.full_size,
            measuring_lifetime: status.is_measuring_lifetime,
            keep_alive_s: status.keep_alive.as_secs(),
            port_mapping: self.port_mapping(),
            servers: self.status().servers,
        };
        let host = self.state.hosts.iter().find(|host| Some(host.key) == key);
        let udp = card.udp || is_session_udp;
        let look = host.filter(|_| !udp).map(|host| networking.doors().look(&host.name, host.door));
        let answers = wait.answers;
        let answer = async move {
            let look = match look {
                Some(look) => look.await,
                None => Look { is_door_reached: false, plain: PlainSign::Silent, page: None },
            };
            let Look { is_door_reached, plain, page } = look;
            let egress = Egress::judge(Signs { udp, door, is_door_reached, plain });
            netcheck.egress = report::egress(egress);
            netcheck.portal = page.filter(|_| egress == Egress::CaptivePortal);
            // Whoever hung up needs no answer.
            drop(answers.try_send(Answer::Netcheck(netcheck)));
        };
        tokio::spawn(answer);
    }
}
